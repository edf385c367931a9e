"""A copy-on-write overlay: a writable disk over another disk, which stays as it is.

Writes go to the overlay's file, sector by sector. Reads take written sectors from there and all
others from the base. So several overlays can share one base, and a remote image can be written to.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator, Callable, Iterator
from dataclasses import replace

from ..disk import Disk, DiskInfo, DiskStats, check_bounds, data_ranges, locate
from ..errors import (
    BaseChangedError,
    DiskClosedError,
    InvalidDocumentError,
    ReadOnlyError,
    StorageError,
    StorageFullError,
)
from ..platform.base import File, ReadableBuffer, Storage, WritableBuffer
from ..platform.byte_source import ByteStream
from ..platform.concurrent_tasks import all_of
from ..platform.opening import ClosesOnExit
from ..records.record import SECTORS
from .overlay_base import CommitTarget, Reserving, StoreCommitTarget, bind, identity_of
from .overlay_digest import overlay_digest
from .overlay_file import overlay_parts, store_from_parts
from .range_set import RangeSet
from .sector_journal import Contents
from .sector_reader import SECTOR, Range
from .sector_store import SectorStore
from .store_snapshot import StoreSnapshot
from .transaction import RESERVED_WRITE

CommitReport = Callable[[int, int], None]
"""Takes how many bytes of how many are written."""

_COPIED_AT_ONCE = RESERVED_WRITE


class Overlay(StoreCommitTarget, ClosesOnExit):
    """A writable `Disk` over any other, which it never changes, but for `commit`.

    What was written is kept sector by sector, so that a write reads nothing of the base, and a read
    only what was not written. It is bound to the base's version. The overlay owns its base: `close`
    closes both. While it is open nobody else may write to the base.
    """

    def __init__(self, base: Disk, store: SectorStore, storage: Storage) -> None:
        """Takes over an open base and store; use `open`."""
        self._base = base
        self._store = store
        self._storage = storage
        self._size = base.info.size
        self._closed = False
        self._bytes_read = self._bytes_written = self._hits = self._misses = 0

    @classmethod
    async def open(
        cls,
        base: Disk,
        storage: Storage,
        folder: str,
        *,
        create: bool = True,
        known_version: str | None = None,
        name: str | None = None,
    ) -> Overlay:
        """Opens the overlay in a folder over the base that it was made over, or makes it there.

        It is of `known_version` or a later one; errors about damage call it `name`. A base that
        takes writes is flushed first. Raises
        `BaseChangedError` when it is of another version than it was; the overlay, and the base, are
        left as they are. Raises `FileNotFoundError` when there is none and `create` is false,
        `StorageBusyError` when another tab has it, `DamagedDiskError`, also for an earlier version,
        `StorageFullError` and other `StorageError`s. After an error the base is still the caller's.
        """
        await base.flush()
        path = f"{folder}/{SECTORS}"
        store = await SectorStore.open(storage, path, known_version=known_version, name=name)
        if store is None and not create:
            raise FileNotFoundError(path)
        if store is None:
            contents = Contents(base.info.size, secrets.token_hex(16), base.info.version)
            store = await SectorStore.create(storage, path, contents, name=name)
        try:
            bind(store, base, folder)
        except BaseException:
            store.close()
            raise
        return cls(base, store, storage)

    @property
    def info(self) -> DiskInfo:
        """The version changes with every flushed change."""
        contents = self._store.contents
        version = f"overlay:{contents.identity}:{self._store.revision}:{contents.base}"
        base = self._base.info
        return DiskInfo(self._size, version, base.block_size, False, base.sector_size)

    @property
    def identity(self) -> str:
        """The identity of this overlay in its versions, which no other has."""
        return self._store.contents.identity

    @property
    def base(self) -> Disk:
        """The disk below."""
        return self._base

    @property
    def base_version(self) -> str:
        """The version of the base that it is bound to."""
        return self._store.contents.base or ""

    @property
    def used_bytes(self) -> int:
        """Storage that the written data takes, in bytes."""
        return self._store.used_bytes

    def written_ranges(self) -> Iterator[Range]:
        """Offset and length of what was written or discarded here, in order, in whole sectors."""
        at = end = 0
        for offset, length, _ in self._store.ranges(0, self._size):
            if offset != end:
                if end > at:
                    yield at, end - at
                at = offset
            end = min(offset + length, self._size)
        if end > at:
            yield at, end - at

    def data_ranges(self) -> Iterator[Range]:
        """Offset and length of what may be anything but zeros, here or in the base, in order."""
        at = 0
        base_sectors = _Ranges(data_ranges(self._base))
        for offset, length, is_zeros in self._store.ranges(0, self._size):
            yield from base_sectors.between(at, offset)
            at = min(offset + length, self._size)
            if not is_zeros:
                yield offset, at - offset
        yield from base_sectors.between(at, self._size)

    async def digest(self) -> str:
        """SHA-256, in hex, of the base's version and of what was written: the same, the same disk.

        Where and in which order it was written makes no difference, nor does what was flushed.
        """
        self._check(0, 0)
        return await overlay_digest(self._store)

    # ── reading ──────────────────────────────────────────────────────────────────────────────────

    def try_read_into(self, offset: int, target: WritableBuffer) -> bool:
        length = len(target)
        self._check(offset, length)
        missing = self._store.read_into(offset, target)
        if missing:
            view = memoryview(target)
            for start, count in missing:
                at = start - offset
                if not self._base.try_read_into(start, view[at : at + count]):
                    return False
        self._count_read(length, was_here=not missing)
        return True

    def locate(self, offset: int, length: int) -> tuple[File, int] | None:
        """Where a run of bytes is, in this overlay's file or in the base's: see `disk.Locating`."""
        self._check(offset, length)
        location = self._store.locate(offset, length)
        was_here = location is not None
        if not was_here and self._store.is_untouched(offset, length):
            location = locate(self._base, offset, length)
        if location is not None:
            self._count_read(length, was_here=was_here)
        return location

    async def read_into(self, offset: int, target: WritableBuffer) -> None:
        length = len(target)
        self._check(offset, length)
        missing = self._store.read_into(offset, target)
        if len(missing) == 1:
            start, count = missing[0]
            at = start - offset
            await self._base.read_into(start, memoryview(target)[at : at + count])
        elif missing:
            await self._read_base(offset, memoryview(target), missing)
        if self._closed:
            raise DiskClosedError
        self._count_read(length, was_here=not missing)

    async def read(self, offset: int, length: int) -> bytes:
        self._check(offset, length)
        target = bytearray(length)
        await self.read_into(offset, target)
        return bytes(target)

    # ── writing ──────────────────────────────────────────────────────────────────────────────────

    def try_write(self, offset: int, data: ReadableBuffer) -> bool:
        self._check(offset, len(data))
        base_sectors: dict[int, bytes] = {}
        for sector in self._store.edges(offset, len(data)):
            found = bytearray(min(SECTOR, self._size - sector))
            if not self._base.try_read_into(sector, found):
                return False
            base_sectors[sector] = bytes(found)
        self._store.write(offset, data, base_sectors)
        self._bytes_written += len(data)
        return True

    async def write(self, offset: int, data: ReadableBuffer) -> None:
        if self.try_write(offset, data):
            return
        base_sectors = {
            sector: await _sector_of(self._base, sector)
            for sector in self._store.edges(offset, len(data))
        }
        self._check(offset, len(data))
        self._store.write(offset, data, base_sectors)
        self._bytes_written += len(data)

    async def flush(self) -> None:
        self._check(0, 0)
        self._store.commit()

    async def discard(self, offset: int, length: int) -> None:
        self._check(offset, length)
        base_sectors = {
            sector: await _sector_of(self._base, sector)
            for sector in self._store.edges(offset, length)
        }
        self._check(offset, length)
        self._store.discard(offset, length, base_sectors, hide=True)

    def snapshot(self) -> StoreSnapshot:
        """Flushes, and returns what is written here as it is then; close it soon.

        Raises `DiskClosedError` and `StorageError`.
        """
        self._check(0, 0)
        return self._store.snapshot()

    def watch(self, changed: RangeSet) -> Callable[[], None]:
        """Adds the granules (4 KiB) that each flush changes to `changed`; returns what ends it."""
        return self._store.watch(changed)

    # ── as a whole ───────────────────────────────────────────────────────────────────────────────

    async def reset(self) -> None:
        """Drops everything written: the disk is the base again. Durable; all or nothing."""
        self._check(0, 0)
        self._store.clear(self._store.contents.base)

    async def compact(self) -> None:
        """Returns free space to the storage. Raises `DiskClosedError`, `StorageError`."""
        self._check(0, 0)
        self._store.compact()

    async def commit(self, report: CommitReport | None = None) -> None:
        """Writes the overlay into the base, which must be writable; the overlay is empty
        afterwards.

        `report` is called with how many bytes of how many are written. After a crash in the middle
        of it, or when it is cancelled, the disk is what it was, and can be committed again; the
        base by itself has a part of it.
        Raises `ReadOnlyError`; `StorageFullError` before anything is written, if the base can
        reserve; and other errors of the base, with the state as after a crash.
        """
        self._check(0, 0)
        if self._base.info.read_only:
            raise ReadOnlyError
        base = self._base
        if isinstance(base, Reserving):
            data = ((at, length) for at, length, zeros in self._written() if not zeros)
            for _ in base.reserve(data):
                await asyncio.sleep(0)
        if not isinstance(base, CommitTarget):
            self._store.rebind(self.base_version, base_identity=identity_of(base))
            await self.write_into(base, report)
            self._store.clear(base.info.version)
            return
        mark = secrets.token_hex(16)
        self._store.rebind(self.base_version, base_identity=mark)
        base.begin_commit(mark)
        try:
            await self.write_into(base, report)
            self._store.clear(base.info.version)
        finally:
            base.end_commit()

    async def write_into(self, target: Disk, report: CommitReport | None = None) -> None:
        """Writes only the overlay's sectors into a disk with the base's content.

        Flushes it. Raises what `target` raises.
        """
        buffer = bytearray(_COPIED_AT_ONCE)
        total = sum(length for _, length, is_zeros in self._written() if not is_zeros)
        done = 0
        for offset, length, is_zeros in self._written():
            self._check(0, 0)
            stop = offset + length
            if is_zeros:
                await target.discard(offset, length)
                continue
            for at in range(offset, stop, _COPIED_AT_ONCE):
                with memoryview(buffer)[: min(_COPIED_AT_ONCE, stop - at)] as part:
                    self._store.read_into(at, part)
                    await target.write(at, part)
                    done += len(part)
                if report:
                    report(done, total)
                await asyncio.sleep(0)
        await target.flush()

    async def export(self) -> AsyncGenerator[bytes, None]:
        """The overlay as a file, part by part: see `overlay_file`.

        A write meanwhile ends it with `StorageError`, and the file is incomplete.
        """
        self._check(0, 0)
        changes = self._store.changes
        async for part in overlay_parts(self._store):
            if self._store.changes != changes:
                raise StorageError(self.identity, "the overlay was written to during its export")
            yield part

    @classmethod
    async def import_file(
        cls, parts: ByteStream, base: Disk, storage: Storage, folder: str
    ) -> Overlay:
        """Creates an overlay from an exported file, in a folder that has none.

        Raises `BaseChangedError` when it belongs to another version than that of `base`,
        `InvalidDocumentError` when it is damaged or not whole, and `StorageError`. After an error
        nothing is in the folder, and the base is still the caller's.
        """
        path = f"{folder}/{SECTORS}"
        if await storage.facts(path) is not None:
            raise StorageError(folder, "there is something already")
        try:
            await store_from_parts(parts, storage, path)
            return await cls.open(base, storage, folder)
        except (BaseChangedError, InvalidDocumentError, StorageFullError):
            await storage.remove(path)
            raise

    # ── everything else ──────────────────────────────────────────────────────────────────────────

    def stats(self) -> DiskStats:
        """The base's counters, with the reads and writes of this disk."""
        return replace(
            self._base.stats(),
            bytes_read=self._bytes_read,
            hits=self._hits,
            misses=self._misses,
            bytes_written=self._bytes_written,
            used_bytes=self.used_bytes,
        )

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        try:
            self._store.commit_and_close()
        finally:
            await self._base.close()

    # ── inside ───────────────────────────────────────────────────────────────────────────────────

    def _check(self, offset: int, length: int) -> None:
        if self._closed:
            raise DiskClosedError
        check_bounds(offset, length, self._size)

    def _count_read(self, length: int, *, was_here: bool) -> None:
        self._bytes_read += length
        if was_here:
            self._hits += 1
        else:
            self._misses += 1

    def _written(self) -> Iterator[tuple[int, int, bool]]:
        """Offset and length of what was written here, and whether it is zeros without slots."""
        for offset, length, is_zeros in self._store.ranges(0, self._size):
            yield offset, min(length, self._size - offset), is_zeros

    async def _read_base(self, offset: int, view: memoryview, missing: list[Range]) -> None:
        """Reads several ranges of the base at once; ends all of them when one fails."""
        await all_of(
            self._base.read_into(start, view[start - offset : start - offset + count])
            for start, count in missing
        )


class _Ranges:
    """Ranges in order, of which parts are asked for in order."""

    def __init__(self, ranges: Iterator[Range]) -> None:
        self._ranges = ranges
        self._next: Range | None = next(ranges, None)

    def between(self, start: int, stop: int) -> Iterator[Range]:
        """What of them lies from `start` to `stop`."""
        while self._next is not None and self._next[0] < stop:
            offset, length = self._next
            first, last = max(offset, start), min(offset + length, stop)
            if first < last:
                yield first, last - first
            if offset + length > stop:
                return
            self._next = next(self._ranges, None)


async def _sector_of(disk: Disk, offset: int) -> bytes:
    """A sector of a disk, shorter at its end."""
    sector = bytearray(min(SECTOR, disk.info.size - offset))
    await disk.read_into(offset, sector)
    return bytes(sector)
