"""What the library notes of each image and overlay: a small file next to its data.

The file has two copies of the record. A new one is written over the older copy and, once that is
durable, over the other, each with a serial number and a checksum: a crash at any instant leaves the
old record or the new one, and damage of one copy loses nothing.
"""

from __future__ import annotations

import json
import struct
import zlib
from dataclasses import asdict, dataclass
from typing import Final, Literal

from ..errors import StorageError
from ..platform.base import Storage
from ..platform.byte_source import SourceIdentity
from .journal_header import copy_offset, newest

State = Literal[
    "ready",
    "empty",  # an overlay that was reset: its file is created again when it is opened
    "recovered",  # its record could not be read: this one was made up, until it is renamed
    "creating",  # still being created: if that was interrupted, it is removed
    "importing",  # its import is not complete: it can be continued or removed
    "removing",  # its removal was interrupted: it is finished later
]
Media = Literal["disk", "cd"]

IMAGES, OVERLAYS, CACHES = "images", "overlays", "cache"
SECTORS: Final = "sectors"
"""The file next to a record that has the written data."""

_COPY_SIZE = 8192
_HEADER = struct.Struct("<8sQII")  # magic, serial, length of the JSON, checksum of all but itself
_MAGIC = b"AEROREC1"
_LONGEST_TEXT = 200  # characters, each of at most 6 bytes in JSON, of a few fields


@dataclass(frozen=True, slots=True)
class Record:
    """One image, overlay or cache. Sizes in bytes, times in seconds since the epoch.

    `damage` describes damage of its data. `base` is the folder of an overlay's base, its permanent
    id, and `base_name` its name. `format` is the format of an imported file, `version` the one at
    the last close. For an unfinished import, `source` identifies the file, and `done` is how many
    bytes of the disk are stored.
    """

    name: str
    size: int
    created_at: float
    used_at: float
    state: State = "ready"
    media: Media = "disk"
    format: str = "raw"
    base: str | None = None
    base_name: str | None = None
    version: str | None = None
    source: SourceIdentity | None = None
    done: int = 0
    damage: str | None = None

    def encode(self) -> bytes:
        """As JSON, at most as long as a copy may be."""
        fields = asdict(self)
        for name in ("name", "base_name", "version", "damage"):
            if fields[name] is not None:
                fields[name] = fields[name][:_LONGEST_TEXT]
        if self.source is not None:
            fields["source"] = asdict(self.source.shortened())
        return json.dumps(fields, ensure_ascii=False).encode("utf-8", "surrogatepass")

    @classmethod
    def decode(cls, encoded: bytes) -> Record:
        """Reads what `encode` wrote; raises `ValueError` for anything else."""
        fields = json.loads(encoded)
        try:
            source = fields["source"]
            return cls(**{**fields, "source": SourceIdentity(**source) if source else None})
        except (KeyError, TypeError) as error:
            raise ValueError(str(error)) from error


async def read_record(storage: Storage, folder: str) -> Record | None:
    """The record in `folder`; None when there is none, or none that is whole.

    Raises `StorageError`, `StorageBusyError` while another reads or writes it.
    """
    try:
        file = await storage.open(f"{folder}/record", create=False)
    except FileNotFoundError:
        return None
    try:
        data = bytearray(2 * _COPY_SIZE)
        file.read_into(data, 0)
    finally:
        file.close()
    found = newest(_copies(bytes(data)))
    return found.record if found else None


async def write_record(storage: Storage, folder: str, record: Record) -> None:
    """Writes a record. If it raises, the folder has the new record or the old one."""
    encoded = record.encode()
    if len(encoded) > _COPY_SIZE - _HEADER.size:
        raise StorageError(folder, "what is to be noted of it is too long")
    file = await storage.open(f"{folder}/record")
    try:
        data = bytearray(2 * _COPY_SIZE)
        if file.read_into(data, 0):
            file.flush()  # after a kill the newer copy may not be durable yet
        found = newest(_copies(bytes(data)))
        serial = found.serial + 1 if found else 1
        file.write(_encoded_copy(serial, encoded), copy_offset(serial, _COPY_SIZE))
        file.flush()
        # Until this is durable the first is enough: it is flushed before that is written over.
        file.write(_encoded_copy(serial + 1, encoded), copy_offset(serial + 1, _COPY_SIZE))
    finally:
        file.close()


def _encoded_copy(serial: int, encoded: bytes) -> bytes:
    head = _HEADER.pack(_MAGIC, serial, len(encoded), 0)
    checksum = zlib.crc32(encoded, zlib.crc32(head))
    whole = _HEADER.pack(_MAGIC, serial, len(encoded), checksum) + encoded
    return whole.ljust(_COPY_SIZE, b"\0")


@dataclass(frozen=True, slots=True)
class _Copy:
    serial: int
    record: Record


def _copies(data: bytes) -> list[_Copy | None]:
    return [_read_copy(data[at : at + _COPY_SIZE]) for at in (0, _COPY_SIZE)]


def _read_copy(copy: bytes) -> _Copy | None:
    magic, serial, length, checksum = _HEADER.unpack_from(copy)
    encoded = copy[_HEADER.size : _HEADER.size + length]
    head = _HEADER.pack(magic, serial, length, 0)
    if magic != _MAGIC or checksum != zlib.crc32(encoded, zlib.crc32(head)):
        return None
    try:
        return _Copy(serial, Record.decode(encoded))
    except ValueError:
        return None
