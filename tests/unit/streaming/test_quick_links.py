"""On a quick link requests are rounded up, as long as reads come back to what is fetched so."""

from __future__ import annotations

import random
from typing import Protocol

import pytest

from aero_browser_disk.cache.block_cache import BlockCache
from aero_browser_disk.cache.block_store import BlockStore, StoredImage
from aero_browser_disk.platform.byte_range import ByteRange
from aero_browser_disk.platform.memory import MemoryStorage
from aero_browser_disk.remote.remote_image import Traffic
from aero_browser_disk.streaming.block_fetch import Arrived
from aero_browser_disk.streaming.boot_profile import BootProfile
from aero_browser_disk.streaming.request_times import TimedSource
from aero_browser_disk.streaming.streaming_disk import StreamingDisk
from aero_browser_disk.testing.synthetic_image import SyntheticImage
from support.waiting import until

KIB = 1024
BLOCK, UNIT = 16 * KIB, 192 * KIB
IMAGE = SyntheticImage(128 << 20, seed=9)
QUICK_S, SLOW_S = 0.004, 0.040


class Link:
    """A server behind a link, with a clock that each request moves on: `RangeSource` and `Clock`.

    `ServerImage` too, as far as a disk needs one.
    """

    fresh_for_s = 0.0
    changed = False
    confirmed = True

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.ranges: list[ByteRange] = []
        self.traffic = Traffic()
        self._now = 1_000_000.0

    async def fetch(self, byte_range: ByteRange, deliver: Arrived) -> None:
        self._now += self.seconds
        self.traffic.requests += 1
        self.ranges.append(byte_range)
        deliver(byte_range.start, memoryview(IMAGE.read(byte_range.start, byte_range.length)))

    def now(self) -> float:
        return self._now

    async def sleep(self, seconds: float) -> None:
        self._now += seconds


class Open(Protocol):
    """Opens the image over a link."""

    async def __call__(self, link: Link, profile: BootProfile | None = None) -> StreamingDisk: ...


@pytest.fixture
async def open_over():
    opened: list[StreamingDisk] = []

    async def make(link: Link, profile: BootProfile | None = None) -> StreamingDisk:
        store = await BlockStore.open(MemoryStorage(), "cache")
        cache = BlockCache(store, StoredImage(IMAGE.size, '"1"', BLOCK), IMAGE.size)
        disk = StreamingDisk(link, cache, link, source=link, storage="memory", profile=profile)
        opened.append(disk)
        return opened[-1]

    yield make
    for disk in opened:
        await disk.close()


async def read_files(disk: StreamingDisk, count: int = 40) -> None:
    """Reads files all over the image, two of them in each unit, as a boot does."""
    units = random.Random(1).sample(range(0, 400, 3), count)
    for unit in units:
        for block in (0, 8):
            at = unit * UNIT + block * BLOCK
            assert await disk.read(at, 3 * BLOCK) == IMAGE.read(at, 3 * BLOCK)


def is_rounded(byte_range: ByteRange) -> bool:
    return byte_range.start % UNIT == 0 and byte_range.stop % UNIT == 0


async def test_requests_are_rounded_up_on_a_quick_link_once_it_is_known_to_be_one(open_over: Open):
    link = Link(QUICK_S)
    await read_files(await open_over(link))
    assert not is_rounded(link.ranges[0])
    assert all(is_rounded(found) for found in link.ranges[-10:])


async def test_requests_stay_as_they_are_on_other_links(open_over: Open):
    link = Link(SLOW_S)
    await read_files(await open_over(link))
    assert not any(is_rounded(found) for found in link.ranges)


async def test_a_quick_link_takes_fewer_requests(open_over: Open):
    quick, slow = Link(QUICK_S), Link(SLOW_S)
    for link in (quick, slow):
        await read_files(await open_over(link), 100)
    assert len(quick.ranges) < len(slow.ranges)


async def test_a_link_that_gets_slower_is_no_quick_link_any_more(open_over: Open):
    link = Link(QUICK_S)
    disk = await open_over(link)
    await read_files(disk)
    link.seconds = SLOW_S
    for number in range(20):
        await disk.read((401 + 7 * number) * UNIT, BLOCK)
    assert not is_rounded(link.ranges[-1])


async def test_single_pages_all_over_the_image_are_not_rounded_up(open_over: Open):
    link = Link(QUICK_S)
    disk = await open_over(link)
    await read_files(disk)
    chance = random.Random(3)
    for _ in range(150):
        await disk.read(chance.randrange(IMAGE.size // 4096) * 4096, 4096)
    assert sum(found.length for found in link.ranges[-20:]) <= 20 * 2 * BLOCK


async def test_a_rounded_request_leaves_out_what_is_cached_or_under_way(open_over: Open):
    link = Link(QUICK_S)
    disk = await open_over(link)
    await read_files(disk)
    fetched: set[int] = set()
    for found in link.ranges:
        blocks = set(range(found.start // BLOCK, -(-found.stop // BLOCK)))
        assert not blocks & fetched
        fetched |= blocks


async def test_only_the_blocks_of_a_boot_profile_are_requested_while_it_is_fetched(open_over: Open):
    link = Link(QUICK_S)
    blocks = [unit * UNIT // BLOCK + at for unit in range(0, 200, 2) for at in range(3, 8)]
    disk = await open_over(link, BootProfile(IMAGE.size, '"1"', BLOCK, tuple(blocks)))
    await disk.read(blocks[0] * BLOCK, 1)
    await until(lambda: sum(found.length for found in link.ranges) >= len(blocks) * BLOCK)
    fetched = {at // BLOCK for found in link.ranges for at in range(found.start, found.stop, BLOCK)}
    assert fetched == set(blocks)


@pytest.mark.parametrize("length", [4 * KIB, 2048 * KIB])
async def test_the_time_of_a_very_short_or_long_request_does_not_count(length: int):
    link = Link(QUICK_S)
    timed = TimedSource(link, link, lambda: link.traffic.requests)
    for _ in range(30):
        await timed.fetch(ByteRange(0, length), lambda *_: None)
    assert not timed.is_quick


async def test_what_took_no_request_does_not_count():
    class Zeros(Link):
        async def fetch(self, byte_range: ByteRange, deliver: Arrived) -> None:
            await self.sleep(0.001)

    link = Zeros(0)
    timed = TimedSource(link, link, lambda: link.traffic.requests)
    for _ in range(30):
        await timed.fetch(ByteRange(0, 256 * KIB), lambda *_: None)
    assert not timed.is_quick


async def test_a_clock_that_was_set_back_does_not_count():
    class SetBack(Link):
        async def fetch(self, byte_range: ByteRange, deliver: Arrived) -> None:
            await self.sleep(-1)
            await super().fetch(byte_range, deliver)

    link = SetBack(QUICK_S)
    timed = TimedSource(link, link, lambda: link.traffic.requests)
    for _ in range(30):
        await timed.fetch(ByteRange(0, 256 * KIB), lambda *_: None)
    assert not timed.is_quick
