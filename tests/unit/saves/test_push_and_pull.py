"""Saves: pushed from one device, pulled on another, against a real server of the protocol."""

from __future__ import annotations

import asyncio
import contextlib
import random

import pytest

from aero_browser_disk import open_disk
from aero_browser_disk.errors import (
    DamagedSaveError,
    InvalidOptionError,
    NameTakenError,
    NetworkError,
    NoSuchSaveError,
    RemoteImagesDisabledError,
    SaveBaseError,
    SaveConflictError,
    SaveRefusedError,
)
from aero_browser_disk.library.library import Library
from aero_browser_disk.platform.cpython import cpython_platform
from aero_browser_disk.remote.retry import RetryPolicy
from aero_browser_disk.saves import SaveServer
from aero_browser_disk.testing.synthetic_image import SyntheticImage
from support.samples import IMAGE
from support.saves import Save, SaveService

AT_ONCE = RetryPolicy(tries=3, base_s=0.0, cap_s=0.0)


@pytest.fixture
def service():
    with SaveService() as started:
        yield started


@pytest.fixture
async def platforms(tmp_path):
    """Two devices."""
    made = [cpython_platform(tmp_path / name) for name in ("one", "two")]
    yield made
    for platform in made:
        await platform.http.close()


@pytest.fixture
def opened(server, platforms):
    async def open_one(device=0, overlay="work"):
        url = server.url("disk.img")
        return await open_disk(url, overlay=overlay, allow_remote=True, platform=platforms[device])

    return open_one


@pytest.fixture
def saves(service, platforms):
    async def open_one(device=0, **options):
        return await SaveServer.open(
            service.url,
            allow_remote=True,
            platform=platforms[device],
            retry=AT_ONCE,
            device=f"device {device}",
            **options,
        )

    return open_one


@contextlib.contextmanager
def lost_manifest(service):
    """The next manifest arrives, after one chunk, and no response to it comes."""
    service.faults.extend([("PUT", "ok"), *[("PUT", "lost")] * 20])
    with pytest.raises(NetworkError):
        yield
    service.faults.clear()


async def content_of(disk):
    return await disk.read(0, disk.info.size)


WRITES = [
    (0, b"first sector".ljust(512, b"!")),
    (5000, b"some bytes in the middle"),
    (100_000, bytes(9000)),
    (300_000, random.Random(1).randbytes(150_000)),
    (IMAGE.size - 700, b"e" * 700),
]


async def test_what_one_device_pushed_another_pulls(server, service, opened, saves, platforms):
    async with await opened() as disk, await saves() as there:
        for offset, data in WRITES:
            await disk.write(offset, data)
        await disk.discard(40_960, 8192)
        pushed = await there.push(disk)
        expected = await content_of(disk)
    assert (pushed.generation, pushed.unchanged) == (1, False)

    async with await saves(1) as there:
        (found,) = await there.saves()
        assert (found.name, found.generation, found.device) == ("work", 1, "device 0")
        entry = await there.pull("work", "theirs", url=server.url("disk.img"))
        assert (entry.name, entry.state) == ("theirs", "ready")
    async with await opened(1, "theirs") as disk:
        assert await content_of(disk) == expected


async def test_a_second_push_costs_what_changed(service, opened, saves):
    async with await opened() as disk, await saves() as there:
        await disk.write(0, random.Random(2).randbytes(600_000))
        save = await there.attach(disk)
        first = await save.push()
        await disk.write(4096 * 20, random.Random(3).randbytes(4096 * 3))
        await disk.flush()
        second = await save.push()
        again = await save.push()
        save.close()
    assert first.changed_bytes >= 600_000
    assert second.changed_bytes == 4096 * 3
    assert second.chunk_bytes <= 1.1 * 4096 * 3
    assert again.unchanged
    assert again.generation == second.generation == 2


@pytest.mark.parametrize("between", [False, True], ids=["nothing", "a write"])
async def test_a_push_after_reopening_sends_only_changes(service, opened, saves, between):
    data = random.Random(4).randbytes(400_000)
    async with await opened() as disk, await saves() as there:
        await disk.write(0, data)
        await there.push(disk)
    if between:
        async with await opened() as disk:
            await disk.write(0, data[:4096])  # the same again
            await disk.write(8192, b"x" * 4096)
    async with await opened() as disk, await saves() as there:
        pushed = await there.push(disk)
        assert pushed.unchanged is not between
        assert pushed.changed_bytes == (4096 if between else 0)


async def test_a_pulled_save_is_pushed_on(server, service, opened, saves):
    async with await opened() as disk, await saves() as there:
        await disk.write(0, random.Random(5).randbytes(300_000))
        await there.push(disk)
    async with await saves(1) as there:
        await there.pull("work", "work", url=server.url("disk.img"))
        async with await opened(1) as disk:
            await disk.write(4096, b"y" * 4096)
            pushed = await there.push(disk)
    assert (pushed.generation, pushed.changed_bytes) == (2, 4096)
    assert len(service.saves) == 1


async def test_two_devices_conflict_and_nothing_is_lost(server, service, opened, saves):
    async with await opened() as disk, await saves() as there:
        await disk.write(0, b"a" * 4096)
        await there.push(disk)
    async with await saves(1) as there:
        await there.pull("work", "work", url=server.url("disk.img"))
        async with await opened(1) as disk:
            await disk.write(4096, b"theirs" * 100)
            await there.push(disk)
            theirs = await content_of(disk)
    async with await opened() as disk, await saves() as there:
        await disk.write(8192, b"mine" * 100)
        mine = await content_of(disk)
        with pytest.raises(SaveConflictError) as caught:
            await there.push(disk)
        error = caught.value
        assert (error.mine_generation, error.theirs_generation) == (1, 2)
        assert (error.mine_device, error.theirs_device) == ("device 0", "device 1")
        assert await content_of(disk) == mine
        assert len(service.only.manifests) == 2
        # The ways on: mine as a save of its own, and theirs next to mine.
        kept = await there.push(disk, "mine")
        assert kept.generation == 1
        await there.pull("work", "theirs", url=server.url("disk.img"))
    async with await opened(0, "theirs") as disk:
        assert await content_of(disk) == theirs
    async with await opened() as disk:
        assert await content_of(disk) == mine


async def test_a_conflict_that_begins_during_a_session(server, service, opened, saves):
    async with await opened() as disk, await saves() as there, await saves(1) as others:
        await disk.write(0, b"a" * 4096)
        save = await there.attach(disk)
        await save.push()
        await others.pull("work", "work", url=server.url("disk.img"))
        async with await opened(1) as theirs:
            await theirs.write(0, b"b" * 4096)
            await others.push(theirs)
        await disk.write(0, b"c" * 4096)
        for _ in range(2):
            with pytest.raises(SaveConflictError):
                await save.push()
        save.close()
    assert len(service.only.manifests) == 2


@pytest.mark.parametrize("method", ["GET", "POST", "PUT"])
@pytest.mark.parametrize("fault", ["503", "drop", "lost"])
async def test_a_fault_of_the_network_costs_a_retry(service, opened, saves, method, fault):
    service.faults.append((method, fault))
    async with await opened() as disk, await saves() as there:
        await disk.write(0, random.Random(6).randbytes(300_000))
        pushed = await there.push(disk)
        if method == "GET":
            await there.saves()
    assert pushed.generation == 1
    assert not service.faults


async def test_a_lost_response_to_a_manifest_is_no_conflict(server, service, opened, saves):
    """The push failed here, and was made there: later pushes, in this session or another, go on."""
    async with await opened() as disk, await saves(0) as there:
        save = await there.attach(disk)
        await disk.write(0, b"a" * 4096)
        await save.push()
        await disk.write(0, b"b" * 4096)
        with lost_manifest(service):
            await save.push()
        assert len(service.only.manifests) == 2
        await disk.write(4096, b"c" * 4096)
        assert (await save.push()).generation == 3
        await disk.write(4096, b"d" * 4096)
        with lost_manifest(service):
            await save.push()
        save.close()
    async with await opened() as disk, await saves() as there:
        assert (await there.push(disk)).unchanged
        await disk.write(8192, b"e" * 4096)
        assert (await there.push(disk)).generation == 5


async def test_a_push_that_broke_off_is_continued(service, opened, saves, monkeypatch):
    monkeypatch.setattr("aero_browser_disk.saves.chunk_upload._AT_ONCE", 1)
    async with await opened() as disk, await saves() as there:
        await disk.write(0, random.Random(7).randbytes(900_000))
        service.faults.extend([("PUT", "ok")] * 2 + [("PUT", "drop")] * 50)
        with pytest.raises(NetworkError):
            await there.push(disk)
        service.faults.clear()
        arrived = sum(len(chunk) for chunk in service.only.chunks.values())
    async with await opened() as disk, await saves() as there:
        pushed = await there.push(disk)
        assert arrived >= 500_000
        assert pushed.chunk_bytes <= 410_000


async def test_chunks_that_the_server_lost_are_sent_again(server, service, opened, saves):
    async with await opened() as disk, await saves() as there:
        await disk.write(0, random.Random(8).randbytes(600_000))
        save = await there.attach(disk)
        await save.push()
        expected = await content_of(disk)
        service.only.chunks.pop(next(iter(service.only.chunks)))
        await disk.flush()
        await disk.write(700_000, b"new")
        assert (await save.push()).generation == 2
        save.close()
        await there.pull("work", "copy", url=server.url("disk.img"))
    async with await opened(0, "copy") as disk:
        assert await disk.read(0, 600_000) == expected[:600_000]


async def test_a_push_has_one_moment_while_the_guest_writes_on(server, service, opened, saves):
    """Each write fills the same granules with one letter: a save never has two of them."""
    async with await opened() as disk, await saves() as there:
        await disk.write(0, b"a" * 600_000)
        await disk.flush()
        pushing = asyncio.ensure_future(there.push(disk))
        for letter in b"bcdefghijkl":
            await disk.write(0, bytes([letter]) * 600_000)
            await disk.flush()
            await asyncio.sleep(0)
        await pushing
        assert set(await disk.read(0, 600_000)) == {ord("l")}
        await there.pull("work", "copy", url=server.url("disk.img"))
    async with await opened(0, "copy") as disk:
        assert len(set(await disk.read(0, 600_000))) == 1


async def test_a_flush_never_waits_for_a_push(server, service, opened, saves):
    """The server answers nothing while its lock is held."""
    async with await opened() as disk, await saves() as there:
        await there.push(disk)
        await disk.write(0, b"a" * 100_000)
        with service.lock:
            pushing = asyncio.ensure_future(there.push(disk))
            await asyncio.sleep(0)
            for letter in b"bcd":
                await disk.write(0, bytes([letter]) * 100_000)
                await disk.flush()
            assert not pushing.done()
        assert (await pushing).generation == 2


async def test_another_version_of_the_image_is_refused(server, service, opened, saves):
    async with await opened() as disk, await saves() as there:
        await disk.write(0, b"a" * 4096)
        await there.push(disk)
    server.image("disk.img").replace(SyntheticImage(IMAGE.size, seed=2))
    async with await saves(1) as there:
        async with await opened(1) as disk:
            with pytest.raises(SaveBaseError):
                await there.push(disk)
            version = disk.overlay.base_version
            with pytest.raises(SaveBaseError):
                await there.pull("work", "x", url=server.url("disk.img"), version=version)
        entries = await Library(there._platform).list()
        assert [e.name for e in entries if e.kind == "overlay"] == ["work"]


async def test_a_damaged_chunk_is_an_error_and_leaves_nothing(server, service, opened, saves):
    async with await opened() as disk, await saves() as there:
        await disk.write(0, random.Random(9).randbytes(300_000))
        await there.push(disk)
        chunks = service.only.chunks
        name = next(iter(chunks))
        chunks[name] = chunks[name][:-1] + bytes([chunks[name][-1] ^ 1])
        with pytest.raises(DamagedSaveError):
            await there.pull("work", "copy", url=server.url("disk.img"))
        entries = await Library(there._platform).list()
    assert {e.name for e in entries if e.kind == "overlay"} == {"work"}


async def test_what_is_refused(server, service, opened, saves, platforms):
    with pytest.raises(RemoteImagesDisabledError):
        await SaveServer.open(service.url, platform=platforms[0])
    async with await saves() as there, await opened() as disk:
        with pytest.raises(NoSuchSaveError):
            await there.pull("none", "x", url=server.url("disk.img"))
        await there.push(disk)
        with pytest.raises(NameTakenError):
            await there.pull("work", "work", url=server.url("disk.img"))
        with pytest.raises(InvalidOptionError):
            await there.pull("work", "x")
        service.token = "secret"
        with pytest.raises(SaveRefusedError) as caught:
            await there.saves()
        assert caught.value.status == 401
    async with await saves(headers={"Authorization": "Bearer secret"}) as there:
        await there.remove("work")
        assert await there.saves() == []


@pytest.mark.parametrize("length", [10, 2000])
async def test_saves_are_listed_by_the_version_of_their_base(service, saves, length):
    for name in ("one", "two"):
        made = Save("a" * 31 + str(len(service.saves)), name, {"version": name * length, "size": 1})
        service.saves[made.id] = made
    async with await saves() as there:
        assert [one.name for one in await there.saves("one" * length)] == ["one"]
        assert len(await there.saves()) == 2
    assert max(len(request.path) for request in service.requests) <= 1100
