"""`manifest.json`: which files of a folder are images, under which ids, and their metadata.

This is the service's list of images. A prepared image has a manifest of its own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any, Final, Literal, get_args

from aero_browser_disk.formats.prepared.manifest import FORMAT as PREPARED_FORMAT
from aero_browser_disk.remote.byte_ranges import EntityTag

_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,128}")
# Never in a file name. JSON can spell lone surrogates.
_NO_NAME: Final = re.compile("[\0\ud800-\udfff]")
_CONTENT_TYPE: Final = re.compile(r"[!-~]+/[ -~]+")
# RFC 3339 §5.6; Python takes the weeks and short forms of ISO 8601 too.
_RFC_3339: Final = re.compile(
    r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(?:\.\d+)?(?:[Zz]|[+-]\d\d:\d\d)", re.ASCII
)
MANIFEST: Final = "manifest.json"
# How an image is stored: as it is, or as a prepared image, whose manifest is then `file`.
Layout = Literal["raw", "prepared"]
DEFAULT_CONTENT_TYPE: Final = "application/octet-stream"


def is_image_id(text: str) -> bool:
    """Whether an image may have this id; only such ids reach a store, a log or a metric."""
    return _ID.fullmatch(text) is not None and text not in (".", "..")


class ManifestError(ValueError):
    """The manifest cannot be used; names the entry and the field."""


@dataclass(frozen=True, slots=True)
class ManifestEntry:
    """One image. `file` is relative to the folder, with `/` between names.

    `etag` and `last_modified_s` (seconds since the epoch), when there, stand in for what the file
    system says: the operator guarantees that the bytes are the same. `owner` is the client that
    uploaded it; None for the operator's images, the only ones in a manifest. `file` of a prepared
    image is its manifest, and the validators are those of its disk.
    """

    id: str
    file: str
    name: str
    public: bool
    description: str | None = None
    etag: EntityTag | None = None
    last_modified_s: int | None = None
    recommended_chunk_size_bytes: int | None = None
    content_type: str = DEFAULT_CONTENT_TYPE
    layout: Layout = "raw"
    owner: str | None = None

    @property
    def folder(self) -> PurePosixPath:
        """The folder of its file, relative to the images."""
        return PurePosixPath(self.file).parent


def parse_manifest(text: str | bytes) -> dict[str, ManifestEntry]:
    """The images by id, in their order; raises `ManifestError`."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ManifestError(f"manifest.json is not JSON: {error}") from None
    if isinstance(document, dict) and document.get("format") == PREPARED_FORMAT:
        raise ManifestError(
            "manifest.json is that of a prepared image: serve the folder above it instead"
        )
    images = document.get("images") if isinstance(document, dict) else None
    if not isinstance(images, list):
        raise ManifestError('manifest.json: "images" must be a list')
    entries: dict[str, ManifestEntry] = {}
    for index, image in enumerate(images):
        entry = _parse_entry(image, f"manifest.json: images[{index}]")
        if entry.id in entries:
            raise ManifestError(f'manifest.json: images[{index}].id: "{entry.id}" is there twice')
        entries[entry.id] = entry
    return entries


def _parse_entry(image: object, path: str) -> ManifestEntry:
    if not isinstance(image, dict):
        raise ManifestError(f"{path} must be an object")
    if isinstance(image.get("id"), str):
        path += f' ("{image["id"]}")'
    if unknown := sorted(set(image) - set(_FIELDS)):
        raise ManifestError(f"{path}.{unknown[0]}: there is no such field")
    values: dict[str, Any] = {}
    for field, parse in _FIELDS.items():
        if field not in image:
            if field in ("id", "file", "public"):
                raise ManifestError(f"{path}.{field} is missing")
            continue
        try:
            values[field] = parse(image[field])
        except ValueError as error:
            raise ManifestError(f"{path}.{field} must be {error}") from None
    values["last_modified_s"] = values.pop("last_modified", None)
    values.setdefault("name", values["id"])
    return ManifestEntry(**values)


def _id(value: object) -> str:
    if not isinstance(value, str) or not is_image_id(value):
        raise ValueError("1 to 128 of A-Z a-z 0-9 . _ - and neither . nor ..")
    return value


def _file(value: object) -> str:
    path = PurePosixPath(value) if isinstance(value, str) and not _NO_NAME.search(value) else None
    if path is None or path.is_absolute() or not path.parts or ".." in path.parts:
        raise ValueError("the path of a file, relative to the folder and without ..")
    return str(path)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ManifestError("text")
    return value


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ManifestError("true or false")
    return value


def _etag(value: object) -> EntityTag:
    try:
        return EntityTag.parse(_text(value))
    except ValueError:
        raise ValueError('an entity tag with its quotes, such as "\\"v1\\""') from None


def _timestamp(value: object) -> int:
    try:
        text = _text(value)
        at = datetime.fromisoformat(text) if _RFC_3339.fullmatch(text) else None
    except ValueError:  # a month 13
        at = None
    if at is None or at.tzinfo is None or at < datetime(1970, 1, 1, tzinfo=UTC):
        raise ValueError("an RFC 3339 time since 1970, such as 2026-01-10T00:00:00Z")
    return int(at.timestamp())


def _length(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value <= 0 or value % 512:
        raise ValueError("a positive multiple of 512")
    return value


def _content_type(value: object) -> str:
    if not isinstance(value, str) or not _CONTENT_TYPE.fullmatch(value):
        raise ValueError("a media type, such as application/octet-stream")
    return value


def _layout(value: object) -> object:
    if value not in get_args(Layout):
        raise ValueError('"raw" or "prepared"')
    return value


_FIELDS: Final[dict[str, Callable[[object], object]]] = {
    "id": _id,
    "file": _file,
    "name": _text,
    "description": _text,
    "public": _flag,
    "etag": _etag,
    "last_modified": _timestamp,
    "recommended_chunk_size_bytes": _length,
    "content_type": _content_type,
    "layout": _layout,
}
