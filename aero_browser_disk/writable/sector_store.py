"""Stores the written sectors of one disk in one file, safely across crashes.

A write never overwrites what was committed: it goes to slots of the file that are free. `commit`
appends one batch of records to the commit log, which name the new slot of each changed granule (4
KiB), and makes the batch and its data durable. Only then are the slots of the older data free. So
after a crash the next start finds everything that was committed, and the last batch completely or
not at all, whatever the order in which writes reached the medium.

A small batch is made durable together with its data by a single flush. It has checksums of the
data: if a crash comes before the flush ended, the batch counts when all of its data is there. A
large batch is written after its data is durable.

Storage is allocated before a write is accepted: slots for the data, for the records of the commit,
and for a snapshot of all records. A write that does not fit is refused as a whole. A commit needs
no more space, even if the device is full by then, and a full disk stays usable.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Final

from ..errors import StorageError, StorageFullError
from ..platform.base import File, ReadableBuffer, Storage, WritableBuffer
from .commit_log import CommitLog
from .granule_table import GRANULE, SECTORS, GranuleTable
from .log_loading import LogLoader
from .log_rewriting import LogRewriter
from .range_set import RangeSet
from .sector_journal import SLOT_SIZE, Contents, slots_for, units_for
from .sector_padding import SectorPadding
from .sector_reader import SECTOR, Range, SectorReader
from .sector_writer import Put, SectorWriter
from .slot_allocator import SlotAllocator
from .slot_checksums import SlotChecksums
from .store_snapshot import StoreSnapshot
from .transaction import Transaction

_MAX_CHECKED: Final = 512  # granules in a batch with checksums of its data
_LITTLE_TO_GAIN: Final = 8  # journal slots that are too few for a rewrite


class SectorStore:
    """The written sectors of one disk. Its user supplies the others: from a base, or as zeros.

    `name` is what damage calls it.
    """

    def __init__(self, path: str, file: File, name: str | None = None) -> None:
        self.changes = 0
        """Counts changes of the content since the store was opened."""
        self._path = path
        self._name = name
        self._file = file
        self._is_committed_into = False
        self._table = GranuleTable()
        self._allocator = SlotAllocator(file)
        self._checksums = checksums = SlotChecksums()
        self._log = CommitLog(path, file, self._allocator, checksums)
        self._transaction = Transaction(file, self._allocator, self._log, checksums)
        self._reader = SectorReader(
            path, file, self._table, self._transaction.buffered, checksums, name
        )
        self._padding = SectorPadding(self._table, self._reader)
        self._writer = SectorWriter(
            file,
            self._table,
            self._allocator,
            self._transaction,
            self._reader,
            checksums,
            make_space=self._make_space,
            commit=self._commit,
        )
        self._loader = LogLoader(
            path, file, self._log, self._table, self._allocator, self._transaction, self._writer
        )
        self._rewriter = LogRewriter(
            self._log, self._table, self._allocator, self._transaction, self._writer
        )

    # ── opening ───────────────────────────────────────────────────────────────────────────────────

    @classmethod
    async def create(
        cls, storage: Storage, path: str, contents: Contents, *, name: str | None = None
    ) -> SectorStore:
        """Creates a store in a new file, or in one that never had a store.

        Raises `StorageError`, also when there is a store already, and `StorageFullError`.
        """
        store = cls(path, await storage.open(path), name)
        try:
            store._loader.begin(contents)
        except BaseException:
            store.close()
            raise
        return store

    @classmethod
    async def open(
        cls,
        storage: Storage,
        path: str,
        *,
        known_version: str | None = None,
        name: str | None = None,
    ) -> SectorStore | None:
        """Opens the store in a file; None if it never had one.

        The disk is of `known_version` or a later one. Raises `StorageBusyError` when another tab
        has it, `DamagedDiskError`, also for an earlier version, and other `StorageError`s.
        """
        try:
            file = await storage.open(path, create=False)
        except FileNotFoundError:
            return None
        store = cls(path, file, name)
        try:
            header = store._log.read_header()
            if header is not None:
                store._loader.replay(header, known_version)
                return store
        except BaseException:
            store.close()
            raise
        store.close()
        return None

    @property
    def contents(self) -> Contents:
        """The disk that it belongs to."""
        return self._log.header.contents

    @property
    def failure(self) -> StorageError | None:
        """Why nothing is written any more, after a flush failed."""
        return self._log.failure

    @property
    def revision(self) -> str:
        """The number of commits; uncommitted writes count as one more.

        It includes the session that wrote last: a restored copy of the file that was changed has
        another version than the original that was changed.
        """
        log = self._log
        session = log.this_session if self.is_dirty else log.session
        number = str(log.commits + self.is_dirty)
        return f"{number}.{session:08x}" if session else number

    @property
    def is_dirty(self) -> bool:
        """Whether anything was written since the last commit."""
        return not self._transaction.is_empty

    @property
    def used_bytes(self) -> int:
        """Storage that the written data takes, in whole granules of bytes."""
        return self._writer.used * GRANULE

    @property
    def file_bytes(self) -> int:
        """Bytes in the file."""
        return self._allocator.slots * SLOT_SIZE

    def commit_and_close(self) -> None:
        """Commits unless a commit failed before, and closes the file. Closes it even if it raises
        `StorageError`."""
        try:
            if self.failure is None:
                self.commit()
                with contextlib.suppress(StorageError):  # the next start then searches for the end
                    self._log.close()
        finally:
            self.close()

    def close(self) -> None:
        """Closes the file; uncommitted writes are lost. Idempotent."""
        self._file.close()

    # ── reading ───────────────────────────────────────────────────────────────────────────────────

    def read_into(self, offset: int, target: WritableBuffer) -> list[Range]:
        """Fills `target` from `offset` with written sectors; returns the ranges that were never
        written.

        Raises `StorageError`.
        """
        return self._reader.read_into(offset, target)

    def locate(self, offset: int, length: int) -> tuple[File, int] | None:
        """The file and the offset in it of a run of bytes, valid until the next call.

        None when they are scattered, buffered or take no space.
        """
        return self._reader.locate(offset, length)

    def is_untouched(self, offset: int, length: int) -> bool:
        """Whether nothing was written of the granules that a range lies in."""
        return self._reader.is_untouched(offset, length)

    def ranges(self, start: int, stop: int) -> Iterator[tuple[int, int, bool]]:
        """What was written from byte `start` to `stop`: offset, length, and whether it is zeros.

        Zeros are those that take no space; others count as data. In order, as long as possible.
        """
        return self._reader.ranges(start, stop)

    # ── writing ───────────────────────────────────────────────────────────────────────────────────

    def edges(self, offset: int, length: int) -> list[int]:
        """Offsets of the sectors that a write covers in part and that were never written."""
        return self._padding.missing(offset, length, self.contents.size)

    def write(
        self, offset: int, data: ReadableBuffer, base_sectors: Mapping[int, bytes] | None = None
    ) -> None:
        """Writes any bytes. `base_sectors` has the sectors that `edges` named; others are zeros.

        Raises `StorageFullError` and other `StorageError`s; nothing of it is written then, unless
        the file failed in the middle of it.
        """
        length = len(data)
        if not length:
            return
        self._check()
        with memoryview(data) as view:
            if (offset | length) % SECTOR:
                with memoryview(self._padding.padded(offset, view, base_sectors or {})) as padded:
                    self._writer.write(offset - offset % SECTOR, padded)
            else:
                self._writer.write(offset, view)
        self.changes += 1

    def fill(self, offset: int, length: int, put: Put) -> None:
        """Writes whole granules by `put`, which writes them to the file itself.

        The counterpart of `locate`: the bytes need not pass through Python's memory. Raises as
        `write`; in a full file it may fail where `write` would still overwrite.
        """
        self._check()
        self._writer.fill(offset // GRANULE, length // GRANULE, put)
        self.changes += 1

    def reserve(self, ranges: Iterable[Range]) -> Iterator[None]:
        """Reserves space for data that is written in at most `RESERVED_WRITE` bytes at a time.

        `ranges` are offset and length, in order. It works step by step: iterate to the end. Raises
        `StorageFullError` after releasing what it reserved.
        """
        self._check()
        granules = new = runs = 0
        for offset, length in ranges:
            first, end = offset // GRANULE, -(-(offset + length) // GRANULE)
            granules += end - first
            new += end - first - self._reader.slots_in(first, end)
            runs += 1
        try:
            yield from self._transaction.provide(granules, new, runs)
        except StorageFullError:
            self._allocator.cut()
            raise

    def discard(
        self,
        offset: int,
        length: int,
        base_sectors: Mapping[int, bytes] | None = None,
        *,
        hide: bool,
    ) -> None:
        """Discards a range: whole granules take no space afterwards, the rest is written as zeros.

        With `hide` they read as zeros, without it as never written. `base_sectors` and errors are
        as for `write`. The cost depends on what was written there, not on the length.
        """
        if not length:
            return
        self._check()
        first, last, edges = self._padding.discarded(
            offset, length, self.contents.size, base_sectors or {}, hide=hide
        )
        self._writer.discard(first, last, edges, hide=hide)
        self.changes += 1

    def commit(self) -> None:
        """Returns once all that was written is durable.

        Raises `StorageError`; the writes can still be read then, but may be lost in a crash.
        """
        self._commit()
        if self._log.is_long:
            self._rewriter.try_to_rewrite()

    def snapshot(self) -> StoreSnapshot:
        """Commits, and returns the store as it is then; close it soon. Raises `StorageError`."""
        self.commit()
        table, hold = self._table.copy(), self._allocator.hold()
        reader = SectorReader(self._path, self._file, table, {}, self._checksums, self._name)
        return StoreSnapshot(
            self._path,
            self.contents,
            self.revision,
            table,
            reader,
            hold,
            partial(self._allocator.release, hold),
        )

    def watch(self, changed: RangeSet) -> Callable[[], None]:
        """Adds the granules that each commit from now on changes to `changed`.

        Returns what ends that.
        """
        self._transaction.watch(changed)
        return partial(self._transaction.unwatch, changed)

    def _commit(self) -> None:
        self._check_failure()
        self._transaction.write_out()
        if not self._transaction.is_empty:
            is_large = self._transaction.fresh_slots > _MAX_CHECKED
            if is_large:
                self._log.flush()
            records = list(self._transaction.records(self._table))
            try:
                self._log.append(records, is_data_durable=is_large)
            except StorageError:
                self._transaction.close_slots()
                raise
            self._transaction.finish()

    def compact(self) -> None:
        """Commits, rewrites the chain as short as possible, and returns free space.

        Data without checksums, in a file of an earlier format, gets them. Raises `StorageFullError`
        when there is no space for both chains; then nothing changes.
        """
        self.commit()
        for granule, count, entry in self._table.runs(0, -(-self.contents.size // GRANULE)):
            if self._checksums.get(entry >> SECTORS, count) is None:
                self._reader.check(granule, entry >> SECTORS, count)
        self._transaction.give_pool_back()
        self._rewriter.rewrite(self.contents)

    def rebind(self, base: str, *, base_identity: str | None = None) -> None:
        """Commits, and binds the overlay to a base. Durable when it returns; all or nothing.

        Raises `StorageError`.
        """
        self.commit()
        self._log.relabel(replace(self.contents, base=base, base_identity=base_identity))

    def resize(self, size: int) -> None:
        """Commits, and changes the size. Durable when it returns; all or nothing.

        Data beyond a smaller size is dropped. Raises `StorageError`.
        """
        self.commit()
        if size == self.contents.size:
            return
        self._end_foreign_commit()
        self._writer.reserve_small()
        self._rewriter.reserve(self._rewriter.count_runs(self.contents.size) + 2)
        if size < self.contents.size:
            sector_end = -(-size // SECTOR) * SECTOR
            if size < sector_end and self._reader.has_sector(size - size % SECTOR):
                self.write(size, bytes(sector_end - size))
            self._writer.cut(sector_end, self.contents.size)
        self.changes += 1
        self._rewriter.rewrite_or_fail(replace(self.contents, size=size))

    def clear(self, base: str | None) -> None:
        """Drops everything, and binds the store to `base`. Durable when it returns.

        All or nothing. Raises `StorageError`.
        """
        self._check_failure()
        self._rewriter.reserve(0)
        contents = replace(self.contents, base=base, base_identity=None)
        self._transaction.buffered.clear()
        self._writer.replace(0, -(-self.contents.size // GRANULE), 0)
        self.changes += 1
        self._rewriter.rewrite_or_fail(replace(contents, commit_mark=None))

    def begin_commit(self, mark: str) -> None:
        """Notes whose writes follow. Durable when it returns.

        While `mark` is in the contents, nothing else was written: so an overlay whose commit was
        interrupted knows that this is still its base. Raises `StorageError`.
        """
        self.commit()
        self._is_committed_into = True
        self._log.relabel(replace(self.contents, commit_mark=mark))

    def end_commit(self) -> None:
        """The writes of the commit are over. Idempotent."""
        self._is_committed_into = False

    # ── inside ────────────────────────────────────────────────────────────────────────────────────

    def _check(self) -> None:
        """Raises the reason if nothing can be written; commits if too much is uncommitted."""
        self._check_failure()
        self._end_foreign_commit()
        self._transaction.limit_memory()
        if self._transaction.is_large:
            self.commit()

    def _end_foreign_commit(self) -> None:
        """Removes the mark of a commit before anything else is written."""
        if self.contents.commit_mark is not None and not self._is_committed_into:
            self._log.relabel(replace(self.contents, commit_mark=None))

    def _check_failure(self) -> None:
        if self._log.failure is not None:
            raise self._log.failure

    def _make_space(self) -> None:
        """Commits to free slots, and shortens the chain if it is long."""
        self.commit()
        units = units_for(self._transaction.snapshot_records, self._transaction.snapshot_granules)
        if len(self._log) > slots_for(units) + _LITTLE_TO_GAIN:
            self._rewriter.try_to_rewrite()
