"""How far to read ahead: grows with a stream, starts over at a jump, never past the end."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from aero_browser_disk.streaming.prefetch import ProfileReplay, WholeImage
from aero_browser_disk.streaming.readahead import ReadAhead
from aero_browser_disk.streaming.strides import Strides

BLOCK = 16384
BLOCKS = 1 << 16
MIB = 1 << 20


def windows(ahead: ReadAhead, blocks: list[int]) -> list[int]:
    """How many blocks are wanted after each read of one block; what is wanted is fetched."""
    found = []
    for block in blocks:
        wanted = ahead.note(block, block)
        found.append(wanted.stop - block - 1 if wanted else 0)
        while (run := ahead.next_run(lambda _: True)) is not None:
            assert len(run) > 0
    return found


def test_a_stream_earns_its_window():
    ahead = ReadAhead(BLOCKS, BLOCK)
    reach = []
    for block in range(4000):
        wanted = ahead.note(block, block)
        assert not wanted or wanted.start > block
        reach.append(((wanted.stop if wanted else block + 1) - block - 1) * BLOCK)
        while ahead.next_run(lambda _: True):
            pass
    assert max(reach[:64]) <= 384 * 1024
    assert max(reach) == 8 * MIB


def test_a_jump_starts_over_with_a_small_window():
    ahead = ReadAhead(BLOCKS, BLOCK)
    windows(ahead, list(range(1000)))
    assert len(ahead.note(50_000, 50_000)) * BLOCK <= 128 * 1024


def test_several_streams_are_told_apart():
    ahead = ReadAhead(BLOCKS, BLOCK)
    for step in range(200):
        for start in (0, 10_000, 20_000):
            ahead.note(start + step, start + step)
            while ahead.next_run(lambda _: True):
                pass
    for start in (0, 10_000, 20_000):
        wanted = ahead.note(start + 200, start + 200)
        assert not wanted or wanted.start < start + 500


def test_what_is_cached_is_skipped():
    ahead = ReadAhead(BLOCKS, BLOCK)
    ahead.note(0, 0)
    cached = {1, 2, 4}
    run = ahead.next_run(lambda block: block not in cached)
    assert run == range(3, 4)


@given(st.lists(st.integers(0, 99), max_size=60))
def test_it_stops_at_the_end_and_asks_for_nothing_twice(reads):
    ahead = ReadAhead(100, BLOCK)
    asked: set[int] = set()
    for block in reads:
        ahead.note(block, block)
        while (run := ahead.next_run(lambda b: b not in asked)) is not None:
            assert 0 <= run.start < run.stop <= 100
            assert not asked.intersection(run)
            asked.update(run)


def test_waste_makes_windows_smaller():
    ahead = ReadAhead(1 << 24, BLOCK)
    fresh = len(ahead.note(0, 0))
    for jump in range(1, 3000):  # each goes on once, so that they are worth a guess
        ahead.note(jump * 1000, jump * 1000)
        ahead.next_run(lambda _: True)
        ahead.note(jump * 1000 + 1, jump * 1000 + 1)
        ahead.next_run(lambda _: True)
    assert ahead.wasted > 1000
    assert len(ahead.note(9_000_000, 9_000_000)) < fresh / 2


def test_nothing_is_read_ahead_of_single_pages_all_over_the_image():
    ahead = ReadAhead(1 << 24, BLOCK)
    for jump in range(1, 100):
        window = ahead.note(jump * 1000, jump * 1000)
    assert len(window) == 0
    for block in range(9_000_000, 9_000_400):  # until somebody reads on
        window = ahead.note(block, block)
    assert len(window) * BLOCK > 1 << 20


def test_a_region_that_is_come_back_to_is_worth_a_larger_guess():
    ahead = ReadAhead(1 << 24, BLOCK)
    first = len(ahead.note(1030, 1030))
    assert len(ahead.note(1025, 1025)) > first


def test_a_guess_reaches_into_the_next_units():
    unit = 16
    ahead = ReadAhead(BLOCKS, BLOCK, lambda: unit)
    assert ahead.note(5 * unit, 5 * unit).stop > 7 * unit
    assert ahead.note(900 * unit, 900 * unit + 1).stop > 903 * unit


def test_a_profile_comes_in_few_requests_in_order_of_first_use():
    replay = ProfileReplay((50, 7, 51, 8, 53, 200), max_blocks=64)
    runs = []
    while (run := replay.next_run(lambda _: True)) is not None:
        runs.append(run)
    assert runs == [range(50, 54), range(7, 9), range(200, 201)]
    assert replay.is_done()


@given(st.lists(st.integers(0, 300), unique=True), st.sets(st.integers(0, 300)))
def test_a_profile_asks_for_all_that_is_missing_and_nothing_that_is_cached(blocks, cached):
    replay = ProfileReplay(blocks, max_blocks=16)
    asked: set[int] = set()
    while (run := replay.next_run(lambda b: b not in cached and b not in asked)) is not None:
        assert len(run) <= 16
        asked.update(run)
    assert set(blocks) - cached <= asked
    assert not asked & cached


@given(st.sets(st.integers(0, 99)))
def test_the_whole_image_is_every_missing_block_once(cached):
    whole = WholeImage(100, 8, has_free_space=lambda: True)
    assert whole.next_run(lambda _: True) is None
    whole.wanted = True
    asked: set[int] = set()
    while (run := whole.next_run(lambda b: b < 100 and b not in cached | asked)) is not None:
        assert len(run) <= 8
        asked.update(run)
    assert asked == set(range(100)) - cached


# ── strides ───────────────────────────────────────────────────────────────────────────────────────


def test_reads_equally_far_apart_are_foreseen_and_nothing_between_them():
    ahead = ReadAhead(BLOCKS, BLOCK)
    asked: set[int] = set()
    foreseen = 0
    for block in range(100, 100 + 16 * 40, 16):
        foreseen += block in asked
        asked.update(ahead.note(block, block))
        while (run := ahead.next_run(lambda b: b not in asked)) is not None:
            asked.update(run)
    assert foreseen >= 36
    later = {block for block in asked if block >= 100 + 16 * 4}
    assert all((block - 100) % 16 == 0 for block in later)


@given(
    st.integers(0, 90),
    st.integers(2, 40),
    st.integers(1, 4),
    st.sets(st.integers(0, 99)),
)
def test_what_is_foreseen_is_missing_and_in_the_image(first, step, length, cached):
    strides = Strides(100, BLOCK)
    for start in range(first, 100 - length, step):
        strides.note(start, start + length - 1)
        asked: set[int] = set()
        while (run := strides.next_run(lambda b, asked=asked: b not in cached | asked)) is not None:
            assert start < run.start < run.stop <= 100
            assert not cached.intersection(run)
            asked.update(run)


def test_two_reads_are_no_stride():
    strides = Strides(BLOCKS, BLOCK)
    for block in (10, 50, 1000, 60_000, 2):
        assert not strides.note(block, block)
        assert strides.next_run(lambda _: True) is None
