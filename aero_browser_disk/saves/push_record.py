"""What was pushed of an overlay last: a small file beside it, so that a push sends only changes.

It is written before the manifest is sent, and names both the generation that the push follows and
the one that it makes: whichever the server has after a crash, the record fits it. There are two
copies, written by turns; damage of both costs bytes, never content.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from typing import Final

from ..errors import StorageError
from ..platform.base import Storage
from ..records.journal_header import decode_header, encode_header
from .content_index import ContentIndex

_MAGIC: Final = b"AEROSAV1"
_HEAD_SIZE: Final = 8192
_COPIES: Final = ("save.0", "save.1")
_BODY: Final = ("index", "manifest")


@dataclass(frozen=True, slots=True)
class PushRecord:
    """What is on the server of one overlay.

    `follows` and `makes` are digests of manifests, empty for none. `makes` is empty while chunks
    are being sent; `unconfirmed` are those that were sent before, without a response, with spaces
    between them. `revision` is the overlay's when it was pushed. `server` is the address of the
    list of saves without secrets.
    """

    server: str
    save: str
    name: str
    follows: str
    makes: str
    generation: int
    """Of `follows`."""
    pushed_at: str
    revision: str
    unconfirmed: str
    index: ContentIndex = field(repr=False)
    encryption: str = ""
    """How its chunks are encrypted: `Encryption.encode`. Records of earlier releases have none."""
    manifest: bytes = field(default=b"", repr=False)
    """That of `makes`, or else of `follows`. Records of earlier releases have none."""


async def read_push_record(storage: Storage, folder: str) -> tuple[PushRecord | None, int]:
    """The newest whole record in an overlay's folder, None if there is none, and its serial
    number. Raises `StorageError`."""
    newest: PushRecord | None = None
    last = 0
    for name in _COPIES:
        serial, record = await _read_copy(storage, f"{folder}/{name}")
        if record is not None and serial > last:
            newest, last = record, serial
    return newest, last


async def write_push_record(storage: Storage, folder: str, record: PushRecord, serial: int) -> None:
    """Writes a record over the older copy; durable when it returns. Raises `StorageError`."""
    index = record.index.encode()
    body = index + record.manifest
    fields = {name: getattr(record, name) for name in PushRecord.__slots__ if name not in _BODY}
    fields |= {"index_length": len(index)}
    fields |= {"serial": serial, "length": len(body), "checksum": zlib.crc32(body)}
    head = encode_header(_MAGIC, fields)
    if len(head) > _HEAD_SIZE:
        raise StorageError(folder, "what is to be noted of a save is too long")
    file = await storage.open(f"{folder}/{_COPIES[serial % 2]}")
    try:
        file.truncate(0)
        file.write(head.ljust(_HEAD_SIZE, b"\0") + body, 0)
        file.flush()
    finally:
        file.close()


async def _read_copy(storage: Storage, path: str) -> tuple[int, PushRecord | None]:
    try:
        file = await storage.open(path, create=False)
    except FileNotFoundError:
        return 0, None
    try:
        data = bytearray(file.size())
        file.read_into(data, 0)
    finally:
        file.close()
    fields = decode_header(_MAGIC, data[:_HEAD_SIZE])
    if fields is None:
        return 0, None
    body = bytes(data[_HEAD_SIZE:])
    serial, length, checksum = (fields.pop(name) for name in ("serial", "length", "checksum"))
    if (len(body), zlib.crc32(body)) != (length, checksum):
        return 0, None
    try:
        end = int(fields.pop("index_length", len(body)))
        index = ContentIndex.decode(body[:end])
        return serial, PushRecord(**fields, index=index, manifest=body[end:])
    except (TypeError, ValueError):
        return 0, None
