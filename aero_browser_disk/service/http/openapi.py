"""The OpenAPI document: everything that is not bytes."""

from __future__ import annotations

from typing import Any

from ..configuration import Configuration
from .openapi_uploads import cdn_path, upload_paths

_IMAGE_ID = r"^[A-Za-z0-9._-]{1,128}$"
_NAME = {"type": "string"}
_IMAGE = {
    "type": "object",
    "required": [
        *("id", "name", "size_bytes", "etag", "last_modified", "content_type", "public"),
        "max_range_bytes",
    ],
    "properties": {
        "id": {"type": "string", "pattern": _IMAGE_ID},
        "name": _NAME,
        "description": _NAME,
        "size_bytes": {"type": "integer", "minimum": 0},
        "etag": {"type": "string", "description": "A strong entity tag, with its quotes."},
        "last_modified": {"type": "string", "format": "date-time"},
        "content_type": _NAME,
        "public": {"type": "boolean"},
        "recommended_chunk_size_bytes": {"type": "integer", "multipleOf": 512},
        "max_range_bytes": {
            "type": "integer",
            "description": "The most that one Range may ask for; 413 beyond it.",
        },
    },
}
_FILE = {
    "url": {"type": "string", "description": "Relative to this address."},
    "size_bytes": {"type": "integer"},
    "sha256": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
}
_DESCRIBED_IMAGE = {
    **_IMAGE,
    "properties": {
        **_IMAGE["properties"],  # type: ignore[dict-item]
        "digests": {
            "type": "object",
            "required": [*_FILE, "chunk_size_bytes", "signed"],
            "properties": {
                **_FILE,
                "chunk_size_bytes": {"type": "integer"},
                "signed": {"type": "boolean"},
            },
        },
        "boot_profile": {
            "type": "object",
            "required": [*_FILE, "block_size_bytes", "blocks"],
            "properties": {
                **_FILE,
                "block_size_bytes": {"type": "integer"},
                "blocks": {"type": "integer"},
            },
        },
    },
}
_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message"],
            "properties": {"code": _NAME, "message": _NAME},
        }
    },
}
_LEASE = {
    "type": "object",
    "required": ["url", "expires_at", "expires_in_s"],
    "properties": {
        "url": {"type": "string", "description": "Relative to this address, or absolute."},
        "expires_at": {"type": ["string", "null"], "format": "date-time"},
        "expires_in_s": {"type": ["integer", "null"]},
    },
}
_STATUS = {
    "type": "object",
    "required": ["status"],
    "properties": {"status": {"enum": ["ok", "ready"]}},
}
# What everything counted may answer, whatever it is.
_ALWAYS = {
    "400": "There is no Host header, or more than one.",
    "405": "Another method is meant; Allow says which.",
    "414": "The URL is too long.",
    "429": "The client took its share; Retry-After says when there is more.",
    "431": "The headers are too large.",
    "500": "The service failed.",
    "503": "The store does not answer, or the image is being written.",
}
_ABOUT_ONE = {
    "401": "The image is private, and the credentials are missing or prove nothing.",
    "403": "The image is private, and not for these credentials.",
    "404": "There is no such image.",
}
_ID = {
    "name": "id",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "pattern": _IMAGE_ID},
}
_CONDITION = {
    "name": "If-None-Match",
    "in": "header",
    # Of any form: what is no list of tags matches nothing.
    "schema": {"type": "string"},
}


def document(configuration: Configuration) -> dict[str, Any]:
    """The document, for the service as it is configured."""
    base = configuration.base_path
    paths = {
        "/v1/images": {
            "get": _operation("listImages", "The images.", _list(_IMAGE), _CACHED, [_CONDITION])
        },
        "/v1/images/{id}/meta": {
            "get": _operation(
                "describeImage",
                "One image.",
                _DESCRIBED_IMAGE,
                _CACHED | _ABOUT_ONE,
                [_ID, _CONDITION],
            )
        },
        **{
            f"/v1/images/{{id}}/{name}": {
                "get": _operation(
                    operation, summary, {"type": "object"}, _CACHED | _ABOUT_ONE, [_ID, _CONDITION]
                )
            }
            for name, operation, summary in (
                ("digests", "getDigests", "The digest list of an image."),
                ("boot-profile", "getBootProfile", "A boot profile of an image."),
            )
        },
        "/healthz": {"get": _operation("isAlive", "The process answers.", _STATUS, {})},
        "/readyz": {
            "get": _operation(
                "isReady", "Images can be read.", _STATUS, {"503": "They cannot; says why."}
            )
        },
        "/openapi.json": {"get": _operation("describe", "This.", {"type": "object"}, {})},
    }
    if configuration.authorization.signing_keys_file is not None:
        paths["/v1/images/{id}/lease"] = {
            "post": _operation(
                "leaseImage",
                "A signed address of the image's bytes, for a while.",
                _LEASE,
                _ABOUT_ONE,
                [_ID],
            )
        }
    if configuration.uploads.enabled:
        paths |= upload_paths(_operation, configuration.uploads.max_image_bytes)
    if configuration.cdn.url is not None:
        paths["/v1/images/{id}/cdn"] = cdn_path(_operation, _ID, _ABOUT_ONE)
    described: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": "aero-disk-service", "version": "1"},
        "servers": [{"url": (configuration.server.public_url or "") + (base or "/")}],
        "paths": paths,
    }
    if configuration.authorization.jwt is not None:
        schemes = {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}}
        described["components"] = {"securitySchemes": schemes}
        described["security"] = [{}, {"bearer": []}]
    return described


_CACHED = {"304": "What the client has is still right.", "412": "A precondition failed."}


def _list(item: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["images"],
        "properties": {"images": {"type": "array", "items": item}},
    }


def _operation(
    name: str,
    summary: str,
    schema: dict[str, Any] | None,
    refusals: dict[str, str],
    parameters: list[dict[str, Any]] | None = None,
    *,
    success: str = "200",
    body: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """One operation; without `schema` its answer has no body."""
    responses: dict[str, Any] = {success: {"description": summary}}
    if schema is not None:
        responses[success]["content"] = _content(schema)
    for status, description in sorted((_ALWAYS | refusals).items()):
        responses[status] = {"description": description}
        if int(status) >= 400:
            responses[status]["content"] = _content(_ERROR)
    operation: dict[str, Any] = {
        "operationId": name,
        "summary": summary,
        "parameters": parameters or [],
        "responses": responses,
    }
    if body is not None:
        operation["requestBody"] = {"required": True, "content": _content(body)}
    return operation


def _content(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}
