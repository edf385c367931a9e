"""An overlay as one file, to take it along or to put it by.

The file begins with the line `aero-overlay 1` and a line of JSON: `size` and `base`, the size in
bytes and the version of the disk that it belongs to. Then come parts, each with a head of 32 bytes
(little-endian: kind, four bytes; CRC-32 of the rest of the head and of the data, four; offset,
length, and length of the data, eight each) and its data. `DATA` holds the bytes of a range, `ZERO`
stands for a range of zeros, and `DONE`, whose length is the number of parts before it, is the last:
without it, the file is not whole. Ranges are of whole sectors of 512 bytes, in order.
"""

from __future__ import annotations

import asyncio
import json
import struct
import zlib
from collections.abc import AsyncIterable, AsyncIterator
from dataclasses import dataclass
from typing import Final

from .disk import check_bounds
from .errors import InvalidDocumentError, OutOfRangeError
from .sector_store import SECTOR, SectorStore

_FIRST_LINE: Final = b"aero-overlay 1\n"
_LONGEST_LINE: Final = 8192
_HEAD: Final = struct.Struct("<4sIQQQ")
_CHECKED_FROM: Final = 8
_LARGEST_DATA: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class OverlayFacts:
    """What an overlay file says of itself before its data: which disk it belongs to."""

    size: int
    base: str


async def write_overlay_file(store: SectorStore) -> AsyncIterator[bytes]:
    """The file's bytes, in pieces of 1 MiB at most. The store must not be written to meanwhile."""
    contents = store.contents
    facts = {"size": contents.size, "base": contents.base}
    yield _FIRST_LINE + json.dumps(facts).encode() + b"\n"
    parts = 0
    for offset, length, is_zeros in store.ranges(0, -(-contents.size // SECTOR) * SECTOR):
        if is_zeros:
            yield _part(b"ZERO", offset, length, b"")
            parts += 1
            continue
        for at in range(offset, offset + length, _LARGEST_DATA):
            data = bytearray(min(_LARGEST_DATA, offset + length - at))
            store.read_into(at, data)
            yield _part(b"DATA", at, len(data), bytes(data))
            parts += 1
            await asyncio.sleep(0)
    yield _part(b"DONE", 0, parts, b"")


class OverlayFileReader:
    """Reads an overlay file from pieces of any size, a part at a time."""

    def __init__(self, pieces: AsyncIterable[bytes]) -> None:
        self._pieces = aiter(pieces)
        self._data = bytearray()

    async def facts(self) -> OverlayFacts:
        """Which disk it belongs to; comes first. Raises `InvalidDocumentError`."""
        if await self._line() != _FIRST_LINE:
            raise _broken("it does not begin as one")
        try:
            fields = json.loads(await self._line())
            return OverlayFacts(int(fields["size"]), str(fields["base"]))
        except (ValueError, KeyError, TypeError) as error:
            raise _broken("it does not say what it belongs to") from error

    async def read_into(self, store: SectorStore) -> None:
        """Writes all that it holds into an empty store; does not commit.

        Raises `InvalidDocumentError` when it is damaged or not whole, and `StorageError`.
        """
        end = -(-store.contents.size // SECTOR) * SECTOR
        parts = 0
        while True:
            kind, offset, length, data = await self._part()
            if kind == b"DONE":
                if length != parts:
                    raise _broken("a part of it is missing")
                return
            if offset % SECTOR or length % SECTOR:
                raise _broken("it has a part of a sector")
            try:
                check_bounds(offset, length, end)
            except OutOfRangeError as error:
                raise _broken("it reaches outside its disk") from error
            if kind == b"DATA" and len(data) == length:
                store.write(offset, data)
            elif kind == b"ZERO" and not data:
                store.discard(offset, length, hide=True)
            else:
                raise _broken("it has a part of an unknown kind")
            parts += 1

    async def _part(self) -> tuple[bytes, int, int, bytes]:
        head = await self._take(_HEAD.size)
        kind, checksum, offset, length, stored = _HEAD.unpack(head)
        if stored > _LARGEST_DATA:
            raise _broken("a part of it is too long")
        data = await self._take(stored)
        if zlib.crc32(data, zlib.crc32(head[_CHECKED_FROM:], zlib.crc32(kind))) != checksum:
            raise _broken("a part of it is damaged")
        return kind, offset, length, data

    async def _line(self) -> bytes:
        while b"\n" not in self._data:
            if len(self._data) > _LONGEST_LINE:
                raise _broken("it does not begin as one")
            await self._more()
        return await self._take(self._data.index(b"\n") + 1)

    async def _take(self, length: int) -> bytes:
        while len(self._data) < length:
            await self._more()
        taken = bytes(memoryview(self._data)[:length])
        del self._data[:length]
        return taken

    async def _more(self) -> None:
        try:
            self._data += await anext(self._pieces)
        except StopAsyncIteration:
            raise _broken("its end is missing") from None


def _part(kind: bytes, offset: int, length: int, data: bytes) -> bytes:
    checked = _HEAD.pack(kind, 0, offset, length, len(data))[_CHECKED_FROM:]
    checksum = zlib.crc32(data, zlib.crc32(checked, zlib.crc32(kind)))
    return _HEAD.pack(kind, checksum, offset, length, len(data)) + data


def _broken(reason: str) -> InvalidDocumentError:
    return InvalidDocumentError("overlay file", reason)
