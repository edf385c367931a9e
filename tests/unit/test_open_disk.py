"""Opening: the gate, the options, and which cache a disk gets."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from aero_browser_disk.errors import (
    BaseChangedError,
    EmptyImageError,
    HttpStatusError,
    InvalidOptionError,
    RangeNotSupportedError,
    RemoteImagesDisabledError,
    StorageFullError,
)
from aero_browser_disk.open_disk import open_disk
from aero_browser_disk.platform.cpython import cpython_platform
from aero_browser_disk.platform.memory import MemoryStorage
from aero_browser_disk.remote.retry import RetryPolicy
from aero_browser_disk.streaming.digest_list import digests_of
from aero_browser_disk.testing.behaviour import Behaviour
from aero_browser_disk.testing.synthetic_image import SyntheticImage
from support.samples import IMAGE
from support.waiting import until

BLOCK = 65536
ONCE = RetryPolicy(tries=1)
FRESH = Behaviour(cache_control="public, max-age=300")


class TurnedClock:
    """The time that a test says it is."""

    def __init__(self, now: float) -> None:
        self.time = now

    def now(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.time += seconds


@pytest.fixture
def open_url(platform):
    async def opener(url, **options):
        defaults = {
            "allow_remote": True,
            "platform": platform,
            "read_ahead": False,
            "boot_profile": None,
            "block_size": BLOCK,
            "retry": ONCE,
        }
        return await open_disk(url, **{**defaults, **options})

    return opener


async def test_without_consent_nothing_leaves(server, platform):
    with pytest.raises(RemoteImagesDisabledError):
        await open_disk(server.url("disk.img"), platform=platform)
    assert server.requests == []


@pytest.mark.parametrize("block_size", [0, 1, 512, 65535, -65536, 1 << 24])
async def test_a_block_size_that_cannot_work_is_refused(server, open_url, block_size):
    with pytest.raises(InvalidOptionError) as caught:
        await open_url(server.url("disk.img"), block_size=block_size)
    assert caught.value.option == "block_size"
    assert server.requests == []


async def test_a_negative_limit_is_refused(server, open_url):
    with pytest.raises(InvalidOptionError):
        await open_url(server.url("disk.img"), cache_limit_bytes=-1)


async def test_a_host_without_ranges_is_found_out_at_once(server, open_url):
    server.behaviour = Behaviour(ignore_range=True)
    with pytest.raises(RangeNotSupportedError):
        await open_url(server.url("disk.img"))
    server.wait_for(lambda s: s.in_flight == 0)
    server.behaviour = Behaviour()
    await (await open_url(server.url("disk.img"))).close()


@pytest.mark.parametrize("status", [401, 403, 404, 500])
async def test_a_failed_open_holds_nothing(server, open_url, status):
    server.behaviour = Behaviour(status=status)
    with pytest.raises(HttpStatusError):
        await open_url(server.url("disk.img"))
    server.behaviour = Behaviour()
    disk = await open_url(server.url("disk.img"))
    assert disk.stats().notices == ()
    await disk.close()


async def test_an_empty_image_cannot_be_opened(server, open_url):
    server.add("empty.img", b"")
    with pytest.raises(EmptyImageError):
        await open_url(server.url("empty.img"))


async def test_a_size_that_is_no_multiple_of_a_sector_is_readable_and_said(server, open_url):
    image = SyntheticImage(size=100_001, seed=4)
    server.add("odd.img", image)
    disk = await open_url(server.url("odd.img"))
    assert await disk.read(100_000, 1) == image.read(100_000, 1)
    assert disk.stats().notices == ("odd-size",)
    await disk.close()


# ── the cache between sessions ────────────────────────────────────────────────────────────────────


async def test_a_second_visit_reads_from_the_cache_after_one_look_at_the_version(server, open_url):
    disk = await open_url(server.url("disk.img"))
    await disk.read(0, 4 * BLOCK)
    await disk.close()
    server.forget()
    again = await open_url(server.url("disk.img"))
    assert await again.read(0, 4 * BLOCK) == IMAGE.read(0, 4 * BLOCK)
    assert [r.method for r in server.requests] == ["HEAD"]
    await again.close()


async def test_while_the_version_is_fresh_a_second_visit_takes_no_request(
    server, platform, open_url
):
    clock = TurnedClock(now=1_000_000)
    platform = replace(platform, clock=clock)
    server.behaviour = FRESH
    disk = await open_url(server.url("disk.img"), platform=platform)
    await disk.read(0, 4 * BLOCK)
    await disk.close()
    server.forget()

    clock.time += 299
    again = await open_url(server.url("disk.img"), platform=platform)
    assert await again.read(0, 4 * BLOCK) == IMAGE.read(0, 4 * BLOCK)
    assert server.requests == []
    assert again.info == disk.info
    await again.close()

    clock.time += 2
    await (await open_url(server.url("disk.img"), platform=platform)).close()
    assert [r.method for r in server.requests] == ["HEAD"]


async def test_a_change_ends_freshness(server, open_url):
    server.behaviour = FRESH
    disk = await open_url(server.url("disk.img"))
    await disk.close()
    new = SyntheticImage(size=IMAGE.size, seed=7)
    server.image("disk.img").replace(new)
    stale = await open_url(server.url("disk.img"))
    (failure,) = await asyncio.gather(stale.read(5 * BLOCK, 1), return_exceptions=True)
    assert type(failure).__name__ == "ImageChangedError"
    await stale.close()
    fresh = await open_url(server.url("disk.img"))
    assert await fresh.read(0, IMAGE.size) == new.read(0, IMAGE.size)
    await fresh.close()


async def test_a_fresh_version_is_no_reason_to_refuse_an_overlay(server, open_url):
    work = await open_url(server.url("disk.img"), overlay="work")
    await work.write(512, b"x" * 512)
    await work.close()
    # Something between here and the server leaves the ETag out once, and its response is fresh.
    server.behaviour = replace(FRESH, validators="last-modified")
    await (await open_url(server.url("disk.img"))).close()
    server.behaviour = Behaviour()
    again = await open_url(server.url("disk.img"), overlay="work")
    assert await again.read(512, 512) == b"x" * 512
    await again.close()
    # But the server's word is final.
    server.image("disk.img").replace(SyntheticImage(size=IMAGE.size, seed=7))
    with pytest.raises(BaseChangedError):
        await open_url(server.url("disk.img"), overlay="work")


async def test_a_fresh_version_is_no_reason_to_refuse_a_digest_list(server, open_url):
    server.behaviour = FRESH
    await (await open_url(server.url("disk.img"))).close()
    longer = SyntheticImage(size=IMAGE.size + BLOCK, seed=7)
    server.image("disk.img").replace(longer)
    digests = digests_of(longer.chunks(), chunk_size=16384).encode()
    disk = await open_url(server.url("disk.img"), digests=digests)
    assert await disk.read(0, longer.size) == longer.read(0, longer.size)
    await disk.close()


async def test_a_new_version_finds_nothing_of_the_old_one(server, open_url):
    disk = await open_url(server.url("disk.img"))
    await disk.read(0, IMAGE.size)
    await disk.close()
    new = SyntheticImage(size=IMAGE.size, seed=8)
    server.image("disk.img").replace(new)
    again = await open_url(server.url("disk.img"))
    assert again.stats().cached_blocks == 1  # the first, of the new version
    assert await again.read(0, IMAGE.size) == new.read(0, IMAGE.size)
    await again.close()


async def test_another_block_size_starts_a_cache_of_its_own(server, open_url):
    disk = await open_url(server.url("disk.img"))
    await disk.read(0, 4 * BLOCK)
    await disk.close()
    again = await open_url(server.url("disk.img"), block_size=4096)
    assert again.stats().cached_blocks == 1
    assert await again.read(0, IMAGE.size) == IMAGE.read(0, IMAGE.size)
    await again.close()


async def test_addresses_that_differ_in_their_query_share_nothing(server, open_url):
    disk = await open_url(server.url("disk.img") + "?id=1")
    await disk.read(0, 4 * BLOCK)
    await disk.close()
    other = await open_url(server.url("disk.img") + "?id=2")
    assert other.stats().cached_blocks == 1
    await other.close()


async def test_a_cache_key_names_the_image_where_the_address_changes(server, open_url):
    disk = await open_url(server.url("disk.img") + "?sig=1", cache_key="work")
    await disk.read(0, 4 * BLOCK)
    await disk.close()
    again = await open_url(server.url("disk.img") + "?sig=2", cache_key="work")
    assert again.stats().cached_blocks == 4
    await again.close()


async def test_no_secret_is_stored(server, open_url, tmp_path):
    url = server.url("disk.img").replace("://", "://user:hushhush@") + "?sig=verysecret#hidden"
    disk = await open_url(url, headers={"X-Token": "topsecret"})
    await disk.read(0, BLOCK)
    await disk.close()
    for file in (tmp_path / "storage").rglob("*"):
        kept = (file.name + (file.read_bytes().decode("latin-1") if file.is_file() else "")).lower()
        for secret in ("hushhush", "verysecret", "hidden", "topsecret"):
            assert secret not in kept, file


async def test_headers_and_user_info_go_with_every_request(server, open_url):
    url = server.url("disk.img").replace("://", "://user:pass@")
    disk = await open_url(url, headers={"X-Token": "t"})
    await disk.close()
    assert all(r.headers["authorization"] == "Basic dXNlcjpwYXNz" for r in server.requests)
    assert all(r.headers["x-token"] == "t" for r in server.requests)


# ── where the cache cannot last ───────────────────────────────────────────────────────────────────


async def test_an_image_whose_versions_look_alike_is_cached_for_the_session(server, open_url):
    server.behaviour = Behaviour(validators="weak")
    disk = await open_url(server.url("disk.img"))
    await disk.read(0, 4 * BLOCK)
    stats = disk.stats()
    assert (stats.storage, stats.notices, stats.cached_blocks) == ("memory", ("no-validator",), 4)
    await disk.close()
    again = await open_url(server.url("disk.img"))
    assert again.stats().cached_blocks == 1
    await again.close()


async def test_without_lasting_storage_memory_serves(server, platform, open_url):
    platform = replace(platform, storage=MemoryStorage())
    disk = await open_url(server.url("disk.img"), platform=platform)
    assert await disk.read(0, IMAGE.size) == IMAGE.read(0, IMAGE.size)
    assert disk.stats().storage == "memory"
    assert disk.stats().notices == ("memory-cache",)
    await disk.close()


async def test_a_second_holder_works_and_harms_nothing(server, platform, open_url, tmp_path: Path):
    first = await open_url(server.url("disk.img"))
    await first.read(0, 4 * BLOCK)
    other_tab = cpython_platform(tmp_path / "storage")
    second = await open_url(server.url("disk.img"), platform=other_tab)
    assert await second.read(0, IMAGE.size) == IMAGE.read(0, IMAGE.size)
    assert second.stats().notices == ("cache-busy",)
    await second.close()
    await other_tab.http.close()
    assert await first.read(0, IMAGE.size) == IMAGE.read(0, IMAGE.size)
    await first.close()


async def test_a_holder_that_leaves_in_time_is_waited_for(server, platform, open_url, tmp_path):
    first = await open_url(server.url("disk.img"))
    other_tab = cpython_platform(tmp_path / "storage")
    opening = asyncio.ensure_future(open_url(server.url("disk.img"), platform=other_tab))
    await asyncio.sleep(0)
    await first.close()
    second = await opening
    assert second.stats().storage == "folder"
    await second.close()
    await other_tab.http.close()


class FullStorage(MemoryStorage):
    """A storage that says it is a folder, and has so many bytes of free space."""

    @property
    def kind(self):
        return "folder"


@pytest.mark.parametrize("quota", [0, 5000, 9000, 9000 + BLOCK, 20_000 + 10 * BLOCK])
async def test_a_full_storage_slows_reading_and_does_not_stop_it(server, platform, open_url, quota):
    platform = replace(platform, storage=FullStorage(quota))
    disk = await open_url(server.url("disk.img"), platform=platform, cache_limit_bytes=1 << 30)
    for offset in range(0, IMAGE.size, 5 * BLOCK):
        length = min(7 * BLOCK, IMAGE.size - offset)
        assert await disk.read(offset, length) == IMAGE.read(offset, length)
    assert "storage-full" in disk.stats().notices
    await disk.close()


async def test_a_full_storage_stops_the_keeping_of_the_whole_image(server, platform, open_url):
    storage = FullStorage(9000 + 12 * BLOCK)
    platform = replace(platform, storage=storage)
    asking = {"max_request_bytes": 2 * BLOCK, "cache_limit_bytes": IMAGE.size}
    disk = await open_url(server.url("disk.img"), platform=platform, **asking)
    disk.keep_whole_image()
    await until(lambda: "storage-full" in disk.stats().notices)
    asked = await requests_until_quiet(server, disk)
    assert "storage-full" in disk.stats().notices
    storage.quota = 1 << 30
    disk.keep_whole_image()
    # Not until it is quiet: after a request that failed on a busy machine it rests for seconds.
    await until(lambda: disk.stats().cached_bytes == IMAGE.size)
    assert await requests_until_quiet(server, disk) > asked
    await disk.close()


async def test_the_whole_image_is_not_kept_where_open_caches_have_the_room(
    server, platform, open_url, monkeypatch
):
    monkeypatch.setattr("aero_browser_disk.streaming.cache_growth._STEP", BLOCK)
    platform = replace(platform, storage=FullStorage(2 * IMAGE.size))  # half of it for all caches
    limit = {"platform": platform, "cache_limit_bytes": IMAGE.size}
    first = await open_url(server.url("disk.img"), **limit)
    await first.read(0, IMAGE.size // 2)
    asking = {"max_request_bytes": 2 * BLOCK, "concurrency": 2}
    second = await open_url(server.url("disk.img") + "?second", **limit, **asking)
    second.keep_whole_image()
    await until(lambda: second.stats().notices == ("storage-full",))
    await requests_until_quiet(server, second)
    assert first.stats().cached_bytes + second.stats().cached_bytes <= IMAGE.size + 8 * BLOCK
    await first.close()
    second.keep_whole_image()
    await until(lambda: second.stats().cached_bytes == IMAGE.size)
    assert second.stats().notices == ()
    await second.close()


async def test_what_comes_in_before_there_is_more_room_drives_nothing_out(
    server, open_url, monkeypatch
):
    monkeypatch.setattr("aero_browser_disk.streaming.cache_growth._STEP", BLOCK)
    response = asyncio.Event()

    async def slow(folder, platform, needed):
        if needed > 4 * BLOCK:
            await response.wait()
        return needed

    monkeypatch.setattr("aero_browser_disk.streaming.cache_folder.CacheFolder.make_room", slow)
    disk = await open_url(server.url("disk.img"))
    for offset in range(0, IMAGE.size, 2 * BLOCK):
        await disk.read(offset, 2 * BLOCK)
    assert disk.stats().cached_bytes == IMAGE.size
    response.set()
    await disk.close()


async def requests_until_quiet(server, disk):
    """How many requests the server has had once the disk makes none, and begins none, any more."""
    seen = -1
    while disk.stats().requests_in_flight or seen < len(server.requests):
        seen = len(server.requests)
        assert seen < 4 * IMAGE.size // BLOCK, "the same blocks are asked for again and again"
        for _ in range(50):
            await asyncio.sleep(0)
    return seen


async def test_a_storage_that_breaks_is_left_alone(server, platform, open_url, monkeypatch):
    disk = await open_url(server.url("disk.img"))

    def broken(*_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("aero_browser_disk.platform.cpython.folder_storage.os.preadv", broken)
    monkeypatch.setattr("aero_browser_disk.platform.cpython.folder_storage.os.pwrite", broken)
    assert await disk.read(0, IMAGE.size) == IMAGE.read(0, IMAGE.size)
    assert disk.stats().notices == ("storage-failed",)
    monkeypatch.undo()
    await disk.close()


def test_a_full_storage_error_says_what_to_do():
    assert "cache limit" in str(StorageFullError("blocks"))
