"""The manifest of a generation of a save: base, chunks and map, as a JSON document.

It is untrusted: a server may send anything. `web/guide/saves.md` describes it.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from ..errors import DamagedSaveError, SaveTooLargeError, UnreadableSaveError
from ..platform.json_objects import without_doubles
from ..platform.printable import printable
from ..remote.documents import is_whole
from ..remote.numbers import MAX_IMAGE_SIZE
from .encryption import Encryption
from .save_map import CHUNK_SECTORS, SECTOR

FORMAT: Final = "aero-disk-save"
VERSION: Final = 1
MAX_MANIFEST: Final = 8 << 20
"""Bytes of a manifest."""
MAX_STORED: Final = CHUNK_SECTORS * SECTOR + 64
"""Bytes of a stored chunk: its content, the byte before it, 28 if it is encrypted, and more."""
MAX_CHUNKS: Final = 1 << 16
MAX_TEXT: Final = 200
"""Characters of a device, an image and a time."""
MAX_VERSION: Final = 2048
"""Characters of a base's version."""
MAX_PARTS: Final = 64
"""Parts of a map."""
MAP_PARTS: Final = "map-parts"
"""What a reader must know of a manifest whose map is a list."""

_HEX: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class SaveBase:
    """The disk that a save belongs to. Sizes in bytes; `image` is its name for people."""

    version: str
    size: int
    sector_size: int = SECTOR
    image: str = ""

    def document(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "version": self.version,
            "size": self.size,
            "sector_size": self.sector_size,
            "image": self.image[:MAX_TEXT],
        }


@dataclass(frozen=True, slots=True)
class StoredChunk:
    """A chunk: the SHA-256 of its stored bytes, in hex, and how many they are."""

    sha256: str
    length: int


@dataclass(frozen=True, slots=True)
class SaveManifest:
    """One generation of a save. The `parts` of its map are packed, and encrypted if chunks are.

    `seal` binds parts and chunks of an encrypted save to one another. Earlier releases wrote the
    map as a whole, without a seal: then `has_parts` is false.
    """

    base: SaveBase
    device: str
    created: str
    digest: str
    chunks: tuple[StoredChunk, ...]
    parts: tuple[bytes, ...]
    encryption: Encryption | None = None
    seal: bytes = b""
    has_parts: bool = True

    def encode(self) -> bytes:
        """The document; raises `SaveTooLargeError`."""
        if len(self.chunks) > MAX_CHUNKS:
            raise SaveTooLargeError("chunks", len(self.chunks), MAX_CHUNKS)
        encoded = b"".join(self.pieces())
        if len(encoded) > MAX_MANIFEST:
            raise SaveTooLargeError("bytes of a manifest", len(encoded), MAX_MANIFEST)
        return encoded

    def pieces(self) -> list[bytes]:
        """The document, cut where the next generation's may differ."""
        same = {
            "format": FORMAT,
            "version": VERSION,
            "requires": [MAP_PARTS] if self.has_parts else [],
            "base": self.base.document(),
            "device": self.device[:MAX_TEXT],
        }
        encryption = None if self.encryption is None else self.encryption.document()
        chunks = ({"sha256": one.sha256, "length": one.length} for one in self.chunks)
        parts = [_base64(part) for part in self.parts]
        seal = _base64(self.seal) if self.seal else None
        ending = [f'"map":{_json(parts[0])}}}']
        if self.has_parts:
            ending = ['"map":[', *_joined(parts), f'],"seal":{_json(seal)}}}']
        pieces = [
            _json(same)[:-1],
            f',"created":{_json(self.created)},"digest":{_json(self.digest)}',
            ',"chunks":[',
            *_joined(chunks),
            f'],"encryption":{_json(encryption)},',
            *ending,
        ]
        return [piece.encode() for piece in pieces]

    @classmethod
    def decode(cls, encoded: bytes, save: str) -> SaveManifest:
        """Reads a manifest of the save of that name.

        Raises `DamagedSaveError` for what is no manifest, and `UnreadableSaveError` for one of a
        later version, or one that is encrypted in an unknown way.
        """
        try:
            return cls._read(_parse(encoded), save)
        except ValueError as error:
            raise DamagedSaveError(save, str(error)) from error

    @classmethod
    def _read(cls, document: dict[str, Any], save: str) -> SaveManifest:
        version, requires = document.get("version"), document.get("requires")
        if not is_whole(version) or not isinstance(requires, list):
            raise ValueError("its manifest has no version")
        if version != VERSION or requires not in ([], [MAP_PARTS]):
            needed = requires or f"version {version}"
            raise UnreadableSaveError(save, f"it needs {_shown(needed)}: use a newer release")
        described = document.get("encryption")
        chunks = document.get("chunks")
        if not isinstance(chunks, list) or len(chunks) > MAX_CHUNKS:
            raise ValueError("its manifest has no list of chunks, or too long a one")
        found = tuple(_chunk(one) for one in chunks)
        if len({one.sha256 for one in found}) != len(found):
            raise ValueError("its manifest names a chunk twice")
        parts, has_parts = _parts(document.get("map")), bool(requires)
        if has_parts == isinstance(document.get("map"), str):
            raise ValueError("its map is not written as its manifest says")
        seal = document.get("seal")
        return cls(
            _base(document.get("base")),
            _text(document, "device", MAX_TEXT),
            _text(document, "created", MAX_TEXT),
            _digest(document.get("digest")),
            found,
            parts,
            None if described is None else Encryption.read(described, save),
            _bytes(seal, MAX_STORED) if has_parts and seal is not None else b"",
            has_parts,
        )


def _parse(encoded: bytes) -> dict[str, Any]:
    if len(encoded) > MAX_MANIFEST:
        raise ValueError(f"its manifest has more than {MAX_MANIFEST:,} bytes")
    try:
        document = json.loads(encoded, object_pairs_hook=without_doubles)
    except RecursionError:
        document = None
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise ValueError("its manifest is not one of a save")
    return document


def _base(value: object) -> SaveBase:
    if not isinstance(value, dict):
        raise ValueError("its manifest names no base")  # noqa: TRY004
    size, sector_size = value.get("size"), value.get("sector_size")
    if not is_whole(size) or not 0 < size <= MAX_IMAGE_SIZE:
        raise ValueError("its base has no size")
    if sector_size not in (512, 2048, 4096) or not is_whole(sector_size):
        raise ValueError("its base has no sector size")
    version = value.get("version")
    if not isinstance(version, str) or not 0 < len(version) <= MAX_VERSION:
        raise ValueError("its base has no version")
    return SaveBase(version, size, sector_size, _text(value, "image", MAX_TEXT))


def _chunk(value: object) -> StoredChunk:
    if not isinstance(value, dict):
        raise ValueError("its list of chunks is not one")  # noqa: TRY004
    length = value.get("length")
    if not is_whole(length) or not 0 < length <= MAX_STORED:
        raise ValueError("a chunk has an impossible length")
    return StoredChunk(_digest(value.get("sha256")), length)


def _digest(value: object) -> str:
    if not isinstance(value, str) or not _HEX.fullmatch(value):
        raise ValueError("a SHA-256 is not 64 hexadecimal digits")
    return value


def _text(document: dict[str, Any], name: str, longest: int) -> str:
    """A text for people in one line that prints."""
    value = document.get(name, "")
    if not isinstance(value, str) or len(value) > longest:
        raise ValueError(f"{name} is not a text of at most {longest} characters")
    return printable(value)


def _bytes(value: object, longest: int) -> bytes:
    try:
        decoded = base64.b64decode(value, validate=True) if isinstance(value, str) else b""
    except (ValueError, binascii.Error):
        decoded = b""
    if not 0 < len(decoded) <= longest:
        raise ValueError("a part of its manifest is not base64")
    return decoded


def _parts(value: object) -> tuple[bytes, ...]:
    listed = value if isinstance(value, list) else [value]
    if not 0 < len(listed) <= MAX_PARTS:
        raise ValueError("its map has no parts, or too many")
    return tuple(_bytes(part, MAX_MANIFEST) for part in listed)


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


def _joined(values: Iterable[object]) -> Iterator[str]:
    """The values of a list, each but the first with the comma before it."""
    for number, value in enumerate(values):
        yield f",{_json(value)}" if number else _json(value)


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode()


def _shown(value: object) -> str:
    return printable(json.dumps(value)[:60])
