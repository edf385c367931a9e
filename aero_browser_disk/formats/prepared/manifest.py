"""The manifest of a prepared image: a small JSON document that refers to everything else."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from dataclasses import dataclass, field, replace
from typing import Any, Final

from ...errors import DamagedImageError, UnsupportedImageError
from ...platform.json_objects import without_doubles
from ...platform.signatures import SIGNATURE_LENGTH, verify_ed25519
from ..image_format import PREPARED
from ..layout import LARGEST_DISK
from .stored_files import StoredFile

FORMAT: Final = "aero-disk-prepared"
VERSION: Final = 1
MAX_MANIFEST: Final = 64 << 10
"""Bytes of a manifest."""
SMALLEST_CHUNK, LARGEST_CHUNK = 4 << 10, 8 << 20
DEFAULT_CHUNK: Final = 256 << 10
COMPRESSIONS: Final = ("zstd", "none")
SECTOR_SIZES: Final = (512, 2048, 4096)
MAX_BUNDLE: Final = 8 << 20
"""Bytes of the document of a boot bundle."""

_SMALLEST_PAGE, _LARGEST_PAGE = 16, 8192  # entries
_LARGEST_TABLE_PAGE = 16 + 40 * _LARGEST_PAGE
_HEX = re.compile(r"[0-9a-f]{64}")
_REQUIRED = ("size", "sector_size", "chunk_size", "compression", "image_version", "table")
_FIELDS: Final = {"format", "version", "requires", *_REQUIRED, "stored", "boot", "signature"}
_OF_OTHERS = "x-"  # a field with this prefix belongs to another tool; readers ignore it


@dataclass(frozen=True, slots=True)
class Manifest:
    """The contents of a manifest.

    Sizes are in bytes. `image_version` is a SHA-256 of the content, however it is stored: see
    `content_version`. `table` is the root page of the table of chunks, whose pages have
    `page_entries` entries. `stored_chunks` and `stored_bytes` are those of the distinct chunk
    files. `boot` is the document of the boot bundle. `extra` are the fields of other tools.
    """

    size: int
    sector_size: int
    chunk_size: int
    compression: str
    image_version: bytes
    table: StoredFile
    page_entries: int
    stored_chunks: int = 0
    stored_bytes: int = 0
    boot: StoredFile | None = None
    signature: bytes | None = None
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def chunk_count(self) -> int:
        """Chunks of the disk."""
        return -(-self.size // self.chunk_size)

    def chunk_length(self, index: int) -> int:
        """Bytes of that chunk; the last one may be shorter."""
        return min(self.chunk_size, self.size - index * self.chunk_size)

    @property
    def signed_bytes(self) -> bytes:
        """The bytes that a signature covers: the document without it, in RFC 8785 form."""
        return _canonical(replace(self, signature=None)._document())

    async def is_signed_by(self, public_key: bytes) -> bool:
        """Whether the owner of an Ed25519 public key (32 bytes) signed the whole manifest.

        Raises `SignaturesUnavailableError` where nothing can check a signature.
        """
        return self.signature is not None and await verify_ed25519(
            public_key, self.signature, self.signed_bytes
        )

    def encode(self) -> bytes:
        """The document; the same manifest gives the same bytes."""
        return json.dumps(self._document(), indent=2, ensure_ascii=True).encode() + b"\n"

    @classmethod
    def decode(cls, encoded: bytes) -> Manifest:
        """Reads an untrusted document.

        Raises `UnsupportedImageError`, which names it, for an unknown version or feature, and
        `DamagedImageError` for anything else that is wrong.
        """
        document = _parse(encoded)
        extra = _checked_names(document)
        compression = document["compression"]
        if compression not in COMPRESSIONS:
            raise _unknown(f"its compression is {_shown(compression)}, which is not known here")
        sector_size = _number(document, "sector_size", 512, 4096)
        if sector_size not in SECTOR_SIZES:
            raise _unknown(f"its sectors have {sector_size} bytes")
        table = _object(document, "table", {"sha256", "length", "page_entries"})
        stored = {"chunks": 0, "bytes": 0}
        if "stored" in document:
            stored = _object(document, "stored", {"chunks", "bytes"})
        boot = None
        if "boot" in document:
            boot = _file(_object(document, "boot", {"sha256", "length"}), MAX_BUNDLE)
        return cls(
            _number(document, "size", 1, LARGEST_DISK),
            sector_size,
            _power_of_two(document, "chunk_size", SMALLEST_CHUNK, LARGEST_CHUNK),
            str(compression),
            _digest(document["image_version"], "image_version"),
            _file(table, _LARGEST_TABLE_PAGE),
            _power_of_two(table, "page_entries", _SMALLEST_PAGE, _LARGEST_PAGE),
            _number(stored, "chunks", 0, LARGEST_DISK),
            _number(stored, "bytes", 0, LARGEST_DISK),
            boot,
            _signature(document.get("signature")),
            extra,
        )

    def _document(self) -> dict[str, Any]:
        document: dict[str, Any] = {
            "format": FORMAT,
            "version": VERSION,
            "requires": [],
            "size": self.size,
            "sector_size": self.sector_size,
            "chunk_size": self.chunk_size,
            "compression": self.compression,
            "image_version": self.image_version.hex(),
            "table": {**_reference(self.table), "page_entries": self.page_entries},
            "stored": {"chunks": self.stored_chunks, "bytes": self.stored_bytes},
        }
        if self.boot is not None:
            document["boot"] = _reference(self.boot)
        document.update(self.extra)
        if self.signature is not None:
            document["signature"] = base64.b64encode(self.signature).decode()
        return document


class ContentVersion:
    """Makes the `image_version` of a disk from the SHA-256 of the content of each chunk."""

    def __init__(self, size: int, chunk_size: int) -> None:
        said = f"{FORMAT} content\nsize {size}\nchunk_size {chunk_size}\nsha256\n"
        self._hasher = hashlib.sha256(said.encode())

    def add(self, digest: bytes, count: int = 1) -> None:
        """Adds the next `count` chunks, which all have this SHA-256."""
        run = digest * min(count, 4096)
        while count > 4096:
            self._hasher.update(run)
            count -= 4096
        self._hasher.update(digest * count)

    def digest(self) -> bytes:
        """The version; called after the last chunk."""
        return self._hasher.digest()


def disk_validator(manifest: Manifest) -> str:
    """The id of the disk's version: the same for the same content, however it is stored."""
    return f"{PREPARED.name} {manifest.size} {manifest.image_version.hex()}"


def begins_manifest(head: bytes) -> bool:
    """Whether a file begins as a manifest does."""
    return re.match(rb'\s*\{\s*"format"\s*:\s*"aero-disk-prepared"', head) is not None


def _parse(encoded: bytes) -> dict[str, Any]:
    if len(encoded) > MAX_MANIFEST:
        raise _invalid(f"a manifest has at most {MAX_MANIFEST:,} bytes")
    try:
        document = json.loads(encoded, object_pairs_hook=without_doubles)
    except (ValueError, RecursionError) as error:
        raise _invalid("its manifest is not valid JSON") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise UnsupportedImageError(
            "json",
            "a JSON document that is not the manifest of a prepared image",
            "Check that it is the right address.",
        )
    return document


def _checked_names(document: dict[str, Any]) -> dict[str, Any]:
    """Refuses unknown versions, features and fields; returns the fields of other tools."""
    version = document.get("version")
    if version != VERSION or isinstance(version, bool):
        raise _unknown(f"it is of version {_shown(version)}, and version 1 is known here")
    requires = document.get("requires", [])
    if not isinstance(requires, list) or requires:
        raise _unknown(f"it requires {_shown(requires)}, which is not known here")
    extra = {name: value for name, value in document.items() if name.startswith(_OF_OTHERS)}
    for name in document:
        if name not in _FIELDS and name not in extra:
            raise _invalid(f"it has no field {_shown(name)}")
    for name in _REQUIRED:
        if name not in document:
            raise _invalid(f"{name} is missing")
    return extra


def _canonical(document: dict[str, Any]) -> bytes:
    """RFC 8785 for the values of a manifest, whose numbers are all integers."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode(
        "utf-8", "surrogatepass"
    )


def _reference(file: StoredFile) -> dict[str, Any]:
    return {"sha256": file.digest.hex(), "length": file.length}


def _object(document: dict[str, Any], name: str, fields: set[str]) -> dict[str, Any]:
    value = document.get(name)
    if not isinstance(value, dict) or set(value) != fields:
        raise _invalid(f"{name} must have the fields {', '.join(sorted(fields))}")
    return value


def _number(document: dict[str, Any], name: str, smallest: int, largest: int) -> int:
    value = document.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not smallest <= value <= largest:
        raise _invalid(f"{name} must be a whole number from {smallest:,} to {largest:,}")
    return value


def _power_of_two(document: dict[str, Any], name: str, smallest: int, largest: int) -> int:
    value = _number(document, name, smallest, largest)
    if value & (value - 1):
        raise _invalid(f"{name} must be a power of two")
    return value


def _digest(value: object, name: str) -> bytes:
    if not isinstance(value, str) or not _HEX.fullmatch(value):
        raise _invalid(f"{name} must be a SHA-256 of 64 hexadecimal digits")
    return bytes.fromhex(value)


def _file(reference: dict[str, Any], max_length: int) -> StoredFile:
    return StoredFile(
        _digest(reference.get("sha256"), "sha256"), _number(reference, "length", 1, max_length)
    )


def _signature(value: object) -> bytes | None:
    if value is None:
        return None
    try:
        signature = base64.b64decode(value, validate=True) if isinstance(value, str) else b""
    except (ValueError, binascii.Error):
        signature = b""
    if len(signature) != SIGNATURE_LENGTH:
        raise _invalid("signature must be the base64 of an Ed25519 signature")
    return signature


def _shown(value: object) -> str:
    return json.dumps(value)[:60]


def _invalid(reason: str) -> DamagedImageError:
    return DamagedImageError(PREPARED.title, reason)


def _unknown(reason: str) -> UnsupportedImageError:
    return UnsupportedImageError(
        PREPARED.name, PREPARED.title, f"Its manifest says that {reason}: use a newer release."
    )
