"""Writing to a sector store: each change goes to slots in which nothing committed lies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from ..errors import StorageFullError
from ..platform.base import File
from .granule_table import ALL, GRANULE, SECTORS, GranuleTable
from .sector_journal import SLOT_SIZE
from .sector_reader import SECTOR, Range, SectorReader
from .slot_allocator import FRESH, SlotSpace
from .transaction import OVERWRITABLE_AT_ONCE, OpenBatch

Put = Callable[[int, int, File, int], None]
"""Writes bytes from start to stop, counted from where a run begins, to a place in a file.

All of them, or it raises a `StorageError`; what is in that place is then undefined.
"""
Taken = TypeVar("Taken")

_RUN_OF_ITS_OWN: Final = 16  # granules that are not worth to be buffered


class SectorWriter:
    """Writes granules and puts them into the table; the batch is told.

    `make_room` commits, and frees what it can, when there is no room for what is to be written.
    """

    def __init__(
        self,
        file: File,
        table: GranuleTable,
        space: SlotSpace,
        batch: OpenBatch,
        reader: SectorReader,
        make_room: Callable[[], None],
    ) -> None:
        self.used = 0
        """Slots that hold data."""
        self._file = file
        self._table = table
        self._space = space
        self._batch = batch
        self._reader = reader
        self._make_room = make_room

    def write(self, offset: int, data: memoryview) -> None:
        """Writes whole sectors. Raises `StorageFullError` and other `StorageError`s."""
        granule, start = divmod(offset, GRANULE)
        end = start + len(data)
        if end <= GRANULE:  # one granule, which is what guests mostly write
            is_new = self._table[granule] <= ALL
            self._with_room(lambda: self._batch.reserve(1, 1, is_new=is_new))
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
        self._with_room(lambda: self._batch.reserve(count, count, is_new=is_new))
        self._write_small(granule, start, data)

    def fill(self, granule: int, count: int, put: Put) -> None:
        """Writes whole granules, which `put` brings to their places in the file; raises as `write`.

        Where there is hardly room to write over what is there, `write` may succeed all the same.
        """
        is_new = not self._reader.has_slots(granule, granule + count)
        self._put_run(
            granule, put, self._with_room(lambda: self._batch.take_run(count, is_new=is_new))
        )

    def make_zeros(self, granule: int, count: int, *, hide: bool) -> None:
        """Forgets granules: they read as zeros with `hide`, else as what lies beneath."""
        self._with_room(lambda: self._batch.reserve(0, 1, is_new=False))
        self.replace(granule, count, ALL if hide else 0)

    def replace(self, granule: int, count: int, entry: int) -> None:
        """Puts a run into the table, and sees to what it replaces."""
        gone = self._table.put(granule, count, entry)
        self.used += (count if entry > ALL else 0) - len(gone)
        self._batch.note_change(granule, granule + count, gone)

    # ── inside ────────────────────────────────────────────────────────────────────────────────────

    def _write_with_run(
        self, granule: int, start: int, head: memoryview, run: memoryview, tail: memoryview
    ) -> None:
        """Writes whole granules with, before and behind them, parts of others."""
        first = granule + bool(head)
        count = len(run) // GRANULE
        is_new = not self._reader.has_slots(granule, first + count + bool(tail))

        def take() -> list[Range]:
            self._batch.reserve(2, 2, is_new=is_new)
            return self._batch.take_run(count, is_new=is_new)

        def put(begin: int, end: int, file: File, place: int) -> None:
            file.write(run[begin:end], place)

        try:
            slots = self._with_room(take)
        except StorageFullError:
            if is_new:
                raise
            self._write_over(granule, start, b"".join((head, run, tail)))
            return
        self._put_run(first, put, slots)
        self._write_small(granule, start, head)
        self._write_small(first + count, 0, tail)

    def _write_over(self, granule: int, start: int, data: bytes) -> None:
        """Writes over what there is, little by little, where there is hardly room."""
        with memoryview(data) as view:
            at = 0
            while at < len(view):
                length = OVERWRITABLE_AT_ONCE * GRANULE - start
                with view[at : at + length] as part:
                    self._with_room(
                        lambda: self._batch.reserve(
                            OVERWRITABLE_AT_ONCE, OVERWRITABLE_AT_ONCE, is_new=False
                        )
                    )
                    self._write_small(granule, start, part)
                at += length
                granule += OVERWRITABLE_AT_ONCE
                start = 0

    def _write_small(self, granule: int, start: int, data: memoryview) -> None:
        """Writes granules, or parts of them, one by one. The room for it is there."""
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
        if self._space.states[slot] == FRESH:
            self._write_again(slot, start, data)
            if entry | mask != entry:
                self._table.put_single(granule, entry | mask)
                self._batch.note_change(granule, granule + 1, ())
            return
        if length == GRANULE:
            whole = bytearray(data)
        else:
            whole = bytearray(GRANULE)
            if slot:
                self._reader.read_slot(slot, 0, whole)
            whole[start : start + length] = data
        fresh = self._batch.next_slot()
        self._batch.buffered[fresh] = whole
        self.replace(granule, 1, fresh << SECTORS | entry & ALL | mask)

    def _write_again(self, slot: int, start: int, data: memoryview) -> None:
        """Writes to a slot of which nothing was committed."""
        buffered = self._batch.buffered.get(slot)
        if buffered is None:
            # Not in the file at once: a write that is refused half way must not have begun.
            buffered = bytearray(GRANULE)
            self._reader.read_slot(slot, 0, buffered)
            self._batch.buffered[slot] = buffered
        buffered[start : start + len(data)] = data

    def _put_run(self, granule: int, put: Put, slots: list[Range]) -> None:
        """Has whole granules put straight into the file, to slots that were taken for them."""
        at = 0
        try:
            for start, stop in slots:
                length = (stop - start) * GRANULE
                put(at, at + length, self._file, start * SLOT_SIZE)
                at += length
        except BaseException:
            self._batch.give_back(slots)
            raise
        self._batch.note_written(slots)
        for start, stop in slots:
            self.replace(granule, stop - start, start << SECTORS | ALL)
            granule += stop - start

    def _with_room(self, take: Callable[[], Taken]) -> Taken:
        """What `take` takes, for which others' room may have to be freed first."""
        try:
            return take()
        except StorageFullError:
            free = self._space.free
            self._make_room()
            if self._space.free <= free:
                raise
            return take()
