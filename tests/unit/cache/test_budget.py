"""The caches of all images together: who goes when a new one grows."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from aero_browser_disk.cache.budget import CacheBudget
from aero_browser_disk.open_disk import open_disk
from aero_browser_disk.platform.memory import MemoryLocks, MemoryStorage
from aero_browser_disk.testing.synthetic_image import SyntheticImage
from support.lasting_storage import LastingStorage

MIB = 1 << 20


@pytest.fixture
def storage():
    return MemoryStorage()


@pytest.fixture
def locks():
    return MemoryLocks()


async def fill(storage, folder, size, used_at):
    file = await storage.open(f"cache/{folder}/blocks")
    file.write(bytes(size), 0)
    file.close()
    storage.modified[f"cache/{folder}/blocks"] = used_at


async def test_the_least_recently_used_goes_first_and_only_as_many_as_needed(storage, locks):
    for name, used_at in (("b", 2), ("a", 1), ("c", 3)):
        await fill(storage, name, 1000, used_at)
    budget = CacheBudget(storage, locks, total=3500)
    assert await budget.make_room("cache/new", 1200) == 1500
    assert [cache.folder for cache in await budget.caches()] == ["cache/b", "cache/c"]


async def test_nothing_goes_while_all_fits(storage, locks):
    await fill(storage, "a", 1000, 1)
    assert await CacheBudget(storage, locks, total=3000).make_room("cache/new", 2000) == 2000
    assert len(storage.files) == 1


async def test_a_cache_that_is_open_stays(storage, locks):
    await fill(storage, "a", 1000, 1)
    lock = await locks.acquire("cache/a", 1)
    budget = CacheBudget(storage, locks, total=1500)
    assert await budget.make_room("cache/new", 1000) == 500
    lock.release()
    assert await budget.make_room("cache/new", 1000) == 1500
    assert storage.files == {}


async def test_the_cache_that_grows_is_never_removed(storage, locks):
    await fill(storage, "a", 1000, 1)
    assert await CacheBudget(storage, locks, total=500).make_room("cache/a", 1000) == 500
    assert len(storage.files) == 1


async def test_opening_images_one_after_the_other_keeps_to_the_limit(server, platform):
    browser = replace(platform, storage=LastingStorage(quota=20 * MIB), locks=MemoryLocks())
    for seed in range(4):
        image = SyntheticImage(size=6 * MIB, seed=seed)
        server.add(f"{seed}.img", image)
        disk = await open_disk(server.url(f"{seed}.img"), allow_remote=True, platform=browser)
        assert await disk.read(0, image.size) == image.read(0, image.size)
        await disk.close()
        await asyncio.sleep(0)
        assert browser.storage.used() <= 10 * MIB


async def test_images_that_are_open_together_keep_to_the_limit(server, platform):
    browser = replace(platform, storage=LastingStorage(quota=160 * MIB), locks=MemoryLocks())
    disks = []
    for seed in range(3):
        image = SyntheticImage(size=60 * MIB, seed=seed)
        server.add(f"{seed}.img", image)
        url = server.url(f"{seed}.img")
        disks.append(await open_disk(url, allow_remote=True, platform=browser, read_ahead=False))
    for start in range(0, 60 * MIB, 4 * MIB):
        for seed, disk in enumerate(disks):
            expected = SyntheticImage(size=60 * MIB, seed=seed).read(start, 4 * MIB)
            assert await disk.read(start, 4 * MIB) == expected
            await asyncio.sleep(0)
    # Half of the quota, and what each of them had been promised when the others took the rest.
    assert browser.storage.used() <= (80 + 3 * 16 + 1) * MIB
    for disk in disks:
        await disk.close()
