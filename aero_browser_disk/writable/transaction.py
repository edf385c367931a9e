"""The changes since the last commit, and the space that a commit of them takes.

A transaction begins with the first write after a commit and ends with the next commit. Space is
reserved before anything is written: slots for the data, for the records that the commit adds to the
log, and for a snapshot of all records. So a commit never fails for want of space. What overwrites
existing data may use slots that new data may not: a full disk can still be used.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from typing import Final

from ..platform.base import File
from .commit_log import CommitLog, merged
from .granule_table import ALL, SECTORS, GranuleTable
from .sector_journal import SLOT_SIZE, UNITS_IN_SLOT, Record, slots_for, units_for
from .slot_allocator import FREE, FRESH, USED, SlotAllocator
from .slot_checksums import SlotChecksums

OVERWRITABLE_AT_ONCE: Final = 32
"""Granules that can be written over in one go, however full it is."""

RESERVED_WRITE: Final = 1 << 20
"""Bytes of a write at most whose space `provide` makes sure of."""

_PROVIDED_AT_ONCE: Final = 2048  # slots
_FOR_OVERWRITING: Final = 96  # slots: for those, for journal slots until it is rewritten, and spare
_MAX_BUFFERED: Final = 256  # granules in memory that are not in the file yet
_POOL: Final = 64  # slots taken at once for small writes
_JOURNAL_SPACE: Final = 8 * UNITS_IN_SLOT
_MAX_FRESH: Final = 8192  # granules
_MAX_PENDING: Final = 8192  # runs_changed
_MAX_REPLACED: Final = 1 << 16  # slots
_MAX_IN_RECORD: Final = 1 << 31  # granules

Range = tuple[int, int]
"""From the first to behind the last."""


class Transaction:
    """One transaction after the other. Small writes are buffered until there are many of them."""

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
        self._pending: list[Range] = []  # granules
        self._max_records = 0
        self._max_granules = 0  # with data
        self._fresh: list[Range] = []  # slots
        self._replaced = array("I")  # slots that the commit frees
        self._pool: list[int] = []  # slots for small writes to come, the first last

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
        """Takes slots for so many granules, to be had of `next_slot`, and for the records.

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
        """Sees to so many slots to be had of `next_slot`. Raises `StorageFullError`."""
        pool = self._pool
        while len(pool) < granules:
            slot, count = self._allocator.take(_POOL, USED)
            pool[:0] = range(slot + count - 1, slot - 1, -1)

    def reserve_overwriting(self, granules: int) -> None:
        """Sees to all that it takes to write over so many granules that have slots.

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
        """Sees to free slots for writes of so many granules, `new` of which have none.

        The writes are of `RESERVED_WRITE` bytes at most, and lie in so many runs. Little by little:
        iterate to the end. Raises `StorageFullError`.
        """
        at_once = RESERVED_WRITE // SLOT_SIZE
        writes = granules // at_once + 2 * runs
        # As if each granule came to lie alone, and each write were committed.
        units = self._units(2 * granules + 4 * writes, granules)
        self.keep_for_snapshot(units + _JOURNAL_SPACE)
        of_last = at_once + OVERWRITABLE_AT_ONCE
        journal = writes + slots_for(units) + slots_for(units_for(2 * of_last, of_last))
        wanted = self._allocator.reserve + _FOR_OVERWRITING + _POOL + journal + new + at_once
        while self._allocator.free < wanted:
            self._allocator.provide(min(wanted, self._allocator.free + _PROVIDED_AT_ONCE))
            yield

    def take_run(self, wanted: int, *, is_new: bool) -> list[Range]:
        """Slots for a run of granules, in as few runs as can be, and for their records.

        Raises `StorageFullError`; then none is taken. They are the caller's to `give_back`.
        """
        spare = _FOR_OVERWRITING if is_new else 0
        runs: list[Range] = []
        try:
            self._allocator.provide(self._allocator.reserve + spare + wanted)
            while wanted:
                slot, count = self._allocator.take(wanted, USED)
                runs.append((slot, slot + count))
                wanted -= count
            # What is reserved for small granules counts twice, which does no harm.
            granules = sum(stop - start for start, stop in runs) + OVERWRITABLE_AT_ONCE
            self._take_for_records(len(runs) + OVERWRITABLE_AT_ONCE, granules, spare)
        except BaseException:
            self.give_back(runs)
            raise
        return runs

    def take_unallocated_run(self, wanted: int, *, is_new: bool) -> list[Range] | None:
        """As `take_run`, but writing them will tell whether there is storage for them.

        So it is not written to twice. None where free slots are worth to be used first.
        Otherwise they are the caller's to `give_back_unallocated`.
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

    def give_back_unallocated(self, runs: Iterable[Range]) -> None:
        """Takes slots back that could not be written."""
        self._allocator.give_back_unallocated(runs)

    def give_back(self, runs: Iterable[Range]) -> None:
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
        """At most so many units has the commit, with so much more."""
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

    def note_written(self, runs: Iterable[Range]) -> None:
        """Says that slots of `take_run` were written to."""
        for start, stop in runs:
            self._allocator.mark(start, stop - start, FRESH)
            self._note_fresh(start, stop)

    def note_change(self, start: int, stop: int, gone: Iterable[int], *, data: int = 0) -> None:
        """Says that granules from `start` to `stop` are one run now, and lie in `gone` no more.

        `data` is how many of them have data.
        """
        self._pending.append((start, stop))
        self._max_records += 2 + (stop - start) // _MAX_IN_RECORD
        self._max_granules += data
        # Those of this transaction stay taken too until it is committed: they may be buffered.
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
        """Writes what is buffered to the file when it is much."""
        self.write_out(if_more_than=_MAX_BUFFERED)

    # ── committing ───────────────────────────────────────────────────────────────────────────────

    def records(self, table: GranuleTable) -> Iterator[Record]:
        """What the granules that changed hold now."""
        for start, stop in merged(self._pending):
            at = start
            for granule, count, entry in table.runs(start, stop):
                yield from records_of(at, granule - at, 0)
                yield from records_of(granule, count, entry)
                at = granule + count
            yield from records_of(at, stop - at, 0)

    def close_slots(self) -> None:
        """Says that its records may be on the medium, though they could not be added.

        So a crash may leave it committed: what is written from now on goes to other slots.
        """
        for start, stop in self._fresh:
            self._allocator.commit(start, stop)
        self._fresh.clear()

    def finish(self) -> None:
        """Says that all of it is durable. What it replaced is free, and the next one begins."""
        for start, stop in self._fresh:
            self._allocator.commit(start, stop)
        self._allocator.give_back(self._replaced)
        self._fresh.clear()
        del self._replaced[:]
        self._pending.clear()
        self.fresh_slots = 0
        self.snapshot_records += self._max_records
        self.snapshot_granules += self._max_granules
        self._max_records = self._max_granules = 0

    def _note_fresh(self, start: int, stop: int) -> None:
        self.fresh_slots += stop - start
        if self._fresh and self._fresh[-1][1] == start:
            start = self._fresh.pop()[0]
        self._fresh.append((start, stop))


def records_of(granule: int, count: int, entry: int) -> Iterator[Record]:
    """The records that say what a run of granules holds: one, but for the very longest."""
    while count > 0:
        part = min(count, _MAX_IN_RECORD)
        yield granule << SECTORS | entry & ALL, part, entry >> SECTORS
        granule += part
        count -= part


def records_for(granules: int) -> int:
    """How many runs at most a run of so many granules counts as, for its records."""
    return 1 + granules // _MAX_IN_RECORD
