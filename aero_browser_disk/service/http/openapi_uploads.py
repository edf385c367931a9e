"""What the OpenAPI document says of uploads, and of leases of the CDN."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

Describe = Callable[..., dict[str, Any]]

_TEXT: Final = {"type": "string"}
_NUMBER: Final = {"type": "integer", "minimum": 1, "maximum": (1 << 63) - 1}
_UPLOAD: Final[dict[str, Any]] = {
    "type": "object",
    "required": [
        *("upload_id", "id", "version_id", "state", "public", "name"),
        *("size_bytes", "part_size_bytes", "part_count"),
    ],
    "properties": {
        "upload_id": {"type": "string", "pattern": "^[0-9a-f]{32}$"},
        "id": _TEXT,
        "version_id": {"type": "string", "description": "Names this very version for ever."},
        "state": {"enum": ["uploading", "ready", "failed", "deleted"]},
        "reason": {"type": "string", "description": "Why it failed."},
        "public": {"type": "boolean"},
        "name": _TEXT,
        "description": _TEXT,
        "size_bytes": _NUMBER,
        "part_size_bytes": _NUMBER,
        "part_count": _NUMBER,
        "parts": {
            "type": "array",
            "description": "Those that are there, while it is on its way.",
            "items": {
                "type": "object",
                "required": ["number", "size_bytes"],
                "properties": {"number": _NUMBER, "size_bytes": {"type": "integer"}},
            },
        },
    },
}
_SHOWN: Final = r"^[^\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]*$"
_WISH: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["id", "size_bytes"],
    "additionalProperties": False,
    "properties": {
        "id": {
            "type": "string",
            "pattern": r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,94}$",
            "not": {"pattern": r"\.[0-9a-f]{32}$"},
        },
        "size_bytes": _NUMBER,
        "public": {"type": "boolean"},
        "name": {
            "type": ["string", "null"],
            "minLength": 1,
            "maxLength": 200,
            "pattern": _SHOWN,
        },
        "description": {"type": ["string", "null"], "maxLength": 2000, "pattern": _SHOWN},
    },
}
_CHANGE: Final = {
    "type": "object",
    "required": ["public"],
    "additionalProperties": False,
    "properties": {"public": {"type": "boolean"}},
}
_WANTED: Final = {
    "type": "object",
    "required": ["numbers"],
    "additionalProperties": False,
    "properties": {"numbers": {"type": "array", "items": _NUMBER, "minItems": 1, "maxItems": 1000}},
}
_ADDRESSES: Final = {
    "type": "object",
    "required": ["method", "parts", "expires_at"],
    "properties": {
        "method": {"const": "PUT"},
        "expires_at": {"type": "string", "format": "date-time"},
        "parts": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["number", "url", "size_bytes"],
                "properties": {"number": _NUMBER, "url": _TEXT, "size_bytes": _NUMBER},
            },
        },
    },
}
_CDN: Final = {
    "type": "object",
    "required": ["url", "kind", "expires_at"],
    "properties": {
        "url": _TEXT,
        "kind": {"enum": ["cookies", "url", "public"]},
        "expires_at": {"type": ["string", "null"], "format": "date-time"},
    },
}
_CDN_WISH: Final = {
    "type": "object",
    "properties": {"kind": {"enum": ["cookies", "url"]}},
}
_UPLOAD_ID: Final = {
    "name": "upload",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "pattern": "^[0-9a-f]{32}$"},
}
_WHO: Final = {
    "401": "The credentials are missing or prove nothing.",
    "403": "These credentials do not let upload, or their owner has as much as he may.",
}
_WRONG: Final = {
    "400": "The body makes no sense, or asks too much.",
    "408": "The body took too long.",
    "413": "The body is too large.",
}
_ONE: Final = {**_WHO, "404": "No such upload of this client's."}
_ENDED: Final = {"409": "It is not on its way any more, or parts are missing."}


def upload_paths(describe: Describe, largest: int) -> dict[str, Any]:
    """The paths below `/v1/uploads`, for images of at most `largest` bytes."""
    sizes = {"size_bytes": {**_NUMBER, "maximum": largest}}
    wish = {**_WISH, "properties": {**_WISH["properties"], **sizes}}
    every = {
        "type": "object",
        "required": ["uploads"],
        "properties": {"uploads": {"type": "array", "items": _UPLOAD}},
    }
    taken = {"409": "The image belongs to somebody else."}
    one = [_UPLOAD_ID]
    return {
        "/v1/uploads": {
            "get": describe("listUploads", "The client's uploads.", every, _WHO),
            "post": describe(
                "beginUpload",
                "A new upload.",
                _UPLOAD,
                {**_WHO, **_WRONG, **taken},
                success="201",
                body=wish,
            ),
        },
        "/v1/uploads/{upload}": {
            "get": describe("showUpload", "One upload.", _UPLOAD, _ONE, one),
            "patch": describe(
                "changeUpload",
                "Who may read it.",
                _UPLOAD,
                {**_ONE, **_WRONG, **_ENDED},
                one,
                body=_CHANGE,
            ),
            "delete": describe(
                "removeUpload", "It is given up, or deleted.", None, _ONE, one, success="204"
            ),
        },
        "/v1/uploads/{upload}/parts": {
            "post": describe(
                "getPartAddresses",
                "Addresses to PUT parts to.",
                _ADDRESSES,
                {**_ONE, **_WRONG, **_ENDED},
                one,
                body=_WANTED,
            )
        },
        "/v1/uploads/{upload}/complete": {
            "post": describe(
                "completeUpload", "It is an image now.", _UPLOAD, {**_ONE, **_ENDED}, one
            )
        },
    }


def cdn_path(describe: Describe, image_id: dict[str, Any], refusals: dict[str, str]) -> Any:
    """What lets read from the CDN."""
    return {
        "post": describe(
            "leaseFromCdn",
            "Where the CDN has the image; with cookies, or signed, unless it is public.",
            _CDN,
            {**refusals, **_WRONG},
            [image_id],
            body=_CDN_WISH,
        )
    }
