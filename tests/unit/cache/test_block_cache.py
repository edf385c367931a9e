"""Which blocks are kept: the limit, the order, and what survives a restart."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from aero_browser_disk.cache.block_cache import BlockCache
from aero_browser_disk.cache.block_store import BlockStore, StoredImage
from aero_browser_disk.errors import StorageBusyError
from aero_browser_disk.platform.memory import MemoryStorage
from aero_browser_disk.testing.failing_files import FailingStorage
from support.fuzz import fuzz, rounds
from support.run import run

BLOCK = 4096
BLOCKS = 20
IMAGE = StoredImage(size=BLOCKS * BLOCK - 100, validator='"v1"', block_size=BLOCK)
NEXT_VERSION = StoredImage(size=IMAGE.size, validator='"v2"', block_size=BLOCK)
BLOCKS_FILE, JOURNAL_FILE = "cache/x/blocks", "cache/x/journal"


def content(block: int) -> bytes:
    return bytes([block + 1]) * IMAGE.block_length(block)


async def open_cache(storage, blocks: int = BLOCKS, image: StoredImage = IMAGE) -> BlockCache:
    return BlockCache(await BlockStore.open(storage, "cache/x"), image, blocks * BLOCK)


def read(cache: BlockCache, block: int) -> bytes | None:
    target = bytearray(IMAGE.block_length(block))
    return bytes(target) if cache.read_into(block, 0, target) else None


def kill(storage: MemoryStorage) -> None:
    """What is left of a worker that died: its files, unlocked."""
    storage.held.clear()


@pytest.fixture
def storage() -> MemoryStorage:
    return MemoryStorage()


async def test_a_block_is_read_back_whole_and_in_part(storage):
    cache = await open_cache(storage)
    cache.put(3, content(3))
    assert read(cache, 3) == content(3)
    part = bytearray(10)
    assert cache.read_into(3, 100, part)
    assert part == content(3)[100:110]
    assert not cache.read_into(4, 0, part)


async def test_the_short_last_block_counts_its_own_bytes(storage):
    cache = await open_cache(storage)
    cache.put(BLOCKS - 1, content(BLOCKS - 1))
    assert cache.bytes == BLOCK - 100
    assert read(cache, BLOCKS - 1) == content(BLOCKS - 1)


async def test_the_least_recently_used_block_goes_first(storage):
    cache = await open_cache(storage, blocks=3)
    for block in (1, 2, 3):
        cache.put(block, content(block))
    read(cache, 1)
    cache.put(4, content(4))
    assert [block in cache for block in (1, 2, 3, 4)] == [True, False, True, True]
    assert cache.blocks == 3
    assert len(storage.files[BLOCKS_FILE]) == 3 * BLOCK


async def test_a_block_that_came_after_a_read_is_the_more_recent(storage):
    cache = await open_cache(storage, blocks=3)
    cache.put(1, content(1))
    cache.put(2, content(2))
    read(cache, 1)
    read(cache, 2)
    cache.put(3, content(3))
    cache.put(4, content(4))
    cache.put(5, content(5))
    assert [block in cache for block in (1, 2, 3, 4, 5)] == [False, False, True, True, True]


async def test_a_limit_below_a_block_keeps_nothing(storage):
    cache = await open_cache(storage, blocks=0)
    cache.put(1, content(1))
    assert cache.blocks == 0
    assert read(cache, 1) is None


async def test_a_killed_worker_loses_nothing_that_was_committed(storage):
    cache = await open_cache(storage)
    cache.put(1, content(1))
    cache.put(2, content(2))
    cache.commit(fresh_until=0)
    kill(storage)
    again = await open_cache(storage)
    assert read(again, 1) == content(1)
    assert read(again, 2) == content(2)


async def test_the_order_of_use_survives_a_restart(storage):
    cache = await open_cache(storage, blocks=3)
    for block in (1, 2, 3):
        cache.put(block, content(block))
    read(cache, 1)
    cache.close()
    again = await open_cache(storage, blocks=3)
    again.put(4, content(4))
    assert [block in again for block in (1, 2, 3, 4)] == [True, False, True, True]


async def test_a_block_that_is_always_in_use_outlives_a_kill(storage):
    cache = await open_cache(storage, blocks=8)
    cache.put(0, content(0))
    for block in range(1, BLOCKS):
        cache.put(block, content(block))
        assert read(cache, 0) == content(0)
        cache.commit(fresh_until=0)
    kill(storage)
    again = await open_cache(storage, blocks=8)
    for block in range(1, 5):
        again.put(block, content(block))
    assert read(again, 0) == content(0)


async def test_the_order_of_reads_without_any_download_outlives_a_kill(storage):
    cache = await open_cache(storage, blocks=8)
    for block in range(8):
        cache.put(block, content(block))
    cache.close()
    again = await open_cache(storage, blocks=8)
    for _ in range(4200):
        read(again, 0)
        read(again, 1)
    kill(storage)
    last = await open_cache(storage, blocks=8)
    for block in range(8, 14):
        last.put(block, content(block))
    assert [block for block in range(8) if block in last] == [0, 1]


async def test_a_smaller_limit_keeps_the_most_recent_blocks_and_frees_the_rest(storage):
    cache = await open_cache(storage, blocks=8)
    for block in range(8):
        cache.put(block, content(block))
    for block in (0, 1):
        read(cache, block)
    cache.close()
    again = await open_cache(storage, blocks=3)
    assert [block for block in range(8) if block in again] == [0, 1, 7]
    assert all(read(again, block) == content(block) for block in (0, 1, 7))
    assert len(storage.files[BLOCKS_FILE]) <= 3 * BLOCK


async def test_another_version_starts_empty(storage):
    cache = await open_cache(storage)
    cache.put(1, content(1))
    cache.close()
    again = await open_cache(storage, image=NEXT_VERSION)
    assert again.blocks == 0
    assert len(storage.files[BLOCKS_FILE]) == 0


async def test_two_holders_never_share_the_files(storage):
    cache = await open_cache(storage)
    with pytest.raises(StorageBusyError):
        await open_cache(storage)
    cache.close()
    await open_cache(storage)


async def test_clear_gives_the_room_back_and_goes_on(storage):
    cache = await open_cache(storage)
    cache.put(1, content(1))
    cache.clear()
    assert (cache.blocks, cache.bytes) == (0, 0)
    assert len(storage.files[BLOCKS_FILE]) == 0
    cache.put(2, content(2))
    cache.close()
    again = await open_cache(storage)
    assert read(again, 1) is None
    assert read(again, 2) == content(2)


# ── damage ────────────────────────────────────────────────────────────────────────────────────────


async def test_a_torn_block_is_missing_not_wrong(storage):
    cache = await open_cache(storage)
    cache.put(1, content(1))
    cache.put(2, content(2))
    cache.close()
    storage.files[BLOCKS_FILE][100] ^= 1
    again = await open_cache(storage)
    assert read(again, 1) is None
    assert read(again, 2) == content(2)
    again.put(1, content(1))
    assert read(again, 1) == content(1)


async def test_two_blocks_that_changed_places_are_missing(storage):
    cache = await open_cache(storage)
    cache.put(1, content(1))
    cache.put(2, content(2))
    cache.close()
    file = storage.files[BLOCKS_FILE]
    file[:BLOCK], file[BLOCK : 2 * BLOCK] = file[BLOCK : 2 * BLOCK], file[:BLOCK]
    again = await open_cache(storage)
    assert read(again, 1) is None
    assert read(again, 2) is None


@pytest.mark.parametrize("junk", [b"", b"\0" * 9000, b"\xff" * 40_000, b"AEROBLK1" * 2000])
async def test_junk_in_the_journal_starts_empty(storage, junk):
    storage.files[JOURNAL_FILE] = bytearray(junk)
    storage.files[BLOCKS_FILE] = bytearray(b"\xee" * (3 * BLOCK))
    cache = await open_cache(storage)
    assert cache.blocks == 0
    cache.put(1, content(1))
    cache.close()
    assert read(await open_cache(storage), 1) == content(1)


async def test_what_comes_by_turns_lies_together_and_is_read_at_once(storage):
    cache = await open_cache(storage)
    cache.reserve(range(4))
    cache.reserve(range(8, 12))
    for block in (0, 8, 1, 9, 10, 2, 3, 11):
        cache.put(block, content(block))
    for first in (0, 8):
        target = bytearray(4 * BLOCK)
        assert cache.read_into(first, 0, target)
        assert target == b"".join(map(content, range(first, first + 4)))


async def test_places_that_were_not_needed_are_used_by_others(storage):
    cache = await open_cache(storage)
    cache.reserve(range(12))
    cache.put(11, content(11))
    cache.release(range(11))
    for block in range(12, BLOCKS - 1):
        cache.put(block, content(block))
    assert cache.blocks == BLOCKS - 12
    assert len(storage.files[BLOCKS_FILE]) == 12 * BLOCK
    assert all(read(cache, block) == content(block) for block in range(11, BLOCKS - 1))


async def test_blocks_that_go_make_room_for_a_run_that_is_read_at_once(storage):
    cache = await open_cache(storage, blocks=8)
    for block in range(8):
        cache.put(block, content(block))
    cache.put(8, b"".join(map(content, range(8, 12))))
    target = bytearray(4 * BLOCK)
    assert cache.read_into(8, 0, target)
    assert target == b"".join(map(content, range(8, 12)))
    assert [block for block in range(12) if block in cache] == list(range(4, 12))


@pytest.mark.parametrize("length", [8, 16])
async def test_a_torn_first_header_is_none(storage, length):
    cache = await open_cache(storage)
    cache.put(3, content(3))
    cache.close()
    journal = storage.files[JOURNAL_FILE]
    for place in (0, 4096):
        journal[place + length : place + 4096] = bytes(4096 - length)
    assert read(await open_cache(storage), 3) is None


async def test_a_lost_tail_of_the_journal_loses_only_what_it_told(storage):
    cache = await open_cache(storage)
    for block in range(5):
        cache.put(block, content(block))
        cache.commit(fresh_until=0)
    kill(storage)
    del storage.files[JOURNAL_FILE][-40:]
    again = await open_cache(storage)
    assert [block for block in range(5) if read(again, block)] == [0, 1, 2]


async def test_a_damaged_record_costs_its_block_only(storage):
    cache = await open_cache(storage)
    for block in range(5):
        cache.put(block, content(block))
    cache.commit(fresh_until=0)
    kill(storage)
    storage.files[JOURNAL_FILE][-3 * 32 + 5] ^= 1
    again = await open_cache(storage)
    assert [block for block in range(5) if read(again, block)] == [0, 1, 3, 4]


async def test_the_journal_stays_small_however_long_the_cache_is_used(storage):
    cache = await open_cache(storage, blocks=4)
    for turn in range(3000):
        block = turn % BLOCKS
        cache.put(block, content(block))
        cache.commit(fresh_until=0)
    assert len(storage.files[JOURNAL_FILE]) < 8192 + 2 * 1200 * 32
    kill(storage)
    again = await open_cache(storage, blocks=4)
    assert [b for b in range(BLOCKS) if read(again, b) == content(b)] == [16, 17, 18, 19]


# ── want of room ──────────────────────────────────────────────────────────────────────────────────


async def test_a_full_storage_keeps_what_fits_and_goes_on(storage):
    storage.quota = 5 * BLOCK + 9000
    cache = await open_cache(storage)
    for block in range(BLOCKS):
        cache.put(block, content(block))
        cache.commit(fresh_until=0)
        cached = [b for b in range(BLOCKS) if b in cache]
        assert all(read(cache, b) == content(b) for b in cached)
    assert cache.is_full
    assert 0 < cache.blocks <= 5
    assert cache.failure is None


async def test_when_there_is_room_again_it_is_used(storage):
    storage.quota = 5 * BLOCK + 9000
    cache = await open_cache(storage)
    for block in range(BLOCKS):
        cache.put(block, content(block))
    assert cache.is_full
    storage.quota = 1 << 40
    for turn in range(100):
        cache.put(turn % BLOCKS, content(turn % BLOCKS))
    assert not cache.is_full
    assert cache.blocks == BLOCKS
    cache.close()
    again = await open_cache(storage)
    assert all(read(again, block) == content(block) for block in range(BLOCKS))


async def test_what_fits_of_many_blocks_at_once_is_kept(storage):
    storage.quota = 5 * BLOCK + 10_000
    cache = await open_cache(storage)
    cache.put(0, b"".join(map(content, range(BLOCKS))))
    assert cache.blocks == 5
    assert all(read(cache, block) in (None, content(block)) for block in range(BLOCKS))


async def test_blocks_give_way_to_a_journal_that_cannot_grow(storage):
    cache = await open_cache(storage)
    for block in range(8):
        cache.put(block, content(block))
    storage.quota = storage.used()
    cache.commit(fresh_until=7)
    assert cache.is_full
    assert cache.blocks == 7
    kill(storage)
    again = await open_cache(storage)
    assert sum(read(again, block) == content(block) for block in range(8)) == 7


async def test_a_quota_far_below_what_is_used_costs_half_of_it_at_most(storage):
    cache = await open_cache(storage)
    for block in range(16):
        cache.put(block, content(block))
    cache.commit(fresh_until=0)
    storage.quota = 1000
    for turn in range(1, 50):
        cache.put(turn % BLOCKS, content(turn % BLOCKS))
        cache.commit(fresh_until=turn)
    assert cache.is_full
    assert cache.failure is None
    assert cache.blocks >= 8
    storage.quota = 1 << 40
    for turn in range(100):
        cache.put(turn % BLOCKS, content(turn % BLOCKS))
        cache.commit(fresh_until=turn)
    assert not cache.is_full
    kill(storage)
    again = await open_cache(storage)
    assert all(read(again, block) == content(block) for block in range(BLOCKS))


async def test_the_last_block_gives_way_to_a_longer_one_when_nothing_can_grow(storage):
    cache = await open_cache(storage)
    for block in (0, 1, BLOCKS - 1):
        cache.put(block, content(block))
    read(cache, 0)
    read(cache, 1)
    cache.commit(fresh_until=0)
    storage.quota = storage.used() + 64  # two records, and no byte of a block
    cache.limit = 3 * BLOCK
    for block in (2, 3, 4, 5):
        cache.put(block, content(block))
    assert cache.failure is None
    assert len(storage.files[BLOCKS_FILE]) <= 3 * BLOCK
    assert all(read(cache, block) in (None, content(block)) for block in range(BLOCKS))


@pytest.mark.parametrize("reopened", [False, True])
async def test_holes_of_a_file_on_a_full_device_do_not_end_the_cache(reopened: bool) -> None:
    """Places set aside for blocks that never came, below others that did."""
    files = FailingStorage()
    cache = await open_cache(files)
    cache.reserve(range(8))
    cache.put(6, content(6) + content(7))
    cache.release(range(8))
    cache.put(10, content(10) + content(11))
    cache.commit(fresh_until=0)
    if reopened:
        cache.close()
        cache = await open_cache(files)
    files.device = files.used_on_device + 8192  # for records
    for block in (12, 13, 12, 14, 15, 13):
        cache.put(block, content(block))
        cache.commit(fresh_until=0)
        assert read(cache, block) == content(block)
    assert cache.is_full
    assert cache.failure is None
    assert cache.blocks >= 4
    files.device = 1 << 40
    for turn in range(100):
        cache.put(turn % BLOCKS, content(turn % BLOCKS))
    assert not cache.is_full
    assert cache.blocks == BLOCKS
    assert all(read(cache, block) == content(block) for block in range(BLOCKS))


# ── many blocks ───────────────────────────────────────────────────────────────────────────────────


async def fill(storage, blocks: int, block_size: int) -> StoredImage:
    """As many blocks as that, in the order of their numbers, and closed."""
    image = StoredImage(blocks * block_size, '"many"', block_size)
    cache = BlockCache(await BlockStore.open(storage, "cache/x"), image, image.size)
    cache.put(0, bytes(image.size))
    cache.close()
    return image


async def test_opening_reads_the_journal_once_and_no_block():
    storage = FailingStorage()
    image = await fill(storage, 5000, 16)
    before = len(storage.operations)
    cache = BlockCache(await BlockStore.open(storage, "cache/x"), image, image.size)
    assert cache.blocks == 5000
    assert storage.operations[before:] == [
        ("open", BLOCKS_FILE),
        ("open", JOURNAL_FILE),
        ("read", JOURNAL_FILE),
    ]


async def test_a_block_costs_little_memory(storage):
    image = await fill(storage, 20_000, 16)
    tracemalloc.start()
    try:
        cache = BlockCache(await BlockStore.open(storage, "cache/x"), image, image.size)
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert cache.blocks == 20_000
    assert used / cache.blocks < 160  # in Pyodide, whose pointers are half as long, below 100


async def test_the_least_recently_used_of_many_is_known_to_the_last(storage):
    image = await fill(storage, 4000, 16)
    store = await BlockStore.open(storage, "cache/x")
    for expected in range(image.size // 16):
        assert store.least_recent() == expected
        store.free(expected)
    assert store.least_recent() is None


# ── as a whole ────────────────────────────────────────────────────────────────────────────────────


class CacheMachine(RuleBasedStateMachine):
    """Any order of puts, reads, kills and restarts, with any limit: a block is right or missing."""

    @initialize(quota=st.sampled_from([1 << 40, 8 * BLOCK + 10_000]))
    def start(self, quota: int) -> None:
        self.storage = MemoryStorage(quota)
        self.limit = BLOCKS
        self.version = 1
        self.reopen()

    def reopen(self) -> None:
        image = StoredImage(IMAGE.size, f'"v{self.version}"', BLOCK)
        self.cache = run(open_cache(self.storage, self.limit, image))

    def bytes_of(self, block: int) -> bytes:
        return bytes([block + 1, self.version % 256]) * (IMAGE.block_length(block) // 2)

    @rule(block=st.integers(0, BLOCKS - 1))
    def put(self, block: int) -> None:
        self.cache.put(block, self.bytes_of(block))

    @rule(block=st.integers(0, BLOCKS - 1))
    def read(self, block: int) -> None:
        found = read(self.cache, block)
        assert found is None or found == self.bytes_of(block)

    @rule(fresh_until=st.integers(0, 1 << 31))
    def commit(self, fresh_until: int) -> None:
        self.cache.commit(fresh_until)

    @rule(limit=st.integers(0, BLOCKS), gently=st.booleans())
    def restart(self, limit: int, gently: bool) -> None:
        if gently:
            self.cache.close()
        kill(self.storage)
        self.limit = limit
        self.reopen()

    @rule()
    def clear(self) -> None:
        self.cache.clear()

    @rule()
    def change_version(self) -> None:
        self.cache.close()
        self.version += 1
        self.reopen()

    @invariant()
    def keeps_to_its_limit(self) -> None:
        assert self.cache.bytes <= self.limit * BLOCK
        assert len(self.storage.files[BLOCKS_FILE]) <= self.limit * BLOCK
        assert self.cache.failure is None


TestCache = CacheMachine.TestCase
TestCache.pytestmark = fuzz
TestCache.settings = settings(max_examples=rounds(60), stateful_step_count=40, deadline=None)


async def test_a_full_storage_does_not_lift_a_limit_that_was_lowered(storage):
    cache = await open_cache(storage, blocks=2)
    cache.put(0, content(0) + content(1))
    cache.close()
    storage.quota = storage.used()
    again = await open_cache(storage, blocks=0)
    again.put(0, content(0))
    assert again.bytes == 0
