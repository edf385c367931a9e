"""Several tabs with one image: one holds the files, the others read through it and take over."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from aero_browser_disk.open_disk import open_disk
from aero_browser_disk.platform.base import Platform
from aero_browser_disk.platform.memory import MemoryChannels, MemoryLocks
from aero_browser_disk.remote.retry import RetryPolicy
from aero_browser_disk.streaming.digest_list import digests_of
from aero_browser_disk.streaming.tab_sharing import BlockServer
from aero_browser_disk.testing.behaviour import Behaviour
from aero_browser_disk.testing.synthetic_image import SyntheticImage
from support.lasting_storage import LastingStorage
from support.samples import IMAGE
from support.waiting import until

BLOCK = 65536


class CountedChannels(MemoryChannels):
    """Counts what is said."""

    def __init__(self) -> None:
        super().__init__()
        self.said = 0

    def open(self, name, hear):
        end = super().open(name, hear)
        send = end.send

        def counted(message):
            self.said += 1
            send(message)

        end.send = counted
        return end


@pytest.fixture
def browser(platform) -> Platform:
    """What the tabs of one browser share."""
    return replace(
        platform, storage=LastingStorage(), locks=MemoryLocks(), channels=CountedChannels()
    )


@pytest.fixture
async def open_tab(server, browser, monkeypatch):
    monkeypatch.setattr("aero_browser_disk.streaming.cache_folder._TAB_LEAVES_WITHIN_S", 0.01)
    opened = []

    async def opener(**options):
        defaults = {
            "allow_remote": True,
            "platform": browser,
            "block_size": BLOCK,
            "read_ahead": False,
            "boot_profile": None,
            "retry": RetryPolicy(tries=1),
        }
        disk = await open_disk(server.url("disk.img"), **{**defaults, **options})
        opened.append(disk)
        return disk

    yield opener
    for disk in opened:
        await disk.close()


def gets(server):
    return [r.byte_range for r in server.requests if r.method == "GET"]


async def test_a_second_tab_downloads_nothing_that_the_first_has(server, open_tab):
    first = await open_tab()
    await first.read(0, 8 * BLOCK)
    server.forget()
    second = await open_tab()
    assert await second.read(100, 7 * BLOCK) == IMAGE.read(100, 7 * BLOCK)
    assert gets(server) == []
    assert second.stats().notices == ("shared-cache",)


async def test_what_the_second_tab_asks_for_is_kept_by_the_first(server, open_tab):
    first = await open_tab()
    second = await open_tab()
    server.forget()
    assert await second.read(5 * BLOCK, 20 * BLOCK) == IMAGE.read(5 * BLOCK, 20 * BLOCK)
    assert await first.read(5 * BLOCK, 20 * BLOCK) == IMAGE.read(5 * BLOCK, 20 * BLOCK)
    assert sum(stop - start for start, stop in gets(server)) == 20 * BLOCK


async def test_the_second_tab_takes_over_when_the_first_goes(server, open_tab):
    first = await open_tab()
    await first.read(0, 4 * BLOCK)
    second = await open_tab()
    await second.read(6 * BLOCK, BLOCK)
    await first.close()
    await until(lambda: second.stats().storage == "opfs")
    assert second.stats().notices == ()
    server.forget()
    assert await second.read(0, 4 * BLOCK) == IMAGE.read(0, 4 * BLOCK)
    assert await second.read(6 * BLOCK, BLOCK) == IMAGE.read(6 * BLOCK, BLOCK)
    assert gets(server) == []
    third = await open_tab()
    assert await third.read(0, 4 * BLOCK) == IMAGE.read(0, 4 * BLOCK)
    assert gets(server) == []


async def test_a_tab_with_digests_takes_over_only_what_they_confirm(server, open_tab):
    server.behaviour = Behaviour(corrupt_at=3 * BLOCK + 7)
    first = await open_tab()
    await first.read(0, 6 * BLOCK)
    server.behaviour = Behaviour()
    second = await open_tab(digests=digests_of(IMAGE.chunks()).encode())
    await first.close()
    await until(lambda: second.stats().storage == "opfs")
    server.forget()
    assert await second.read(0, 6 * BLOCK) == IMAGE.read(0, 6 * BLOCK)
    assert gets(server) == [(3 * BLOCK, 4 * BLOCK)]


async def test_a_read_under_way_survives_the_holder(server, open_tab):
    first = await open_tab()
    second = await open_tab()
    server.fail_next(Behaviour(stall=True))
    read = asyncio.ensure_future(second.read(9 * BLOCK, 2 * BLOCK))
    await asyncio.to_thread(server.wait_for, lambda s: s.in_flight == 1)
    await first.close()
    assert await read == IMAGE.read(9 * BLOCK, 2 * BLOCK)


async def test_a_holder_that_fails_is_no_error_of_the_second_tab(server, open_tab):
    await open_tab()
    second = await open_tab()
    server.fail_next(Behaviour(status=500))
    assert await second.read(9 * BLOCK, 10) == IMAGE.read(9 * BLOCK, 10)


async def test_another_version_is_not_taken_from_the_holder(server, open_tab):
    first = await open_tab()
    await first.read(0, 4 * BLOCK)
    new = SyntheticImage(size=IMAGE.size, seed=50)
    server.image("disk.img").replace(new)
    second = await open_tab()
    assert await second.read(0, 4 * BLOCK) == new.read(0, 4 * BLOCK)
    assert await first.read(0, 4 * BLOCK) == IMAGE.read(0, 4 * BLOCK)


async def test_a_cancelled_read_is_given_up_at_the_holder_too(server, open_tab):
    await open_tab()
    second = await open_tab()
    server.fail_next(Behaviour(stall=True))
    read = asyncio.ensure_future(second.read(9 * BLOCK, 10))
    await asyncio.to_thread(server.wait_for, lambda s: s.in_flight == 1)
    read.cancel()
    await asyncio.to_thread(server.wait_for, lambda s: s.in_flight == 0)


async def test_many_tabs_read_the_same_bytes(server, open_tab):
    tabs = [await open_tab() for _ in range(4)]
    ranges = [(i * 40_000, 90_000) for i in range(30)]
    found = await asyncio.gather(
        *(tabs[i % 4].read(*byte_range) for i, byte_range in enumerate(ranges) for _ in range(2))
    )
    expected = [IMAGE.read(*byte_range) for byte_range in ranges for _ in range(2)]
    assert found == expected


async def test_different_images_never_wait_for_one_another(server, browser, open_tab):
    server.add("other.img", IMAGE)
    await open_tab()
    server.image("disk.img").behaviour = Behaviour(stall=True)
    other = await open_disk(server.url("other.img"), allow_remote=True, platform=browser)
    assert await other.read(0, BLOCK) == IMAGE.read(0, BLOCK)
    await other.close()


async def test_a_holder_that_closes_before_it_began_to_serve_says_so(browser):
    """Else the reader would wait 10 s for nothing."""
    heard = []
    reader = browser.channels.open("image", heard.append)
    server = BlockServer(browser.channels, "image", None)
    reader.send({"ask": 1, "from": "me", "version": "v", "start": 0, "stop": BLOCK})
    await asyncio.sleep(0)  # the holder hears of it, and its task has not begun
    server.close()
    await asyncio.sleep(0)
    assert heard == [{"to": "me", "ask": 1, "failed": 1}]


async def test_a_question_that_is_given_up_before_it_was_begun_ends(browser):
    heard = []
    reader = browser.channels.open("image", heard.append)
    server = BlockServer(browser.channels, "image", None)
    reader.send({"ask": 1, "from": "me", "version": "v", "start": 0, "stop": BLOCK})
    reader.send({"leave": 1, "from": "me"})
    for _ in range(4):
        await asyncio.sleep(0)
    assert heard == [{"to": "me", "ask": 1, "failed": 1}]
    server.close()


async def test_an_opening_that_is_cancelled_lets_its_lock_go(server, browser, monkeypatch):
    opening = asyncio.Event()

    async def hangs(storage, folder):
        opening.set()
        await asyncio.Event().wait()

    monkeypatch.setattr("aero_browser_disk.streaming.cache_folder.BlockStore.open", hangs)
    task = asyncio.ensure_future(
        open_disk(server.url("disk.img"), allow_remote=True, platform=browser)
    )
    await opening.wait()
    task.cancel()
    await asyncio.wait({task})
    assert not await browser.locks.held(browser.locks._locks)


async def test_a_closing_that_is_cancelled_lets_its_files_go(server, browser, open_tab):
    disk = await open_tab()
    closing = asyncio.ensure_future(disk.close())
    await asyncio.sleep(0)
    closing.cancel()
    await asyncio.wait({closing})
    assert not await browser.locks.held(browser.locks._locks)
    assert browser.storage.held == set()
