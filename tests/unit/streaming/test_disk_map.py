"""The map of a disk: cells of any size, that neither hide what is stored nor show what is not."""

from __future__ import annotations

from collections.abc import Collection

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aero_browser_disk.disk import DiskInfo
from aero_browser_disk.streaming.activity import Activity
from aero_browser_disk.streaming.disk_map import (
    FETCHED_NOW,
    IN_PROFILE,
    RECENT_S,
    DiskMap,
    cell_states,
    range_shares,
    stored_shares,
)

BLOCK = 4096


class FakeDisk:
    """A disk of which one says what is stored; the map asks for nothing else."""

    is_all_here = False

    def __init__(self, size: int, stored: Collection[int] = ()) -> None:
        self.info = DiskInfo(size, "v", BLOCK, read_only=True)
        self.time = 100.0
        self.activity = Activity(lambda: self.time, on=True)
        self.stored = stored
        self.ranges: list[tuple[int, int]] = []
        self.under_way: list[int] = []
        self.profile: list[int] = []

    def local_ranges(self) -> list[tuple[int, int]]:
        return self.ranges

    def cached_blocks(self) -> Collection[int]:
        return self.stored

    def blocks_under_way(self) -> list[int]:
        return self.under_way

    def profile_blocks(self) -> list[int]:
        return self.profile


@given(
    size=st.integers(1, 1 << 44),
    start=st.integers(0, 1 << 44),
    length=st.integers(1, 1 << 44),
    max_cells=st.integers(1, 5000),
)
def test_the_cells_cover_what_is_asked_for_and_no_more_than_fit(
    size: int, start: int, length: int, max_cells: int
) -> None:
    cells = DiskMap(FakeDisk(size)).cells(start, length, max_cells)

    assert 1 <= len(cells) <= max_cells
    assert cells.cell_size % BLOCK == 0
    assert cells.start % cells.cell_size == 0
    first = min(start, size - 1)
    assert cells.start <= first
    assert cells.start + len(cells) * cells.cell_size >= min(first + length, size)
    assert len(cells.heat) == len(cells.marks) == len(cells)


@given(stored=st.sets(st.integers(0, 999)), per_cell=st.sampled_from([1, 2, 8, 64]))
def test_a_cell_is_full_only_when_all_of_it_is_stored(stored: set[int], per_cell: int) -> None:
    count = -(-1000 // per_cell)
    shares = stored_shares(stored, first=0, per_cell=per_cell, count=count, blocks=1000)

    for cell, share in enumerate(shares):
        blocks = set(range(cell * per_cell, min((cell + 1) * per_cell, 1000)))
        assert (share == 255) == (blocks <= stored)
        assert (share == 0) == (not blocks & stored)


@given(st.lists(st.tuples(st.integers(0, 200), st.integers(1, 50)), max_size=8))
def test_ranges_give_the_same_as_their_bytes(gaps: list[tuple[int, int]]) -> None:
    ranges, at = [], 0
    for gap, length in gaps:
        ranges.append((at + gap, length))
        at += gap + length + 1
    size = at + 10
    shares = range_shares(ranges, 0, 16, -(-size // 16), size)

    inside = {byte for offset, length in ranges for byte in range(offset, offset + length)}
    for cell, share in enumerate(shares):
        cell_bytes = set(range(cell * 16, min(cell * 16 + 16, size)))
        assert (share == 255) == (cell_bytes <= inside)
        assert (share == 0) == (not cell_bytes & inside)


def test_what_is_read_is_hot_and_cools_down() -> None:
    disk = FakeDisk(10 * BLOCK)
    disk.activity.note("hit", 3 * BLOCK - 1, 2)  # touches two blocks
    disk.activity.note("request", 7 * BLOCK, BLOCK)  # asking is not reading
    shown = DiskMap(disk)

    assert [bool(heat) for heat in shown.cells(0, 10 * BLOCK, 10).heat] == [
        number in (2, 3) for number in range(10)
    ]
    hot = shown.cells(0, 10 * BLOCK, 10).heat[2]
    disk.time += RECENT_S / 2
    assert 0 < shown.cells(0, 10 * BLOCK, 10).heat[2] < hot
    disk.time += RECENT_S
    assert not any(shown.cells(0, 10 * BLOCK, 10).heat)


def test_marks_say_what_is_fetched_and_what_the_profile_names() -> None:
    disk = FakeDisk(10 * BLOCK, stored={0})
    disk.under_way = [4]
    disk.profile = [0, 4]
    cells = DiskMap(disk).cells(0, 10 * BLOCK, 10)

    assert cells.marks[4] == FETCHED_NOW | IN_PROFILE
    assert cell_states(cells, 0) == ["stored", "profile"]
    assert cell_states(cells, 4) == ["fetched", "missing", "profile"]
    assert cell_states(cells, 9) == ["missing"]


def test_what_is_written_over_the_blocks_shows_too() -> None:
    disk = FakeDisk(4 * BLOCK, stored={0})
    disk.ranges = [(2 * BLOCK, 512)]
    stored = DiskMap(disk).cells(0, 4 * BLOCK, 4).stored

    assert stored[0] == 255
    assert stored[1] == 0
    assert 0 < stored[2] < 255


@pytest.mark.parametrize("max_cells", [7, 100])
def test_one_part_of_a_disk_is_shown_from_nearer(max_cells: int) -> None:
    disk = FakeDisk(1 << 30, stored={1000})
    near = DiskMap(disk).cells(1000 * BLOCK, 64 * BLOCK, max_cells)

    assert near.start <= 1000 * BLOCK
    assert any(near.stored)
    assert near.cell_size <= 128 * BLOCK


def test_many_blocks_are_not_counted_again_at_each_look() -> None:
    counted = []

    class Counting(dict[int, int]):
        def __iter__(self):  # type: ignore[no-untyped-def]
            counted.append(1)
            return super().__iter__()

    disk = FakeDisk(1 << 34, stored=Counting.fromkeys(range(200_000)))
    shown = DiskMap(disk)
    for _ in range(5):
        shown.cells(0, 1 << 34, 1000)
    assert len(counted) < 5
    shown.cells(0, 1 << 30, 1000)  # another part is counted at once
    assert len(counted) >= 2
