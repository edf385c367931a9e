"""A save as a read-only disk over its base: chunks are fetched when they are read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ..disk import Disk, DiskInfo, DiskStats, RefusingWrites, check_bounds
from ..errors import DiskClosedError
from ..platform.base import WritableBuffer
from ..platform.concurrent_tasks import all_of
from ..platform.opening import ClosesOnExit
from .chunk_cache import ChunkCache
from .save_map import SECTOR, ZEROS, SaveMap
from .saved_content import SavedContent

_Part = tuple[int, int, int, int]
"""Start and stop in bytes of the disk, the chunk or `ZEROS` or `_BASE`, the chunk's byte."""
_BASE = -2


class SaveLayer(RefusingWrites, ClosesOnExit):
    """One generation of a save over the image that it was made over. Put an overlay on it to write.

    It owns the disk below: `close` closes both.
    """

    def __init__(
        self, base: Disk, content: SavedContent, rows: SaveMap, chunks: ChunkCache
    ) -> None:
        self._base = base
        self._content = content
        self._rows = rows
        self._chunks = chunks
        self._closed = False
        self._bytes_read = 0

    @property
    def info(self) -> DiskInfo:
        base = self._base.info
        version = f"save:{self._content.etag}:{base.version}"
        return replace(base, version=version, read_only=True)

    @property
    def base(self) -> Disk:
        """The disk below."""
        return self._base

    def try_read_into(self, offset: int, target: WritableBuffer) -> bool:
        self._check(offset, len(target))
        view = memoryview(target)
        for start, stop, chunk, at in self._parts(offset, offset + len(target)):
            part = view[start - offset : stop - offset]
            if chunk == _BASE:
                if not self._base.try_read_into(start, part):
                    return False
            elif chunk == ZEROS:
                part[:] = bytes(stop - start)
            else:
                content = self._chunks.in_memory(chunk)
                if content is None:
                    return False
                part[:] = self._content.part_bytes(content, at, stop - start)
        self._bytes_read += len(target)
        return True

    async def read_into(self, offset: int, target: WritableBuffer) -> None:
        self._check(offset, len(target))
        view = memoryview(target)
        parts = list(self._parts(offset, offset + len(target)))
        await all_of(self._read_part(one, view[one[0] - offset : one[1] - offset]) for one in parts)
        if self._closed:
            raise DiskClosedError
        self._bytes_read += len(target)

    async def read(self, offset: int, length: int) -> bytes:
        self._check(offset, length)
        target = bytearray(length)
        await self.read_into(offset, target)
        return bytes(target)

    async def flush(self) -> None:
        self._check(0, 0)

    def stats(self) -> DiskStats:
        """The base's counters, with the reads of this disk."""
        return replace(self._base.stats(), bytes_read=self._bytes_read)

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            await self._base.close()

    # ── inside ───────────────────────────────────────────────────────────────────────────────────

    def _check(self, offset: int, length: int) -> None:
        if self._closed:
            raise DiskClosedError
        check_bounds(offset, length, self._base.info.size)

    def _parts(self, start: int, stop: int) -> Iterator[_Part]:
        at = start
        for first, count, chunk, offset in self._rows.between(start // SECTOR, -(-stop // SECTOR)):
            low, high = max(first * SECTOR, start), min((first + count) * SECTOR, stop)
            if low > at:
                yield at, low, _BASE, 0
            if low < high:
                yield low, high, chunk, offset * SECTOR + low - first * SECTOR
                at = high
        if at < stop:
            yield at, stop, _BASE, 0

    async def _read_part(self, part: _Part, target: memoryview) -> None:
        start, _, chunk, at = part
        if chunk == _BASE:
            await self._base.read_into(start, target)
        elif chunk == ZEROS:
            target[:] = bytes(len(target))
        else:
            content = await self._chunks.content(chunk)
            target[:] = self._content.part_bytes(content, at, len(target))
