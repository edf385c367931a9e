"""A snapshot of a store reads as the store did, whatever is written meanwhile."""

from __future__ import annotations

from contextlib import suppress
from random import Random

import pytest

from aero_browser_disk.errors import StorageError, StorageFullError
from aero_browser_disk.platform.cpython import FolderStorage
from aero_browser_disk.platform.memory import MemoryStorage
from aero_browser_disk.writable.range_set import RangeSet
from aero_browser_disk.writable.sector_journal import Contents
from aero_browser_disk.writable.sector_store import SectorStore
from aero_browser_disk.writable.store_snapshot import SnapshotLostError
from support.small_device import filled_device, small_device

SIZE = 4 << 20
GRANULE = 4096


async def new_store(storage=None):
    return await SectorStore.create(storage or MemoryStorage(), "sectors", Contents(SIZE, "0" * 32))


def read(source):
    """The content of a store or a snapshot, and what of it was never written."""
    found = bytearray(SIZE)
    return source.read_into(0, found), bytes(found)


def change(store, random):
    """One change of any kind."""
    offset = random.randrange(SIZE // 512) * 512
    length = min(SIZE - offset, random.choice([512, 1024, 4096, 70_000, 300_000]))
    match random.randrange(8):
        case 0:
            store.discard(offset, length, hide=random.random() < 0.5)
        case 1:
            store.commit()
        case 2 if random.random() < 0.2:
            store.compact()
        case 3 if random.random() < 0.05:
            store.clear(None)
        case _:
            store.write(offset, random.randbytes(length))


@pytest.mark.parametrize("seed", range(12))
async def test_a_snapshot_is_the_store_at_one_commit(seed):
    random = Random(seed)
    store = await new_store()
    for _ in range(40):
        change(store, random)
    first = store.snapshot()
    before = read(store)
    for _ in range(60):
        change(store, random)
        if random.random() < 0.2:
            assert read(first) == before
    second = store.snapshot()
    between = read(store)
    for _ in range(60):
        change(store, random)
    store.commit()
    assert read(first) == before
    first.close()
    assert read(second) == between
    second.close()
    second.close()
    store.close()


@pytest.mark.parametrize("seed", range(6))
async def test_what_changed_since_is_watched(seed):
    random = Random(seed)
    store = await new_store()
    for _ in range(30):
        change(store, random)
    with store.snapshot() as first:
        changed = RangeSet()
        end = store.watch(changed)
        missing, before = read(first)
    for _ in range(30):
        change(store, random)
    with store.snapshot() as second:
        missing_now, after = read(second)
    end()
    store.write(0, bytes(512))
    store.commit()
    differing = {
        at // GRANULE
        for at in range(0, SIZE, GRANULE)
        if before[at : at + GRANULE] != after[at : at + GRANULE]
    }
    assert all(granule in changed for granule in differing)
    if missing != missing_now:
        assert changed
    store.close()


async def test_the_file_does_not_grow_once_snapshots_are_closed():
    store = await new_store()
    lengths = []
    for letter in range(40):
        with store.snapshot():
            for at in range(0, 1 << 20, 1 << 16):
                store.write(at, bytes([letter]) * (1 << 16))
            store.commit()
        lengths.append(store.file_bytes)
    assert max(lengths) < 5 << 20
    store.close()


@pytest.mark.parametrize("kind", ["tmpfs", "ext4"])
async def test_on_a_full_device_writes_go_first(tmp_path, kind):
    """A full disk takes overwrites all the same. The snapshot reads as it did, or not at all."""
    with small_device(tmp_path, kind, 8 << 20) as folder:
        storage = FolderStorage(folder / "disk")
        store = await SectorStore.create(storage, "sectors", Contents(64 << 20, "0" * 32))
        random, written = Random(1), {}
        with suppress(StorageFullError):
            while True:
                at = random.randrange(16 << 20) // GRANULE * GRANULE
                data = random.randbytes(GRANULE)
                store.write(at, data)
                written[at] = data
        with filled_device(folder):
            snapshot = store.snapshot()
            before = dict(written)
            for _ in range(3):
                for at in random.sample(sorted(written), 60):
                    written[at] = random.randbytes(GRANULE)
                    store.write(at, written[at])
                store.commit()
            for at, data in before.items():
                found = bytearray(GRANULE)
                with suppress(SnapshotLostError):
                    snapshot.read_into(at, found)
                    assert found == data
            for at, data in written.items():
                found = bytearray(GRANULE)
                assert store.read_into(at, found) == []
                assert found == data
            with pytest.raises(SnapshotLostError):
                snapshot.read_into(0, bytearray(GRANULE))
            snapshot.close()
        store.close()


async def test_a_snapshot_of_a_closed_store_is_an_error(tmp_path):
    store = await new_store(FolderStorage(tmp_path))
    store.write(0, b"a" * GRANULE)
    snapshot = store.snapshot()
    store.close()
    with pytest.raises(StorageError):
        snapshot.read_into(0, bytearray(GRANULE))
    snapshot.close()
