"""Reads a sector store: from the file, or from slots that are still buffered."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from itertools import groupby
from typing import Final

from ..errors import DamagedDiskError
from ..platform.base import File, WritableBuffer
from .granule_table import ALL, GRANULE, SECTORS, GranuleTable, entry_at
from .sector_journal import SLOT_SIZE
from .slot_checksums import SlotChecksums

SECTOR: Final = GRANULE // SECTORS
_CHECKED_AT_ONCE: Final = 256  # granules
Range = tuple[int, int]
"""Offset and length in bytes."""


class SectorReader:
    """Reads the granules in a table. `buffered` has the slots that are not in the file yet.

    Data is compared with its checksum when it is read for the first time.
    """

    def __init__(
        self,
        path: str,
        file: File,
        table: GranuleTable,
        buffered: Mapping[int, bytearray],
        checksums: SlotChecksums,
        name: str | None = None,
    ) -> None:
        self._checksums = checksums
        self._path = path
        self._name = name
        self._file = file
        self._table = table
        self._buffered = buffered

    def read_into(self, offset: int, target: WritableBuffer) -> list[Range]:
        """Fills `target` from `offset` with written sectors; returns the ranges that were never
        written.

        Raises `DamagedDiskError` and other `StorageError`s.
        """
        granule, start = divmod(offset, GRANULE)
        length = len(target)
        if start + length <= GRANULE:  # one granule, the most common read of guests
            entry = self._table[granule]
            if not entry:
                return [(offset, length)] if length else []
            if entry & ALL == ALL:
                self.read_slot(granule, entry >> SECTORS, start, target)
                return []
        missing: list[Range] = []
        end = offset + length
        at = offset
        with memoryview(target) as view:
            for first, count, entry in self._table.runs(granule, -(-end // GRANULE)):
                start = max(first * GRANULE, offset)
                stop = min((first + count) * GRANULE, end)
                _add(missing, at, start)
                if entry & ALL == ALL:
                    skipped = start - first * GRANULE
                    self._read_run(first, entry, skipped, view[start - offset : stop - offset])
                else:
                    self._read_sectors(first, count, entry, offset, view, missing)
                at = stop
        _add(missing, at, end)
        return missing

    def locate(self, offset: int, length: int) -> tuple[File, int] | None:
        """The file and the offset in it of a run of bytes, valid until the next call.

        None when they are scattered, buffered or take no space. Raises `DamagedDiskError`.
        """
        granule, start = divmod(offset, GRANULE)
        count = -(-(start + length) // GRANULE)
        first, found, entry = next(self._table.runs(granule, granule + count), (granule, 0, 0))
        slot = entry >> SECTORS
        if first != granule or found < count or entry & ALL != ALL or not slot:
            return None
        if not self._buffered.keys().isdisjoint(range(slot, slot + count)):
            return None
        self.check(granule, slot, count)
        return self._file, slot * SLOT_SIZE + start

    def read_slot(self, granule: int, slot: int, start: int, target: WritableBuffer) -> None:
        """Fills `target` from byte `start` of a granule's slot on.

        Raises `DamagedDiskError` and other `StorageError`s.
        """
        buffered = self._buffered.get(slot)
        if buffered is not None:
            target[:] = buffered[start : start + len(target)]
        elif not slot:
            target[:] = bytes(len(target))
        else:
            if not self._checksums.are_seen(slot, 1):
                self.check(granule, slot, 1)
            if self._file.read_into(target, slot * SLOT_SIZE + start) != len(target):
                raise self._damage(granule)

    def check(self, granule: int, slot: int, count: int) -> None:
        """Compares granules in adjacent slots with their checksums, unless they were already.

        Raises `DamagedDiskError` and other `StorageError`s.
        """
        if not slot or self._checksums.are_seen(slot, count):
            return
        for index in range(0, count, _CHECKED_AT_ONCE):
            step = min(_CHECKED_AT_ONCE, count - index)
            if self._checksums.are_seen(slot + index, step):
                continue
            data = bytearray(step * GRANULE)
            self._file.read_into(data, (slot + index) * SLOT_SIZE)
            with memoryview(data) as view:
                damaged = self._checksums.check(slot + index, view)
            if damaged is not None:
                raise self._damage(granule + damaged - slot)

    # ── what there is ─────────────────────────────────────────────────────────────────────────────

    def has_sector(self, sector: int) -> bool:
        """Whether the sector at that offset was written."""
        return bool(self._table[sector // GRANULE] >> sector % GRANULE // SECTOR & 1)

    def has_slots(self, start: int, stop: int) -> bool:
        """Whether each of the granules from `start` to `stop` takes space already."""
        return self.slots_in(start, stop) == stop - start

    def slots_in(self, start: int, stop: int) -> int:
        """How many of the granules from `start` to `stop` take space already."""
        return sum(count for _, count, entry in self._table.runs(start, stop) if entry > ALL)

    def is_untouched(self, offset: int, length: int) -> bool:
        """Whether nothing was written of the granules that a range lies in."""
        runs = self._table.runs(offset // GRANULE, -(-(offset + length) // GRANULE))
        return next(runs, None) is None

    def ranges(self, start: int, stop: int) -> Iterator[tuple[int, int, bool]]:
        """What was written from byte `start` to `stop`: offset, length, and whether it is zeros.

        Zeros are those that take no space; others count as data. In order, as long as possible.
        """
        at = end = 0
        zeros = False
        for offset, length, is_zeros in self._parts_of(start // GRANULE, -(-stop // GRANULE)):
            first, last = max(offset, start), min(offset + length, stop)
            if first >= last:
                continue
            if first == end and is_zeros == zeros and end > at:
                end = last
            else:
                if end > at:
                    yield at, end - at, zeros
                at, end, zeros = first, last, is_zeros
        if end > at:
            yield at, end - at, zeros

    # ── inside ────────────────────────────────────────────────────────────────────────────────────

    def _read_run(self, granule: int, entry: int, start: int, target: memoryview) -> None:
        """Reads adjacent slots, from byte `start` of the first granule."""
        slot = entry >> SECTORS
        skipped, start = divmod(start, GRANULE)
        granule += skipped
        if slot:
            slot += skipped
        if not slot or start + len(target) <= SLOT_SIZE:
            self.read_slot(granule, slot, start, target)
            return
        self.check(granule, slot, -(-(start + len(target)) // GRANULE))
        if self._file.read_into(target, slot * SLOT_SIZE + start) != len(target):
            raise self._damage(granule)
        for buffered, data in self._buffered.items():
            at = (buffered - slot) * SLOT_SIZE - start
            if -SLOT_SIZE < at < len(target):
                part = target[max(0, at) : at + SLOT_SIZE]
                skipped = max(0, -at)
                part[:] = data[skipped : skipped + len(part)]

    def _read_sectors(
        self,
        first: int,
        count: int,
        entry: int,
        offset: int,
        view: memoryview,
        missing: list[Range],
    ) -> None:
        """Reads granules of which not all sectors were written, as far as `view` takes them."""
        end = offset + len(view)
        for index in range(count):
            base = (first + index) * GRANULE
            slot = entry_at(entry, index) >> SECTORS
            for start, stop, is_written in sector_runs(entry & ALL):
                low, high = max(base + start, offset), min(base + stop, end)
                if low >= high:
                    continue
                if is_written:
                    self.read_slot(
                        first + index, slot, low - base, view[low - offset : high - offset]
                    )
                else:
                    _add(missing, low, high)

    def _parts_of(self, start: int, stop: int) -> Iterator[tuple[int, int, bool]]:
        for first, count, entry in self._table.runs(start, stop):
            if entry & ALL == ALL:
                yield first * GRANULE, count * GRANULE, entry == ALL
                continue
            for granule in range(first, first + count):
                for low, high, is_written in sector_runs(entry & ALL):
                    if is_written:
                        yield granule * GRANULE + low, high - low, entry <= ALL

    def _damage(self, granule: int) -> DamagedDiskError:
        return DamagedDiskError(
            self._path,
            "what is stored there is not what was written",
            offset=granule * GRANULE,
            length=GRANULE,
            image=self._name,
        )


def _add(ranges: list[Range], start: int, stop: int) -> None:
    """Appends the range from `start` to `stop`, joined with the one before if they touch."""
    if start >= stop:
        return
    if ranges and sum(ranges[-1]) == start:
        start = ranges.pop()[0]
    ranges.append((start, stop - start))


@cache
def sector_runs(mask: int) -> tuple[tuple[int, int, bool], ...]:
    """The parts of a granule, from start to stop in bytes, that are in a mask and that are not."""
    bits = [mask >> index & 1 for index in range(SECTORS)]
    parts = []
    at = 0
    for is_written, group in groupby(bits):
        stop = at + len(list(group)) * SECTOR
        parts.append((at, stop, bool(is_written)))
        at = stop
    return tuple(parts)
