"""Whatever happens to the files and whenever it ends, a block is exact or it is missing.

The long form: ./scripts/test --fuzz 5000 tests/unit/cache/test_block_store_crash.py
"""

from __future__ import annotations

import random

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule

from aero_browser_disk.cache.block_cache import BlockCache
from aero_browser_disk.cache.block_store import BlockStore, StoredImage
from aero_browser_disk.errors import StorageError, StorageFullError
from aero_browser_disk.testing.failing_files import FATES, FailingStorage, PowerCutError
from support.crashes import (
    PLENTY,
    DyingMachine,
    all_left_by_kill,
    all_left_by_power_cut,
    for_crashes,
    now,
)
from support.fuzz import fuzz, rounds

BLOCK = 1024
BLOCKS = 12
SIZE = BLOCKS * BLOCK - 100
BLOCKS_FILE, JOURNAL_FILE = "x/blocks", "x/journal"
VERSIONS = (1, 2, 3)
SHARED = {0, 2, 5, BLOCKS - 1}
"""The blocks that versions 2 and 3 have both."""


def image(version: int) -> StoredImage:
    return StoredImage(SIZE, f'"v{version}"', BLOCK)


def content(version: int, block: int, count: int = 1) -> bytes:
    """No two sectors are alike, in whatever version or place, but for those that are shared."""
    whole = b"".join(
        random.Random(f"{2 if number in SHARED and version == 3 else version}/{number}").randbytes(
            BLOCK
        )
        for number in range(block, block + count)
    )
    return whole[: SIZE - block * BLOCK]


CONTENT = {version: content(version, 0, BLOCKS) for version in VERSIONS}


def bytes_of(version: int, block: int, count: int = 1) -> bytes:
    return CONTENT[version][block * BLOCK : (block + count) * BLOCK]


def open_cache(storage: FailingStorage, version: int, limit: int = BLOCKS) -> BlockCache:
    store = now(BlockStore.open(storage, "x"))
    try:
        return BlockCache(store, image(version), limit * BLOCK)
    except BaseException:
        store.close()
        raise


def update(storage: FailingStorage, version: int) -> None:
    """Binds the store to another version, with the blocks that both have."""
    store = now(BlockStore.open(storage, "x"))
    try:
        if store.image in (image(2), image(3)):
            store.rebind(image(version), SHARED)
    finally:
        store.close()


def read(cache: BlockCache, block: int) -> bytes | None:
    target = bytearray(cache.image.block_length(block))
    return bytes(target) if cache.read_into(block, 0, target) else None


def found_in(storage: FailingStorage, version: int) -> set[int]:
    """The blocks of a version that the next start finds there, each of them exact."""
    cache = open_cache(storage.after_kill(), version)
    found = set()
    for block in range(BLOCKS):
        data = read(cache, block)
        assert data in (None, bytes_of(version, block)), f"block {block} is wrong"
        if data is not None:
            found.add(block)
    return found


# ── any order of anything ─────────────────────────────────────────────────────────────────────────


class CrashMachine(DyingMachine):
    """Puts, reads, failures, kills and power cuts in any order, under any limit and quota."""

    paths = (None, BLOCKS_FILE, JOURNAL_FILE)

    @initialize(atom=st.sampled_from([24, 512]), limit=st.integers(0, BLOCKS))
    def start(self, atom: int, limit: int) -> None:
        self.begin(atom)
        self.version, self.limit = 1, limit
        self.promised: set[int] = set()  # committed and not given up since: a kill leaves them
        self.durable: set[int] = set()  # flushed and not given up since: a power cut leaves them
        self.cache = open_cache(self.storage, 1, limit)

    # what happens to a cache

    @rule(block=st.integers(0, BLOCKS - 1), count=st.integers(1, 6))
    def put(self, block: int, count: int) -> None:
        count = min(count, BLOCKS - block)
        blocks = set(range(block, block + count))
        if not all(b in self.cache for b in blocks):
            self.forget(blocks)  # it may go and come again, and that is not committed
        with self.perhaps_dying():
            self.cache.put(block, bytes_of(self.version, block, count))

    @rule(block=st.integers(0, BLOCKS - 1), count=st.integers(1, 6))
    def reserve(self, block: int, count: int) -> None:
        blocks = range(block, min(block + count, BLOCKS))
        self.cache.release(blocks)
        self.cache.reserve(blocks)

    @rule(block=st.integers(0, BLOCKS - 1), count=st.integers(1, 6))
    def release(self, block: int, count: int) -> None:
        self.cache.release(range(block, block + count))

    @rule(block=st.integers(0, BLOCKS - 1), count=st.integers(1, 4), skip=st.integers(0, 600))
    def read(self, block: int, count: int, skip: int) -> None:
        expected = bytes_of(self.version, block, count)[skip:]
        target = bytearray(len(expected))
        with self.perhaps_dying():
            if self.cache.read_into(block, skip, target):
                assert target == expected

    @rule(fresh_until=st.integers(0, 3))
    def commit(self, fresh_until: int) -> None:
        with self.perhaps_dying():
            self.cache.commit(fresh_until)
            if self.cache.failure is None and not self.cache._is_stuck:
                self.promised = self.intact()

    @rule()
    def compact(self) -> None:
        with self.perhaps_dying():
            try:
                self.cache._store.compact()
            except StorageFullError:
                return
            except StorageError as error:
                self.cache.failure = error  # as the cache has it

    @rule()
    def clear(self) -> None:
        self.forget(set(range(BLOCKS)))
        with self.perhaps_dying():
            try:
                self.cache.clear()
            except StorageError:
                assert self.cache.failure is not None

    @rule(limit=st.integers(0, BLOCKS), version=st.sampled_from(VERSIONS), same=st.booleans())
    def close_and_open(self, limit: int, version: int, same: bool) -> None:
        with self.perhaps_dying():
            self.cache.close()
            if self.cache.failure is None:
                self.promised = self.intact()
                self.durable = set(self.promised)
        self.check_after_crash()
        self.reopen_as(limit, version, same)

    @rule()
    def keep_what_another_version_has(self) -> None:
        if self.version == 1:
            return
        other = 5 - self.version
        kept = self.intact() & SHARED
        self.forget(set(range(BLOCKS)))
        with self.perhaps_dying():
            self.cache.close()
            had = self.cache.failure is None
            self.version, failures = other, self.storage.failures
            try:
                update(self.storage, other)
            except StorageError:
                had = False
            # A store that cannot be bound to the other version begins empty.
            has_space = self.storage.quota == self.storage.device == PLENTY
            if had and has_space and self.storage.failures == failures:
                self.promised = kept
        self.check_after_crash()
        self.reopen()

    # what happens to its files

    def may_crash(self) -> bool:
        return self.cache.failure is None  # else nothing is written any more

    @rule(limit=st.integers(0, BLOCKS), version=st.sampled_from(VERSIONS), same=st.booleans())
    def kill_and_open(self, limit: int, version: int, same: bool) -> None:
        self.kills = True
        self.crash(in_a_change=False)
        self.reopen_as(limit, version, same)

    @rule(offset=st.integers(0, BLOCKS * BLOCK), data=st.binary(min_size=1, max_size=600))
    def damage_blocks(self, offset: int, data: bytes) -> None:
        self.kill()
        self.cache._store.close()
        size = len(self.storage.content(BLOCKS_FILE))
        self.storage.damage(BLOCKS_FILE, offset % (size + 1), data)
        self.forget(set(range(BLOCKS)))
        self.reopen()

    # what must hold

    @invariant()
    def keeps_to_its_limit(self) -> None:
        assert self.cache.bytes <= self.limit * BLOCK
        assert len(self.storage.content(BLOCKS_FILE)) <= self.limit * BLOCK

    @invariant()
    def what_is_given_up_is_not_promised(self) -> None:
        stored = set(self.cache._store.slot_of)
        self.promised &= stored
        self.durable &= stored

    def check_after_crash(self) -> None:
        """What the next start would find."""
        found = found_in(self.storage, self.version)
        assert self.promised <= found, "what was committed is gone"

    # how it is done

    def intact(self) -> set[int]:
        """The blocks that the cache holds, without those that an earlier crash or fault spoilt."""
        file = self.storage.content(BLOCKS_FILE)
        return {
            block
            for block, slot in self.cache._store.slot_of.items()
            if file[slot * BLOCK : (slot + 1) * BLOCK].startswith(bytes_of(self.version, block))
        }

    def forget(self, blocks: set[int]) -> None:
        self.promised -= blocks
        self.durable -= blocks

    def before_crash(self, *, is_power_cut: bool) -> None:
        self.what_is_given_up_is_not_promised()
        if is_power_cut:
            self.promised = set(self.durable)

    def reopen_as(self, limit: int, version: int, same: bool) -> None:
        if not same:
            if version != self.version or limit < BLOCKS:
                self.forget(set(range(BLOCKS)))
            self.limit, self.version = limit, version
        self.reopen()

    def reopen(self) -> None:
        if self.limit < BLOCKS:
            self.forget(set(range(BLOCKS)))
        while True:
            try:
                self.cache = open_cache(self.storage, self.version, self.limit)
            except PowerCutError:
                self.crash(in_a_change=True)
            except StorageError:
                # The files cannot be had now, so the disk is opened on others. Later they can.
                self.storage = self.storage.after_kill()
                self.storage.quota = self.storage.device = PLENTY
            else:
                return


TestCrashes = CrashMachine.TestCase
TestCrashes.pytestmark = fuzz
TestCrashes.settings = for_crashes(rounds(150))


# ── every instant of one life ─────────────────────────────────────────────────────────────────────


class Life:
    """A scenario with all that a store does, and what had been promised when it ended."""

    def __init__(self, storage: FailingStorage) -> None:
        self.storage = storage
        self.version = 1
        self.cache: BlockCache | None = None
        self.promised: set[int] = set()
        self.durable: set[int] = set()
        self.before: tuple[int, set[int]] | None = None  # while another version is bound

    def live(self) -> None:
        self.open(1, BLOCKS)
        for block in range(6):
            self.put(block)
            self.commit()
        self.put(6, 3)
        self.close()  # a snapshot behind the records
        self.open(1, BLOCKS)
        read(self.opened, 1)
        self.put(9, 3)  # the image's short last block too
        self.commit()
        self.opened._store.compact()  # a snapshot in front
        self.close()
        self.open(1, 5)  # blocks move
        for block in (0, 1, 2, 0):
            self.put(block)  # each in the place of another
        self.commit()
        self.close()
        self.open(2, 5)  # another version
        for block in range(7):
            self.put(block)
        self.commit()
        self.give_up()
        self.opened.clear()
        self.put(3, 2)
        self.commit()
        self.opened._store.compact()
        self.storage.quota = self.storage.used + 300
        self.put(8, 3)  # of which none fits
        self.commit()
        self.storage.quota = PLENTY
        self.put(2)
        self.put(5)
        self.close()
        self.update(3)
        assert self.promised, "something was kept"
        self.open(3, 5)
        self.put(6, 2)
        self.close()
        self.update(2)
        self.open(1, 5)
        self.put(4, 2)
        self.close()

    @property
    def opened(self) -> BlockCache:
        assert self.cache is not None
        return self.cache

    def open(self, version: int, limit: int) -> None:
        if version != self.version or limit < len(self.promised):
            self.give_up()
        self.version = version
        self.cache = open_cache(self.storage, version, limit)

    def update(self, version: int) -> None:
        self.before = self.version, set(self.durable)
        kept = self.promised & SHARED
        self.version, self.promised, self.durable = version, set(kept), set(kept)
        self.cache = None
        update(self.storage, version)
        self.before = None

    def put(self, block: int, count: int = 1) -> None:
        self.opened.put(block, bytes_of(self.version, block, count))
        self.keep_to_what_is_stored()

    def commit(self) -> None:
        self.opened.commit(fresh_until=0)
        self.promised = set(self.opened._store.slot_of)

    def close(self) -> None:
        self.opened.close()
        self.promised = set(self.opened._store.slot_of)
        self.durable = set(self.promised)

    def give_up(self) -> None:
        self.promised, self.durable = set(), set()

    def keep_to_what_is_stored(self) -> None:
        if self.cache is not None:
            stored = set(self.cache._store.slot_of)
            self.promised &= stored
            self.durable &= stored


def changes_of_a_life() -> int:
    storage = FailingStorage()
    Life(storage).live()
    return storage.changes


def ended_at(change: int, atom: int) -> Life:
    life = Life(FailingStorage(atom=atom))
    life.storage.cut_power_at(change)
    with pytest.raises(PowerCutError):
        life.live()
    life.keep_to_what_is_stored()
    life.storage.quota = PLENTY
    return life


def check_all_versions(
    storage: FailingStorage,
    version: int,
    promised: set[int],
    before: tuple[int, set[int]] | None,
) -> None:
    """Whichever version the server has by then, no read is wrong."""
    is_there = promised <= found_in(storage, version)
    if before is not None:  # the old version is there as a whole, or what the new one keeps of it
        is_there = is_there or before[1] <= found_in(storage, before[0])
    assert is_there, "what was promised is gone"
    for other in VERSIONS:
        found_in(storage, other)


CHANGES = changes_of_a_life()


def test_the_scenario_is_worth_it():
    assert 100 < CHANGES < 400


@pytest.mark.parametrize("atom", [24, 512])
def test_killed_in_any_change_nothing_committed_is_lost(atom):
    for change in range(1, CHANGES + 1):
        life = ended_at(change, atom)
        for after in all_left_by_kill(life.storage):
            check_all_versions(after, life.version, life.promised, life.before)


@pytest.mark.parametrize("usual", FATES)
def test_with_the_power_cut_in_any_change_nothing_lies_and_what_was_flushed_is_there(usual):
    for change in range(1, CHANGES + 1):
        life = ended_at(change, 512)
        for after in all_left_by_power_cut(life.storage, usual):
            check_all_versions(after, life.version, life.durable, life.before)
