"""The changes since the last commit, and the space that a commit of them takes.

A transaction begins with the first write after a commit and ends with the next commit. Space is
reserved before anything is written: slots for the data, for the records that the commit adds to the
log, and for a snapshot of all records. So a commit never fails for lack of space. Overwrites may
use slots that new data may not, so a full disk stays usable.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from typing import Final

from ..platform.base import File
from .commit_log import CommitLog, merged
from .granule_table import ALL, SECTORS, GranuleTable
from .range_set import RangeSet
from .sector_journal import SLOT_SIZE, UNITS_IN_SLOT, Record, slots_for, units_for
from .slot_allocator import FREE, FRESH, USED, SlotAllocator
from .slot_checksums import SlotChecksums

OVERWRITABLE_AT_ONCE: Final = 32
"""Granules that can be overwritten at once, however full the disk is."""

RESERVED_WRITE: Final = 1 << 20
"""The longest write in bytes whose space `provide` reserves."""

_PROVIDED_AT_ONCE: Final = 2048  # slots
_FOR_OVERWRITING: Final = 96  # slots: for those, for journal slots until it is rewritten, and spare
_MAX_BUFFERED: Final = 256  # granules in memory that are not in the file yet
_POOL: Final = 64  # slots taken at once for small writes
_JOURNAL_SPACE: Final = 8 * UNITS_IN_SLOT
_MAX_FRESH: Final = 8192  # granules
_MAX_PENDING: Final = 8192  # runs_changed
_MAX_REPLACED: Final = 1 << 16  # slots
_MAX_IN_RECORD: Final = 1 << 31  # granules

Run = tuple[int, int]
"""From the first to behind the last."""


class Transaction:
    """The current transaction. Small writes are buffered until there are many of them."""

    def __init__(
        self, file: File, allocator: SlotAllocator, log: CommitLog, checksums: SlotChecksums
    ) -> None:
        self.fresh_slots = 0
        """How many slots were written to."""
        self.snapshot_records = 0
        """At most so many would say all that is committed,"""
        self.snapshot_granules = 0
        """of at most so many granules with data."""
        self.buffered: dict[int, bytearray] = {}
        """Slots that are not in the file yet."""
        self._file = file
        self._allocator = allocator
        self._log = log
        self._checksums = checksums
        self._pending: list[Run] = []  # granules
        self._max_records = 0
        self._max_granules = 0  # with data
        self._fresh: list[Run] = []  # slots
        self._replaced = array("I")  # slots that the commit frees
        self._pool: list[int] = []  # slots for small writes to come, the first last
        self._watchers: list[RangeSet] = []

    @property
    def is_empty(self) -> bool:
        """Whether nothing was written."""
        return not self._pending

    @property
    def is_large(self) -> bool:
        """Whether it should be committed before more is written."""
        return (
            self.fresh_slots >= _MAX_FRESH
            or len(self._pending) >= _MAX_PENDING
            or len(self._replaced) >= _MAX_REPLACED
        )

    # ── space ─────────────────────────────────────────────────────────────────────────────────────

    def reserve(self, granules: int, runs_changed: int, *, is_new: bool) -> None:
        """Takes slots for so many granules, which `next_slot` hands out, and for the records.

        `runs_changed` is how many runs change. Raises `StorageFullError`; then nothing is taken
        but what others can use.
        """
        spare = _FOR_OVERWRITING if is_new else 0
        allocator, pool = self._allocator, self._pool
        if (
            len(pool) < granules
            or self._units(2 * runs_changed, granules) > self._log.capacity
            or allocator.free + len(pool) < allocator.reserve + granules + spare
        ):
            self._take_for_records(runs_changed, granules, spare)
            allocator.provide(allocator.reserve + spare + granules - len(pool))
            self.fill_pool(granules)

    def fill_pool(self, granules: int) -> None:
        """Provides this many slots for `next_slot`. Raises `StorageFullError`."""
        pool = self._pool
        while len(pool) < granules:
            slot, count = self._allocator.take(_POOL, USED)
            pool[:0] = range(slot + count - 1, slot - 1, -1)

    def reserve_overwriting(self, granules: int) -> None:
        """Reserves what overwriting so many granules with slots takes.

        `OVERWRITABLE_AT_ONCE` of them at a time, with a commit between, which frees the slots for
        the next. Raises `StorageFullError`; then nothing is taken but what others can use.
        """
        commits = -(-granules // OVERWRITABLE_AT_ONCE)
        units = self._units(2 * granules, granules)
        of_each = units_for(2 * OVERWRITABLE_AT_ONCE, OVERWRITABLE_AT_ONCE)
        slots = slots_for(self._units(0, 0)) + commits * slots_for(of_each)
        while self._log.ready < slots:
            self.keep_for_snapshot(units + _JOURNAL_SPACE)
            self._allocator.provide(self._allocator.reserve + 1)
            self._log.make_space()
        self.keep_for_snapshot(units + _JOURNAL_SPACE)
        missing = OVERWRITABLE_AT_ONCE - len(self._pool)
        self._allocator.provide(self._allocator.reserve + max(0, missing))

    def provide(self, granules: int, new: int, runs: int) -> Iterator[None]:
        """Provides free slots for writes of so many granules, `new` of which have none.

        Each write has `RESERVED_WRITE` bytes at most; they form `runs` runs. It works step by step:
        iterate to the end. Raises `StorageFullError`.
        """
        at_once = RESERVED_WRITE // SLOT_SIZE
        writes = granules // at_once + 2 * runs
        # The worst case: no two granules are adjacent, and each write is committed.
        units = self._units(2 * granules + 4 * writes, granules)
        self.keep_for_snapshot(units + _JOURNAL_SPACE)
        of_last = at_once + OVERWRITABLE_AT_ONCE
        journal = writes + slots_for(units) + slots_for(units_for(2 * of_last, of_last))
        wanted = self._allocator.reserve + _FOR_OVERWRITING + _POOL + journal + new + at_once
        while self._allocator.free < wanted:
            self._allocator.provide(min(wanted, self._allocator.free + _PROVIDED_AT_ONCE))
            yield

    def take_run(self, wanted: int, *, is_new: bool) -> list[Run]:
        """Slots for a run of granules, in as few runs as possible, and for their records.

        Raises `StorageFullError`; then none is taken. They are the caller's to `give_back`.
        """
        spare = _FOR_OVERWRITING if is_new else 0
        runs: list[Run] = []
        try:
            self._allocator.provide(self._allocator.reserve + spare + wanted)
            while wanted:
                slot, count = self._allocator.take(wanted, USED)
                runs.append((slot, slot + count))
                wanted -= count
            # What is reserved for small writes counts twice, which is harmless.
            granules = sum(stop - start for start, stop in runs) + OVERWRITABLE_AT_ONCE
            self._take_for_records(len(runs) + OVERWRITABLE_AT_ONCE, granules, spare)
        except BaseException:
            self.give_back(runs)
            raise
        return runs

    def take_unallocated_run(self, wanted: int, *, is_new: bool) -> list[Run] | None:
        """As `take_run`, but without allocating storage: the write itself shows whether there is
        any.

        So the file is not written twice. None if free slots should be used first. Otherwise the
        caller may `give_back_unallocated`.
        """
        if self._allocator.has_gaps:
            return None
        spare = _FOR_OVERWRITING if is_new else 0
        self._allocator.provide(self._allocator.reserve + spare)
        runs = self._allocator.take_unallocated(wanted)
        try:
            granules = wanted + OVERWRITABLE_AT_ONCE
            self._take_for_records(len(runs) + OVERWRITABLE_AT_ONCE, granules, spare)
        except BaseException:
            self.give_back_unallocated(runs)
            raise
        return runs

    def give_back_unallocated(self, runs: Iterable[Run]) -> None:
        """Takes back slots that could not be written."""
        self._allocator.give_back_unallocated(runs)

    def give_back(self, runs: Iterable[Run]) -> None:
        """Frees slots that nothing was written to."""
        for start, stop in runs:
            self._allocator.mark(start, stop - start, FREE)

    def give_pool_back(self) -> None:
        """Frees the slots that are kept for small writes to come."""
        self._allocator.give_back(self._pool)
        self._pool.clear()

    def keep_for_snapshot(self, more_units: int = 0) -> None:
        """Keeps space for a snapshot of all that is there, and of so many units more."""
        units = units_for(self.snapshot_records, self.snapshot_granules) + more_units
        self._allocator.reserve = slots_for(units) + 2

    def _units(self, records: int, granules: int) -> int:
        """The maximum of units in the commit, with so many more changes."""
        return units_for(self._max_records + records, self._max_granules + granules)

    def _take_for_records(self, runs_changed: int, granules: int, spare: int) -> None:
        units = self._units(2 * runs_changed, granules)
        while self._log.capacity < units:
            self.keep_for_snapshot(units + _JOURNAL_SPACE)
            self._allocator.provide(self._allocator.reserve + spare + 1)
            self._log.make_space()

    # ── what was written ─────────────────────────────────────────────────────────────────────────

    def next_slot(self) -> int:
        """One of the slots that were reserved, to be written to."""
        slot = self._pool.pop()
        self._allocator.states[slot] = FRESH
        self._note_fresh(slot, slot + 1)
        return slot

    def note_written(self, runs: Iterable[Run]) -> None:
        """Notes that slots of `take_run` were written."""
        for start, stop in runs:
            self._allocator.mark(start, stop - start, FRESH)
            self._note_fresh(start, stop)

    def note_change(self, start: int, stop: int, gone: Iterable[int], *, data: int = 0) -> None:
        """Notes that granules from `start` to `stop` are one run now, and that the slots `gone` are
        unused.

        `data` is how many of them have data.
        """
        self._pending.append((start, stop))
        self._max_records += 2 + (stop - start) // _MAX_IN_RECORD
        self._max_granules += data
        # Slots of this transaction stay taken too until its commit: they may be buffered.
        self._replaced.extend(gone)

    def write_out(self, *, if_more_than: int = 0) -> None:
        """Writes what is buffered to the file."""
        if len(self.buffered) > if_more_than:
            for start, stop in merged((slot, slot + 1) for slot in self.buffered):
                data = b"".join([self.buffered[slot] for slot in range(start, stop)])
                self._file.write(data, start * SLOT_SIZE)
                self._checksums.note_written(start, data)
            self.buffered.clear()

    def limit_memory(self) -> None:
        """Writes the buffered slots to the file if there are many."""
        self.write_out(if_more_than=_MAX_BUFFERED)

    # ── committing ───────────────────────────────────────────────────────────────────────────────

    def records(self, table: GranuleTable) -> Iterator[Record]:
        """The records of the granules that changed."""
        for start, stop in merged(self._pending):
            at = start
            for granule, count, entry in table.runs(start, stop):
                yield from records_of(at, granule - at, 0)
                yield from records_of(granule, count, entry)
                at = granule + count
            yield from records_of(at, stop - at, 0)

    def close_slots(self) -> None:
        """Handles a failed append whose records may be on the medium all the same.

        A crash may leave it committed, so later writes go to other slots.
        """
        for start, stop in self._fresh:
            self._allocator.commit(start, stop)
        self._fresh.clear()

    def finish(self) -> None:
        """Ends the transaction, which is durable: frees what it replaced, and begins the next
        one."""
        for start, stop in self._fresh:
            self._allocator.commit(start, stop)
        self._allocator.give_back_replaced(self._replaced)
        for watcher in self._watchers:
            for start, stop in merged(self._pending):
                watcher.add(start, stop)
        self._fresh.clear()
        del self._replaced[:]
        self._pending.clear()
        self.fresh_slots = 0
        self.snapshot_records += self._max_records
        self.snapshot_granules += self._max_granules
        self._max_records = self._max_granules = 0

    def watch(self, changed: RangeSet) -> None:
        """Adds the granules that each commit from now on changes to `changed`."""
        self._watchers.append(changed)

    def unwatch(self, changed: RangeSet) -> None:
        """Ends `watch`. Idempotent."""
        self._watchers = [watcher for watcher in self._watchers if watcher is not changed]

    def _note_fresh(self, start: int, stop: int) -> None:
        self.fresh_slots += stop - start
        if self._fresh and self._fresh[-1][1] == start:
            start = self._fresh.pop()[0]
        self._fresh.append((start, stop))


def records_of(granule: int, count: int, entry: int) -> Iterator[Record]:
    """The records of a run of granules: one, except for the very longest."""
    while count > 0:
        part = min(count, _MAX_IN_RECORD)
        yield granule << SECTORS | entry & ALL, part, entry >> SECTORS
        granule += part
        count -= part


def records_for(granules: int) -> int:
    """How many runs at most a run of so many granules counts as, for its records."""
    return 1 + granules // _MAX_IN_RECORD
