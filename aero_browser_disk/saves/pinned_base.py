"""A version of an image that its server may not have any more: what is cached, and what is new."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace

from ..cache.block_store import BlockStore
from ..disk import Disk, DiskInfo, DiskStats, RefusingWrites, check_bounds
from ..errors import DiskClosedError, MissingBaseError, StorageError
from ..platform.base import WritableBuffer
from ..writable.range_set import RangeSet


class PinnedBase(RefusingWrites):
    """An image in an older version: its cached blocks, and those of the present one that are equal.

    `present` is the disk of the present version, and `changed` the bytes in which it differs from
    this one; None if that is not known. `cached` has blocks of this version. Reads of anything else
    raise `MissingBaseError`. It owns none of them.
    """

    def __init__(
        self,
        version: str,
        overlay: str,
        present: Disk,
        changed: RangeSet | None,
        cached: BlockStore | None,
    ) -> None:
        self._version = version
        self._overlay = overlay
        self._present = present
        self._changed = changed
        self._cached = cached
        self._closed = False
        self._bytes_read = 0

    @property
    def info(self) -> DiskInfo:
        return replace(self._present.info, version=self._version, read_only=True)

    def missing(self, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """The bytes that can be read from nowhere: offset and length, in order."""
        for begin, end in self._differing(start, stop):
            at = begin
            for low, high in self._cached_between(begin, end):
                if low > at:
                    yield at, low - at
                at = high
            if end > at:
                yield at, end - at

    def try_read_into(self, offset: int, target: WritableBuffer) -> bool:
        self._check(offset, len(target))
        return False

    async def read_into(self, offset: int, target: WritableBuffer) -> None:
        stop = offset + len(target)
        self._check(offset, len(target))
        view = memoryview(target)
        at = offset
        for begin, end in self._differing(offset, stop):
            await self._read_present(at, view[at - offset : begin - offset])
            self._read_cached(begin, view[begin - offset : end - offset])
            at = end
        await self._read_present(at, view[at - offset :])
        self._bytes_read += len(target)

    async def read(self, offset: int, length: int) -> bytes:
        target = bytearray(length)
        await self.read_into(offset, target)
        return bytes(target)

    async def flush(self) -> None:
        self._check(0, 0)

    def stats(self) -> DiskStats:
        """The counters of the present version, with the reads of this one."""
        return replace(self._present.stats(), bytes_read=self._bytes_read)

    async def close(self) -> None:
        self._closed = True

    # ── inside ───────────────────────────────────────────────────────────────────────────────────

    def _check(self, offset: int, length: int) -> None:
        if self._closed:
            raise DiskClosedError
        check_bounds(offset, length, self._present.info.size)

    def _differing(self, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """The parts that the present version does not have, or may not have."""
        if self._changed is None:
            yield start, stop
        else:
            yield from (one for one in self._changed.between(start, stop) if one[0] < one[1])

    def _cached_between(self, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """The parts of a range whose blocks are cached."""
        store = self._cached
        if store is None or store.image is None:
            return
        size = store.image.block_size
        for block in range(start // size, -(-stop // size)):
            if block in store.slot_of:
                yield max(start, block * size), min(stop, (block + 1) * size)

    async def _read_present(self, offset: int, target: memoryview) -> None:
        if target:
            await self._present.read_into(offset, target)

    def _read_cached(self, offset: int, target: memoryview) -> None:
        stop = offset + len(target)
        missing = list(self.missing(offset, stop))
        if missing:
            raise MissingBaseError(self._overlay, missing)
        store = self._cached
        assert store is not None
        assert store.image is not None
        size = store.image.block_size
        for low, high in self._cached_between(offset, stop):
            block = low // size
            found = False
            with contextlib.suppress(StorageError):
                part = target[low - offset : high - offset]
                found = store.read_into(block, low - block * size, part)
            if not found:  # it is damaged
                raise MissingBaseError(self._overlay, [(low, high - low)])
