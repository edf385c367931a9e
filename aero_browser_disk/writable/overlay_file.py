"""An overlay as a file of its own: what was written, and the version of the disk that it fits.

Little-endian. It begins with the magic, the length and CRC-32 of a JSON head, and the head. Records
follow: kind, offset, length, CRC-32 of these and the data, then the data if the kind is `DATA`. The
last record has the kind `END`, and the number of records before it as its offset. Nothing of the
base is in it.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import struct
import zlib
from collections.abc import AsyncGenerator

from ..errors import InvalidDocumentError
from ..platform.base import Storage
from ..platform.byte_source import ByteStream
from .sector_journal import Contents
from .sector_store import SectorStore

_MAGIC = b"AEROOVL1"
_HEAD = struct.Struct("<II")
_RECORD = struct.Struct("<IQQI")
_END, _DATA, _ZEROS = 0, 1, 2
_LONGEST_HEAD = 16 << 10
_CHUNK_LENGTH = 1 << 20
_SECTOR = 512


async def overlay_parts(store: SectorStore) -> AsyncGenerator[bytes, None]:
    """The file of an overlay's open store, in parts."""
    contents = store.contents
    head = json.dumps({"size": contents.size, "base": contents.base}).encode()
    yield _MAGIC + _HEAD.pack(len(head), zlib.crc32(head)) + head
    records = 0
    for start, length, is_zeros in store.ranges(0, contents.size):
        if is_zeros:
            records += 1
            yield _record(_ZEROS, start, length)
            continue
        for offset in range(start, start + length, _CHUNK_LENGTH):
            data = bytearray(min(_CHUNK_LENGTH, start + length - offset))
            store.read_into(offset, data)
            records += 1
            yield _record(_DATA, offset, len(data), bytes(data))
            await asyncio.sleep(0)
    yield _record(_END, records, 0)


def _record(kind: int, offset: int, length: int, data: bytes = b"") -> bytes:
    return _RECORD.pack(kind, offset, length, _checksum(kind, offset, length, data)) + data


def _checksum(kind: int, offset: int, length: int, data: bytes) -> int:
    return zlib.crc32(data, zlib.crc32(_RECORD.pack(kind, offset, length, 0)))


async def store_from_parts(stream: ByteStream, storage: Storage, path: str) -> Contents:
    """Makes the store of an overlay from its file; durable when it returns.

    Raises `InvalidDocumentError` for an invalid or incomplete file, and `StorageError`.
    """
    reader = _Reader(stream)
    contents = await _read_head(reader)
    store = await SectorStore.create(storage, path, contents)
    try:
        await _read_records(reader, store)
        store.commit()
    finally:
        store.close()
    return contents


async def _read_head(reader: _Reader) -> Contents:
    if await reader.take(len(_MAGIC)) != _MAGIC:
        raise _wrong("it is not an overlay")
    length, checksum = _HEAD.unpack(await reader.take(_HEAD.size))
    if length > _LONGEST_HEAD:
        raise _wrong("its head is too long")
    encoded = await reader.take(length)
    if zlib.crc32(encoded) != checksum:
        raise _wrong("its head is damaged")
    try:
        head = json.loads(encoded)
        size, base = head["size"], head["base"]
    except (ValueError, KeyError, TypeError) as error:
        raise _wrong("its head cannot be read") from error
    if type(size) is not int or not 0 < size < 1 << 62 or not isinstance(base, str):
        raise _wrong("its head has impossible values")
    return Contents(size, secrets.token_hex(16), base)


async def _read_records(reader: _Reader, store: SectorStore) -> None:
    size, at, records = store.contents.size, 0, 0
    while True:
        kind, offset, length, checksum = _RECORD.unpack(await reader.take(_RECORD.size))
        data = b""
        if kind == _DATA:
            if length > _CHUNK_LENGTH:
                raise _wrong("it has impossible values")
            data = await reader.take(length)
        if _checksum(kind, offset, length, data) != checksum:
            raise _wrong("it is damaged")
        if kind == _END:
            if offset != records:
                raise _wrong("some of it is missing")
            return
        stop = offset + length
        aligned = not (offset % _SECTOR or (stop % _SECTOR and stop != size))
        if kind not in (_DATA, _ZEROS) or not aligned or not at <= offset < stop <= size:
            raise _wrong("it has impossible values")
        if kind == _ZEROS:
            store.discard(offset, length, hide=True)
        else:
            store.write(offset, data)
        at, records = stop, records + 1


class _Reader:
    """Reads exact lengths from a stream."""

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self._buffer = bytearray()

    async def take(self, length: int) -> bytes:
        """The next `length` bytes; raises `InvalidDocumentError` when there are not as many."""
        while len(self._buffer) < length:
            part = await anext(self._stream, None)
            if part is None:
                raise _wrong("it is cut off")
            self._buffer += part
        taken = bytes(self._buffer[:length])
        del self._buffer[:length]
        return taken


def _wrong(reason: str) -> InvalidDocumentError:
    return InvalidDocumentError("overlay file", reason)
