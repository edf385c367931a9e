"""Writes to a sector store: each change goes to slots without committed data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from ..errors import StorageError, StorageFullError
from ..platform.base import File
from .granule_table import ALL, GRANULE, SECTORS, GranuleTable
from .sector_journal import SLOT_SIZE
from .sector_reader import SECTOR, SectorReader
from .slot_allocator import FRESH, SlotAllocator
from .slot_checksums import SlotChecksums
from .transaction import OVERWRITABLE_AT_ONCE, Run, Transaction, records_for

Put = Callable[[int, int, File, int], None]
"""Writes bytes from start to stop, counted from where a run begins, to an offset in a file.

Raises `StorageError` unless all were written; the range is then undefined.
"""
Taken = TypeVar("Taken")

_READ_AT_ONCE: Final = 256  # granules
_RUN_OF_ITS_OWN: Final = 16  # granules that are too many to be buffered


@dataclass(frozen=True, slots=True)
class Edge:
    """A part of a granule that becomes zeros: its first byte, and the sectors around it."""

    granule: int
    start: int
    mask: int
    data: bytearray | None
    """The bytes to write; None if the granule takes no space and nothing need be written."""


class SectorWriter:
    """Writes granules, puts them into the table, and notes the changes in the transaction.

    Everything that a change needs is reserved before its first byte is written, or it is refused as
    a whole. `make_space` commits and frees what it can when there is no space; `commit` only
    commits.
    """

    def __init__(
        self,
        file: File,
        table: GranuleTable,
        allocator: SlotAllocator,
        transaction: Transaction,
        reader: SectorReader,
        checksums: SlotChecksums,
        make_space: Callable[[], None],
        commit: Callable[[], None],
    ) -> None:
        self.used = 0
        """Slots that hold data."""
        self._file = file
        self._table = table
        self._allocator = allocator
        self._transaction = transaction
        self._reader = reader
        self._checksums = checksums
        self._make_space = make_space
        self._commit = commit

    def write(self, offset: int, data: memoryview) -> None:
        """Writes whole sectors. Raises `StorageFullError` and other `StorageError`s."""
        granule, start = divmod(offset, GRANULE)
        end = start + len(data)
        if end <= GRANULE:  # one granule, the most common write of guests
            is_new = self._table[granule] <= ALL
            self._with_space(lambda: self._transaction.reserve(1, 1, is_new=is_new))
            self._write_granule(granule, start, data)
            return
        first, last = granule + (start > 0), end // GRANULE + granule
        if last - first >= _RUN_OF_ITS_OWN:
            head = first * GRANULE - offset
            stop = last * GRANULE - offset
            self._write_with_run(granule, start, data[:head], data[head:stop], data[stop:])
            return
        is_new = not self._reader.has_slots(granule, -(-(offset + len(data)) // GRANULE))
        count = last - first + 2
        self._with_space(lambda: self._transaction.reserve(count, count, is_new=is_new))
        self._write_small(granule, start, data)

    def fill(self, granule: int, count: int, put: Put) -> None:
        """Writes whole granules, which `put` writes at their offsets in the file.

        Raises as `write`, which may still succeed with little space, by overwriting step by step.
        """
        is_new = not self._reader.has_slots(granule, granule + count)

        def put_and_read(begin: int, end: int, file: File, file_offset: int) -> None:
            put(begin, end, file, file_offset)
            self._note_checksums(file_offset // SLOT_SIZE, (end - begin) // GRANULE)

        self._put_run(granule, count, put_and_read, is_new=is_new, edges=0)

    def discard(self, first: int, last: int, edges: Sequence[Edge], *, hide: bool) -> None:
        """Discards granules from `first` to `last`, and the `edges` before and after them.

        They read as zeros with `hide`, else as never written. Raises as `write`.
        """
        with_data = [edge for edge in edges if edge.data is not None]
        is_new = any(self._table[edge.granule] <= ALL for edge in with_data)
        runs = len(edges) + records_for(last - first)
        self._with_space(lambda: self._transaction.reserve(len(with_data), runs, is_new=is_new))
        for edge in edges:
            entry = self._table[edge.granule]
            if edge.data is not None:
                self._write_granule(edge.granule, edge.start, memoryview(edge.data))
            elif hide and entry | edge.mask != entry:
                self._table.put_single(edge.granule, entry | edge.mask)
                self._transaction.note_change(edge.granule, edge.granule + 1, ())
        if first < last:
            self.replace(first, last - first, ALL if hide else 0)

    def cut(self, offset: int, size: int) -> None:
        """Drops the sectors from `offset` on of a disk of `size` bytes, in reserved space."""
        granule, start = divmod(offset, GRANULE)
        if start:
            entry = self._table[granule]
            left = entry & ~(ALL << start // SECTOR & ALL)
            self._table.put_single(granule, left if left & ALL else 0)
            if entry > ALL and not left & ALL:
                self._transaction.note_change(granule, granule + 1, [entry >> SECTORS])
                self.used -= 1
            granule += 1
        self.replace(granule, -(-size // GRANULE) - granule, 0)

    def reserve_small(self) -> None:
        """Reserves space for overwriting a part of a granule. Raises `StorageFullError`."""
        self._with_space(lambda: self._transaction.reserve(1, 2, is_new=False))

    def replace(self, granule: int, count: int, entry: int) -> None:
        """Puts a run into the table, and notes the slots that it replaces."""
        gone = self._table.put(granule, count, entry)
        data = count if entry > ALL else 0
        self.used += data - len(gone)
        self._transaction.note_change(granule, granule + count, gone, data=data)

    # ── inside ────────────────────────────────────────────────────────────────────────────────────

    def _write_with_run(
        self, granule: int, start: int, head: memoryview, run: memoryview, tail: memoryview
    ) -> None:
        """Writes whole granules, with parts of others before and after them."""
        first = granule + bool(head)
        count = len(run) // GRANULE
        is_new = not self._reader.has_slots(granule, first + count + bool(tail))

        def put(begin: int, end: int, file: File, file_offset: int) -> None:
            file.write(run[begin:end], file_offset)
            self._checksums.note_written(file_offset // SLOT_SIZE, run[begin:end])

        try:
            self._put_run(first, count, put, is_new=is_new, edges=2)
        except StorageFullError:
            if is_new:
                raise
            self._write_over(granule, start, b"".join((head, run, tail)))
            return
        self._write_small(granule, start, head)
        self._write_small(first + count, 0, tail)

    def _write_over(self, granule: int, start: int, data: bytes) -> None:
        """Overwrites existing data step by step when space is scarce.

        It is checked before that all of it fits.
        """
        granules = -(-(start + len(data)) // GRANULE)
        self._with_space(lambda: self._transaction.reserve_overwriting(granules))
        at = 0
        with memoryview(data) as view:
            while at < len(view):
                length = OVERWRITABLE_AT_ONCE * GRANULE - start
                with view[at : at + length] as part:
                    if at:
                        self._commit_reserved()
                    self._transaction.fill_pool(-(-(start + len(part)) // GRANULE))
                    self._write_small(granule, start, part)
                at += length
                granule += OVERWRITABLE_AT_ONCE
                start = 0

    def _commit_reserved(self) -> None:
        """Commits in the middle of a write, whose space is reserved."""
        try:
            self._commit()
        except StorageFullError as error:
            reason = "the storage refused what it had reserved"
            raise StorageError(error.path, reason) from error

    def _write_small(self, granule: int, start: int, data: memoryview) -> None:
        """Writes granules or parts of them one by one, in reserved space."""
        at = 0
        while at < len(data):
            length = min(GRANULE - start, len(data) - at)
            self._write_granule(granule, start, data[at : at + length])
            at += length
            granule += 1
            start = 0

    def _write_granule(self, granule: int, start: int, data: memoryview) -> None:
        length = len(data)
        entry = self._table[granule]
        slot = entry >> SECTORS
        mask = ((1 << length // SECTOR) - 1) << start // SECTOR
        if self._allocator.states[slot] == FRESH:
            self._write_again(granule, slot, start, data)
            if entry | mask != entry:
                self._table.put_single(granule, entry | mask)
                self._transaction.note_change(granule, granule + 1, (), data=1)
            return
        if length == GRANULE:
            whole = bytearray(data)
        else:
            whole = bytearray(GRANULE)
            if slot:
                self._reader.read_slot(granule, slot, 0, whole)
            whole[start : start + length] = data
        fresh = self._transaction.next_slot()
        self._transaction.buffered[fresh] = whole
        self._checksums.expect(fresh)
        self.replace(granule, 1, fresh << SECTORS | entry & ALL | mask)

    def _write_again(self, granule: int, slot: int, start: int, data: memoryview) -> None:
        """Writes to a slot without committed data."""
        buffered = self._transaction.buffered.get(slot)
        if buffered is None:
            # Not in the file at once: a write that is refused half way must not have begun.
            buffered = bytearray(GRANULE)
            self._reader.read_slot(granule, slot, 0, buffered)
            self._transaction.buffered[slot] = buffered
        buffered[start : start + len(data)] = data

    def _put_run(self, granule: int, count: int, put: Put, *, is_new: bool, edges: int) -> None:
        """Lets `put` write whole granules straight to the file, and reserves space for `edges`
        more."""
        transaction = self._transaction

        def take() -> list[Run]:
            transaction.reserve(edges, edges, is_new=is_new)
            return transaction.take_run(count, is_new=is_new)

        try:
            transaction.reserve(edges, edges, is_new=is_new)
            slots = transaction.take_unallocated_run(count, is_new=is_new)
            if slots is not None:
                self._put(put, slots, transaction.give_back_unallocated)
        except StorageFullError:
            slots = None
        if slots is None:
            slots = self._with_space(take)
            self._put(put, slots, transaction.give_back)
        transaction.note_written(slots)
        for start, stop in slots:
            self.replace(granule, stop - start, start << SECTORS | ALL)
            granule += stop - start

    def _put(self, put: Put, slots: list[Run], give_back: Callable[[list[Run]], None]) -> None:
        at = 0
        try:
            for start, stop in slots:
                length = (stop - start) * GRANULE
                put(at, at + length, self._file, start * SLOT_SIZE)
                at += length
        except BaseException:
            give_back(slots)
            raise

    def _note_checksums(self, slot: int, count: int) -> None:
        """Computes the checksums of what was put into slots, which may not have passed through
        Python."""
        for index in range(0, count, _READ_AT_ONCE):
            data = bytearray(min(_READ_AT_ONCE, count - index) * GRANULE)
            self._file.read_into(data, (slot + index) * SLOT_SIZE)
            self._checksums.note_written(slot + index, data)

    def _with_space(self, take: Callable[[], Taken]) -> Taken:
        """The result of `take`, tried again after freeing space if there is too little."""
        try:
            return take()
        except StorageFullError:
            free = self._allocator.free
            self._make_space()
            if self._allocator.free <= free:
                raise
            return take()
