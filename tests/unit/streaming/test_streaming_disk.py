"""The read path over a real server: exact bytes, and no request too many."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aero_browser_disk.errors import (
    DiskClosedError,
    HttpStatusError,
    ImageChangedError,
    InvalidResponseError,
    OutOfRangeError,
)
from aero_browser_disk.open_disk import open_disk
from aero_browser_disk.remote.retry import RetryPolicy
from aero_browser_disk.streaming.streaming_disk import StreamingDisk
from aero_browser_disk.testing.behaviour import Behaviour
from aero_browser_disk.testing.image_server import ImageServer
from aero_browser_disk.testing.synthetic_image import SyntheticImage
from support.samples import IMAGE
from support.storms import LastingStorage

BLOCK = 65536
PLAIN = {"block_size": BLOCK, "read_ahead": False, "retry": RetryPolicy(tries=1)}
KIB = 1024


@pytest.fixture
async def disk(server, platform):
    """`disk.img`, opened; its first block is cached, and the server has forgotten the requests."""
    opened = await open_disk(server.url("disk.img"), allow_remote=True, platform=platform, **PLAIN)
    server.forget()
    yield opened
    await opened.close()


def ranges(server: ImageServer) -> list[tuple[int, int] | None]:
    return sorted(r.byte_range for r in server.requests)


# ── exact bytes ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("offset", "length"),
    [(0, 0), (0, 1), (0, IMAGE.size), (IMAGE.size, 0), (IMAGE.size - 1, 1), (65535, 2), (511, 513)],
)
async def test_any_read_inside_the_disk_is_exact(disk, offset, length):
    assert await disk.read(offset, length) == IMAGE.read(offset, length)


async def test_random_reads_are_exact_whatever_is_cached(platform):
    image = SyntheticImage(size=700_001, seed=5)
    with ImageServer({"odd.img": image}) as server:
        disk = await open_disk(
            server.url("odd.img"),
            allow_remote=True,
            platform=platform,
            block_size=4096,
            cache_limit_bytes=20 * 4096,
        )

        @settings(
            max_examples=80,
            deadline=None,
            suppress_health_check=[HealthCheck.function_scoped_fixture],
        )
        @given(
            st.lists(
                st.tuples(st.integers(0, image.size), st.integers(0, 50_000)),
                min_size=1,
                max_size=5,
            )
        )
        def reads(wanted):
            asked.append(wanted)

        asked: list[list[tuple[int, int]]] = []
        reads()
        for wanted in asked:
            ranges = [(offset, min(length, image.size - offset)) for offset, length in wanted]
            found = await asyncio.gather(*(disk.read(*byte_range) for byte_range in ranges))
            assert found == [image.read(*byte_range) for byte_range in ranges]
            assert disk.stats().cached_bytes <= 20 * 4096
        await disk.close()


@pytest.mark.parametrize(
    ("offset", "length"), [(-1, 1), (0, -1), (0, IMAGE.size + 1), (1 << 60, 1)]
)
async def test_what_lies_outside_is_refused(disk, server, offset, length):
    with pytest.raises(OutOfRangeError) as caught:
        await disk.read(offset, length)
    assert (caught.value.offset, caught.value.length, caught.value.size) == (
        offset,
        length,
        IMAGE.size,
    )
    assert server.requests == []


async def test_what_is_cached_is_read_without_waiting(disk):
    target = bytearray(1000)
    assert not disk.try_read_into(5 * BLOCK - 500, target)
    await disk.read(4 * BLOCK, 2 * BLOCK)
    assert disk.try_read_into(5 * BLOCK - 500, target)
    assert target == IMAGE.read(5 * BLOCK - 500, 1000)


# ── requests ──────────────────────────────────────────────────────────────────────────────────────


async def test_adjacent_missing_blocks_make_one_request(disk, server):
    await disk.read(2 * BLOCK + 5, 3 * BLOCK)
    assert ranges(server) == [(2 * BLOCK, 6 * BLOCK)]


async def test_cached_blocks_are_not_asked_for_again(disk, server):
    await disk.read(3 * BLOCK, BLOCK)
    await disk.read(BLOCK, 5 * BLOCK)
    assert ranges(server) == [(BLOCK, 3 * BLOCK), (3 * BLOCK, 4 * BLOCK), (4 * BLOCK, 6 * BLOCK)]


async def test_concurrent_reads_of_one_block_make_one_request(disk, server):
    found = await asyncio.gather(*(disk.read(7 * BLOCK + i, 100) for i in range(20)))
    assert found == [IMAGE.read(7 * BLOCK + i, 100) for i in range(20)]
    assert ranges(server) == [(7 * BLOCK, 8 * BLOCK)]


async def test_a_read_joins_what_is_under_way_and_asks_for_the_rest(disk, server):
    await asyncio.gather(disk.read(2 * BLOCK, 2 * BLOCK), disk.read(3 * BLOCK, 2 * BLOCK))
    assert ranges(server) == [(2 * BLOCK, 4 * BLOCK), (4 * BLOCK, 5 * BLOCK)]


async def test_a_block_is_served_before_its_request_ends(disk, server):
    server.behaviour = Behaviour(stall_after=BLOCK + 10)
    whole = asyncio.ensure_future(disk.read(2 * BLOCK, 3 * BLOCK))
    first = asyncio.ensure_future(disk.read(2 * BLOCK, 100))  # after `whole` has begun
    assert await asyncio.wait_for(first, timeout=60) == IMAGE.read(2 * BLOCK, 100)
    assert ranges(server) == [(2 * BLOCK, 5 * BLOCK)]
    assert not whole.done()
    server.release()
    assert await whole == IMAGE.read(2 * BLOCK, 3 * BLOCK)


async def test_no_more_requests_run_at_once_than_allowed(disk, server):
    server.behaviour = Behaviour(stall=True)
    reads = [asyncio.ensure_future(disk.read(block * BLOCK, 1)) for block in range(2, 40, 2)]
    await asyncio.to_thread(server.wait_for, lambda s: s.in_flight == 6)
    server.behaviour = Behaviour()
    server.release()
    await asyncio.gather(*reads)
    assert server.max_in_flight == 6


async def test_a_hung_request_delays_only_what_needs_its_blocks(disk, server):
    server.fail_next(Behaviour(stall=True))
    hung = asyncio.ensure_future(disk.read(2 * BLOCK, 1))
    await asyncio.to_thread(server.wait_for, lambda s: s.in_flight == 1)
    assert await disk.read(0, 100) == IMAGE.read(0, 100)
    assert await disk.read(9 * BLOCK, 100) == IMAGE.read(9 * BLOCK, 100)
    assert not hung.done()
    server.release()
    assert await hung == IMAGE.read(2 * BLOCK, 1)


async def test_a_read_larger_than_the_cache_is_whole(server, platform):
    disk = await open_disk(
        server.url("disk.img"),
        allow_remote=True,
        platform=platform,
        cache_limit_bytes=2 * BLOCK,
        **PLAIN,
    )
    assert await disk.read(0, IMAGE.size) == IMAGE.read(0, IMAGE.size)
    assert disk.stats().cached_blocks == 2
    await disk.close()


# ── faults ────────────────────────────────────────────────────────────────────────────────────────


async def test_a_failed_read_keeps_what_arrived_and_the_next_asks_for_the_rest(disk, server):
    server.fail_next(Behaviour(short_by=BLOCK // 2, chunked=True))
    with pytest.raises(InvalidResponseError):
        await disk.read(2 * BLOCK, 3 * BLOCK)
    server.forget()
    assert await disk.read(2 * BLOCK, 3 * BLOCK) == IMAGE.read(2 * BLOCK, 3 * BLOCK)
    assert ranges(server) == [(4 * BLOCK, 5 * BLOCK)]


async def test_every_read_that_waits_for_a_failed_request_hears_of_it(disk, server):
    server.fail_next(Behaviour(status=500))
    results = await asyncio.gather(
        disk.read(2 * BLOCK, 2 * BLOCK), disk.read(3 * BLOCK, 1), return_exceptions=True
    )
    assert [type(r) for r in results] == [HttpStatusError, HttpStatusError]


async def test_a_changed_image_is_not_mixed_and_reopening_takes_the_new_one(disk, server, platform):
    await disk.read(BLOCK, BLOCK)
    new = SyntheticImage(size=IMAGE.size, seed=99)
    server.image("disk.img").replace(new)
    with pytest.raises(ImageChangedError):
        await disk.read(0, 4 * BLOCK)
    assert disk.stats().cached_blocks == 2
    assert await disk.read(0, 2 * BLOCK) == IMAGE.read(0, 2 * BLOCK)
    await disk.close()
    again = await open_disk(server.url("disk.img"), allow_remote=True, platform=platform)
    assert await again.read(0, 4 * BLOCK) == new.read(0, 4 * BLOCK)
    await again.close()


async def test_a_failed_read_gives_its_other_requests_up(server, platform):
    big = SyntheticImage(size=64 * 1024 * KIB, seed=2)
    server.add("big.img", big)
    disk = await open_disk(server.url("big.img"), allow_remote=True, platform=platform, **PLAIN)
    server.fail_next(Behaviour(status=503))
    server.image("big.img").behaviour = Behaviour(stall=True)
    with pytest.raises(HttpStatusError):
        await disk.read(BLOCK, 60 * 1024 * KIB)
    await asyncio.to_thread(server.wait_for, lambda s: s.in_flight == 0)
    assert disk.stats().requests_in_flight == 0
    await disk.close()


# ── cancellation ──────────────────────────────────────────────────────────────────────────────────


async def cancel(read: asyncio.Future) -> None:
    read.cancel()
    with pytest.raises(asyncio.CancelledError):
        await read


async def test_a_cancelled_read_releases_its_request(disk, server):
    server.behaviour = Behaviour(stall_after=100)
    read = asyncio.ensure_future(disk.read(2 * BLOCK, BLOCK))
    await asyncio.to_thread(server.wait_for, lambda s: s.in_flight == 1)
    await cancel(read)
    await asyncio.to_thread(server.wait_for, lambda s: s.requests[-1].aborted)
    server.behaviour = Behaviour()
    assert await disk.read(2 * BLOCK, BLOCK) == IMAGE.read(2 * BLOCK, BLOCK)


async def test_a_request_that_another_read_waits_for_goes_on(disk, server):
    server.behaviour = Behaviour(stall=True)
    first = asyncio.ensure_future(disk.read(2 * BLOCK, BLOCK))
    second = asyncio.ensure_future(disk.read(2 * BLOCK + 7, 10))
    await asyncio.to_thread(server.wait_for, lambda s: s.in_flight == 1)
    await cancel(first)
    server.release()
    assert await second == IMAGE.read(2 * BLOCK + 7, 10)
    assert len(server.requests) == 1


async def test_a_cancelled_read_leaves_its_target_alone(disk, server):
    server.behaviour = Behaviour(stall=True)
    target = bytearray(b"\xaa" * 100)
    first = asyncio.ensure_future(disk.read_into(2 * BLOCK, target))
    second = asyncio.ensure_future(disk.read(2 * BLOCK, 1))
    await asyncio.to_thread(server.wait_for, lambda s: s.in_flight == 1)
    await cancel(first)
    server.release()
    await second
    assert target == b"\xaa" * 100


# ── closing and clearing ──────────────────────────────────────────────────────────────────────────


async def test_closing_fails_what_is_under_way_and_everything_after(disk: StreamingDisk, server):
    server.behaviour = Behaviour(stall=True)
    read = asyncio.ensure_future(disk.read(2 * BLOCK, 1))
    await asyncio.to_thread(server.wait_for, lambda s: s.in_flight == 1)
    await disk.close()
    await disk.close()
    for attempt in (read, disk.read(0, 1), disk.clear_cache()):
        with pytest.raises(DiskClosedError):
            await attempt
    with pytest.raises(DiskClosedError):
        disk.try_read_into(0, bytearray(1))
    await asyncio.to_thread(server.wait_for, lambda s: s.in_flight == 0)


async def test_a_cleared_cache_is_filled_anew(disk, server):
    await disk.read(0, 2 * BLOCK)
    await disk.clear_cache()
    assert disk.stats().cached_bytes == 0
    server.forget()
    assert await disk.read(0, 2 * BLOCK) == IMAGE.read(0, 2 * BLOCK)
    assert ranges(server) == [(0, 2 * BLOCK)]


async def test_stats_count_what_happened(disk, server):
    before = disk.stats()
    await disk.read(2 * BLOCK, 2 * BLOCK)
    await disk.read(2 * BLOCK, BLOCK)
    await asyncio.to_thread(server.wait_for, lambda s: s.in_flight == 0)
    stats = disk.stats()
    assert stats.requests - before.requests == len(server.requests) == 1
    assert stats.bytes_downloaded - before.bytes_downloaded == 2 * BLOCK
    assert stats.blocks_downloaded - before.blocks_downloaded == 2
    assert stats.bytes_read == 3 * BLOCK
    assert (stats.hits, stats.misses) == (1, 2)
    assert stats.cached_blocks == 3
    assert stats.storage == "folder"


async def test_a_block_that_storage_gives_the_second_time_is_read(server, platform):
    """A read that found nothing missing at its second look waited for ever."""
    storage = LastingStorage()
    outside = replace(platform, storage=storage)
    disk = await open_disk(server.url("disk.img"), allow_remote=True, platform=outside, **PLAIN)
    storage.fail("read")
    async with asyncio.timeout(10):
        assert await disk.read(0, 100) == IMAGE.read(0, 100)
    await disk.close()
