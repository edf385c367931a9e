"""The map of a disk as a row of cells: what is stored locally, and what is read or fetched.

A cell is a power of two of blocks, so its edges are edges of blocks at every zoom level.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

from ..disk import DiskInfo
from .activity import Activity

FETCHED_NOW, IN_PROFILE = 1, 2
"""Marks of a cell: a request for some of it is under way; the boot profile names some of it."""
RECENT_S = 6.0
MAX_CELLS = 1 << 15
_MAX_HOT = 2000  # events that one drawing of the map looks at
_REST = 30  # the pause between two counts of stored blocks, in multiples of the time of a count

LocalRange = tuple[int, int]  # offset and length in bytes


class MappedDisk(Protocol):
    """A disk whose map can be drawn."""

    @property
    def info(self) -> DiskInfo:
        """Size and block size."""

    @property
    def activity(self) -> Activity:
        """Its recorded activity."""

    @property
    def is_all_here(self) -> bool:
        """Whether it needs no network, so that everything unwritten is zeros."""

    def local_ranges(self) -> Iterable[LocalRange]:
        """The ranges that are stored locally in other ways than blocks."""

    def cached_blocks(self) -> Collection[int]:
        """The blocks that are cached, in no order."""

    def blocks_under_way(self) -> Iterable[int]:
        """The blocks that are being fetched."""

    def profile_blocks(self) -> Iterable[int]:
        """The blocks in the boot profile."""


@dataclass(frozen=True, slots=True)
class Cells:
    """A part of a disk in cells of `cell_size` bytes, the first at `start`; one byte for each.

    `stored` is the share that is cached, or written to a local disk (255: all of it, 0: nothing),
    `heat` how recently some of it was read or written (255: just now, 0: not within
    `RECENT_S`), `marks` its `FETCHED_NOW` and `IN_PROFILE` bits.
    """

    start: int
    cell_size: int
    stored: bytes
    heat: bytes
    marks: bytes

    def __len__(self) -> int:
        return len(self.stored)


class DiskMap:
    """The map of one disk. Counting many blocks takes a while, so it is only done now and then."""

    def __init__(self, disk: MappedDisk) -> None:
        self.disk = disk
        self._view = (0, 0, 0)
        self._shares = b""
        self._count_after = 0.0
        self._profile_view = (0, 0, 0)
        self._in_profile: set[int] = set()

    def cells(self, start: int, length: int, max_cells: int) -> Cells:
        """At most `max_cells` cells that show the `length` bytes at `start`, in bytes.

        The range is clipped to the disk; there is always at least one cell.
        """
        size, block_size = self.disk.info.size, self.disk.info.block_size
        start = min(max(start, 0), size - 1)
        length = min(max(length, 1), size - start)
        cell_size = _cell_size(start, length, min(max(max_cells, 1), MAX_CELLS), block_size)
        stop = min(-(-(start + length) // cell_size) * cell_size, size)
        start -= start % cell_size
        count = -(-(stop - start) // cell_size)
        return Cells(
            start,
            cell_size,
            self._stored(start, cell_size, count),
            _heat(self.disk.activity, start, cell_size, count),
            self._marks(start, cell_size, count),
        )

    def _stored(self, start: int, cell_size: int, count: int) -> bytes:
        began = time.monotonic()
        view = (start, cell_size, count)
        if view == self._view and began < self._count_after:
            return self._shares
        info = self.disk.info
        in_blocks = stored_shares(
            self.disk.cached_blocks(),
            first=start // info.block_size,
            per_cell=cell_size // info.block_size,
            count=count,
            blocks=-(-info.size // info.block_size),
        )
        written = range_shares(self.disk.local_ranges(), start, cell_size, count, info.size)
        self._shares = bytes(map(max, in_blocks, written))
        ended = time.monotonic()
        self._view, self._count_after = view, ended + _REST * (ended - began)
        return self._shares

    def _marks(self, start: int, cell_size: int, count: int) -> bytes:
        block_size = self.disk.info.block_size
        first, per_cell = start // block_size, cell_size // block_size

        def cells_of(blocks: Iterable[int]) -> set[int]:
            return {(block - first) // per_cell for block in blocks} & set(range(count))

        view = (start, cell_size, count)
        if view != self._profile_view:
            self._profile_view = view
            self._in_profile = cells_of(self.disk.profile_blocks())
        marks = bytearray(count)
        for cell in self._in_profile:
            marks[cell] = IN_PROFILE
        for cell in cells_of(self.disk.blocks_under_way()):
            marks[cell] |= FETCHED_NOW
        return bytes(marks)


def stored_shares(
    stored: Iterable[int], *, first: int, per_cell: int, count: int, blocks: int
) -> bytes:
    """For each of `count` cells of `per_cell` blocks from block `first` on, the share in `stored`.

    `blocks` is the number of blocks in the image, whose last cell may end early. A cell that holds
    something is never 0, and one that lacks something never 255.
    """
    in_cells = Counter([(block - first) // per_cell for block in stored])
    shares = bytearray(count)
    for cell, number in in_cells.items():
        if 0 <= cell < count:
            whole = min(per_cell, blocks - first - cell * per_cell)
            shares[cell] = max(1, number * 255 // whole)
    return bytes(shares)


def range_shares(
    ranges: Iterable[LocalRange], start: int, cell_size: int, count: int, size: int
) -> bytes:
    """As `stored_shares`, for ranges of bytes of a disk of `size` bytes."""
    stored = [0] * count
    for offset, length in ranges:
        first = max((offset - start) // cell_size, 0)
        last = min((offset + length - 1 - start) // cell_size, count - 1)
        for cell in range(first, last + 1):
            begin = start + cell * cell_size
            stored[cell] += min(begin + cell_size, offset + length) - max(begin, offset)
    shares = bytearray(count)
    for cell, number in enumerate(stored):
        if number:
            whole = min(cell_size, size - start - cell * cell_size)
            shares[cell] = max(1, number * 255 // whole)
    return bytes(shares)


def _cell_size(start: int, length: int, max_cells: int, block_size: int) -> int:
    """The smallest power of two of blocks at which `max_cells` cells cover the whole part."""
    cell_size = block_size
    while -(-(start % cell_size + length) // cell_size) > max_cells:
        cell_size *= 2
    return cell_size


def _heat(activity: Activity, start: int, cell_size: int, count: int) -> bytes:
    heat = bytearray(count)
    now = activity.now()
    for event in islice(activity.latest(RECENT_S), _MAX_HOT):
        if event.kind in {"request", "arrival"} or not event.length:
            continue
        first = max((event.offset - start) // cell_size, 0)
        last = min((event.offset + event.length - 1 - start) // cell_size, count - 1)
        warmth = max(1, round(255 * (1 - max(0.0, now - event.at) / RECENT_S)))
        for cell in range(first, last + 1):
            heat[cell] = max(heat[cell], warmth)
    return bytes(heat)


def cell_states(cells: Cells, index: int) -> Sequence[str]:
    """The states of one cell, by the names that texts are looked up by."""
    states = []
    if cells.marks[index] & FETCHED_NOW:
        states.append("fetched")
    if cells.heat[index]:
        states.append("read")
    states.append({0: "missing", 255: "stored"}.get(cells.stored[index], "partly"))
    if cells.marks[index] & IN_PROFILE:
        states.append("profile")
    return states
