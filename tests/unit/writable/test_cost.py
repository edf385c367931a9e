"""What a change of a written disk costs follows what was written there, not the disk's size."""

from __future__ import annotations

import sys
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from types import FrameType
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from aero_browser_disk.testing.failing_files import FailingStorage
from aero_browser_disk.writable.granule_table import ALL, SECTORS, GranuleTable
from aero_browser_disk.writable.local_image import LocalImage
from aero_browser_disk.writable.overlay import Overlay
from aero_browser_disk.writable.range_set import RangeSet

KIB, MIB, GIB, TIB = 1 << 10, 1 << 20, 1 << 30, 1 << 40
MOST_LINES = 30_000  # of Python, for a change: what the disk's size is in a loop are millions


@contextmanager
def bounded(*, memory: int = 8 * MIB) -> Iterator[None]:
    """Fails as soon as more lines ran than a bounded change takes, or when more memory is left."""
    lines = 0

    def count(frame: FrameType, event: str, arg: Any) -> Any:
        nonlocal lines
        lines += event == "line"
        assert lines < MOST_LINES, f"still busy in {frame.f_code.co_name}"
        return count

    before = sys.gettrace()
    tracemalloc.start()
    sys.settrace(count)
    try:
        yield
    finally:
        sys.settrace(before)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < memory, f"{peak:,} bytes"


async def huge_image(storage: FailingStorage, folder: str = "image") -> LocalImage:
    image = await LocalImage.create(storage, folder, 20 * TIB)
    await image.write(13 * TIB + 100, b"x" * 700)
    await image.flush()
    return image


async def huge_overlay(storage: FailingStorage) -> Overlay:
    return await Overlay.open(await huge_image(storage), storage, "overlay")


async def test_an_image_of_20_tib_is_resized_at_no_cost() -> None:
    storage = FailingStorage()
    image = await huge_image(storage)
    with bounded():
        await image.resize(10 * TIB, cut=True)
    with bounded():
        await image.resize(20 * TIB + 512)
    assert await image.read(13 * TIB, 1000) == bytes(1000)
    await image.close()
    image = await LocalImage.open(storage, "image")
    assert image.info.size == 20 * TIB + 512
    assert list(image.data_ranges()) == []


async def test_an_overlay_of_20_tib_is_reset_at_no_cost() -> None:
    overlay = await huge_overlay(FailingStorage())
    await overlay.write(5 * TIB, b"mine")
    await overlay.discard(12 * TIB, 2 * TIB)
    await overlay.flush()
    with bounded():
        await overlay.reset()
    assert await overlay.read(13 * TIB + 100, 700) == b"x" * 700
    assert list(overlay.written_ranges()) == []


async def test_a_discard_of_1_tib_costs_as_much_as_a_small_one() -> None:
    storage = FailingStorage()
    overlay = await huge_overlay(storage)
    before = storage.used
    with bounded():
        await overlay.discard(12 * TIB + 7000, TIB + TIB // 2)
        await overlay.flush()
    with bounded():
        assert await overlay.read(13 * TIB, 5000) == bytes(5000)
    await overlay.write(13 * TIB + 8192, b"back")
    await overlay.close()
    assert storage.used - before < MIB

    with bounded():
        base = await LocalImage.open(storage, "image")
        overlay = await Overlay.open(base, storage, "overlay")
    assert await overlay.read(13 * TIB, 16384) == bytes(8192) + b"back" + bytes(8188)
    with bounded():
        found = list(overlay.written_ranges())
        assert found == [(12 * TIB + 7000 - 7000 % 512, TIB + TIB // 2 + 512)]
        digest = await overlay.digest()
    await overlay.compact()
    assert await overlay.digest() == digest
    with bounded():
        await overlay.commit()
    assert await base.read(13 * TIB, 16384) == bytes(8192) + b"back" + bytes(8188)


async def test_a_whole_disk_longer_than_a_record_can_say_is_discarded() -> None:
    storage = FailingStorage()
    overlay = await huge_overlay(storage)
    image = await huge_image(storage, "other")
    for disk in (overlay, image):
        with bounded():
            await disk.discard(0, 20 * TIB)
            await disk.flush()
        await disk.write(19 * TIB, b"end")
        await disk.close()
    base = await LocalImage.open(storage, "image")
    for disk in (
        await Overlay.open(base, storage, "overlay"),
        await LocalImage.open(storage, "other"),
    ):
        with bounded():
            assert await disk.read(13 * TIB, 5000) == bytes(5000)
            assert await disk.read(19 * TIB, 3) == b"end"
        await disk.compact()


async def test_many_discards_cost_as_many_ranges() -> None:
    overlay = await huge_overlay(FailingStorage())
    for number in range(200):
        await overlay.discard(number * 2 * GIB, GIB)
    await overlay.flush()
    assert overlay._store._table.parts == 200
    for number in range(200):
        await overlay.discard(number * 2 * GIB + GIB, GIB)
    assert overlay._store._table.parts == 1


# ── the structures against plain ones ─────────────────────────────────────────────────────────────

SPANS = st.tuples(st.integers(0, 40), st.integers(0, 40)).map(sorted)


@given(st.lists(st.tuples(st.booleans(), SPANS), max_size=30), SPANS)
def test_a_range_set_is_a_set(steps: list[tuple[bool, list[int]]], window: list[int]) -> None:
    ranges, model = RangeSet(), set[int]()
    for is_added, (start, stop) in steps:
        (ranges.add if is_added else ranges.remove)(start, stop)
        (model.update if is_added else model.difference_update)(range(start, stop))
        assert {number for number in range(41) if number in ranges} == model
        found = list(ranges.between(0, 41))
        assert [n for start, stop in found for n in range(start, stop)] == sorted(model)
        assert all(before[1] < after[0] for before, after in pairwise(found))
        assert len(ranges) == len(found)
    inside = [n for start, stop in ranges.between(*window) for n in range(start, stop)]
    assert inside == sorted(model & set(range(*window)))


RUNS = st.tuples(
    st.integers(0, 200),
    st.one_of(st.integers(1, 5), st.integers(1, 150)),
    st.one_of(
        st.sampled_from([0, ALL, 0x0F]),
        st.integers(1, 1000).map(lambda slot: slot << SECTORS | ALL),
    ),
)


@given(st.lists(RUNS, max_size=12), st.tuples(st.integers(0, 350), st.integers(0, 350)).map(sorted))
def test_a_granule_table_is_a_list_of_entries(
    runs: list[tuple[int, int, int]], window: list[int]
) -> None:
    table, model = GranuleTable(), [0] * 400
    for granule, count, entry in runs:
        step = 1 << SECTORS if entry > ALL else 0
        gone = table.put(granule, count, entry)
        expected = [old >> SECTORS for old in model[granule : granule + count] if old > ALL]
        assert sorted(gone) == sorted(expected)
        model[granule : granule + count] = [entry + step * index for index in range(count)]
    assert [table[granule] for granule in range(400)] == model
    start, stop = window
    found = [0] * 400
    end = start
    for granule, count, entry in table.runs(start, stop):
        assert granule >= end
        end = granule + count
        step = 1 << SECTORS if entry > ALL else 0
        found[granule:end] = [entry + step * index for index in range(count)]
    assert end <= max(stop, start)
    assert found[start:stop] == model[start:stop]
