"""What clients of a disk's shared memory get, whatever is in it and whatever happens meanwhile."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aero_browser_disk.library.open_image import LibraryDisk
from aero_browser_disk.open_disk import open_disk
from aero_browser_disk.platform.base import Sharing
from aero_browser_disk.platform.memory import MemoryLocks, MemoryStorage
from aero_browser_disk.streaming import shared_disk
from aero_browser_disk.streaming.shared_blocks import (
    MAX_BLOCKS,
    SMALLEST_FRAME,
    WAYS,
    geometry_for,
)
from aero_browser_disk.streaming.shared_disk import (
    BUFFER_BYTES,
    DISCARD,
    FAILED,
    FLUSH,
    OK,
    PENDING,
    TRY_WRITE,
    SharedDisk,
)
from aero_browser_disk.testing.behaviour import Behaviour
from aero_browser_disk.testing.shared_memory import ProcessClient, ProcessMemory, RequestFailedError
from aero_browser_disk.worker.operations import OpenDisks
from aero_browser_disk.worker.shared_operations import SharedOperations
from aero_browser_disk.writable.local_image import LocalImage
from aero_browser_disk.writable.overlay import Overlay
from support.samples import IMAGE

FEW_FRAMES = 8 * 16384
WEB = Path(__file__).parents[3] / "web" / "lib"


def client_of(shared: SharedDisk) -> ProcessClient:
    _, mailbox = shared.add_client()
    assert isinstance(mailbox, ProcessClient)
    return mailbox


@pytest.fixture
async def remote(server, platform):
    """A disk without read-ahead: a request that a test makes fail is the one that it means."""
    disk = await open_disk(
        server.url("disk.img"),
        allow_remote=True,
        platform=platform,
        boot_profile=None,
        read_ahead=False,
    )
    yield disk
    await disk.close()


@pytest.fixture
async def written():
    async def nothing(_info):
        pass

    storage = MemoryStorage()
    base = await LocalImage.create(storage, "image", 1 << 20)
    await base.write(0, IMAGE.read(0, 1 << 20))
    await base.flush()
    disk = LibraryDisk(await Overlay.open(base, storage, "overlay"), on_close=nothing)
    yield disk
    await disk.close()


def share(disk, memory_bytes=FEW_FRAMES) -> SharedDisk:
    return SharedDisk(disk, memory_bytes, ProcessMemory)


async def test_reads_at_random_through_few_frames_are_exact(remote):
    shared = share(remote)
    clients = [client_of(shared) for _ in range(3)]
    random = Random(3)
    for _ in range(300):
        offset = random.randrange(IMAGE.size)
        length = random.randrange(min(IMAGE.size - offset, random.choice([600, 40_000, 900_000])))
        found = await random.choice(clients).read(offset, length)
        assert found == IMAGE.read(offset, length)
    assert shared.stats().clients == 3
    assert shared.stats().frames_used <= shared.stats().frames == 8


async def test_what_was_read_is_found_without_asking(remote):
    shared = share(remote, 1 << 24)
    client = client_of(shared)
    assert client.try_read(5000, 100) is None
    await client.read(5000, 100)
    requests = remote.stats().hits + remote.stats().misses
    assert await client.read(5000, 100) == client.try_read(5000, 100) == IMAGE.read(5000, 100)
    assert remote.stats().hits + remote.stats().misses == requests
    assert (shared.stats().reads, shared.stats().bytes_read) == (2, 200)


async def test_a_block_that_goes_before_it_was_copied_is_read_anyway(remote):
    shared = share(remote)
    client = client_of(shared)
    client.before_copying = lambda: shared.memory.forget(0, IMAGE.size)
    for _ in range(2):
        assert await client.read(16000, 1000) == IMAGE.read(16000, 1000)


async def test_a_long_read_asks_the_host_once_for_each_part(remote, server):
    client = client_of(share(remote))
    before = len(server.requests)
    assert await client.read(1 << 20, 2 << 20) == IMAGE.read(1 << 20, 2 << 20)
    assert len(server.requests) - before <= 2


async def test_a_failure_reaches_the_client_with_its_fields_and_the_next_read_is_right(
    server, platform
):
    from aero_browser_disk.remote.retry import RetryPolicy

    disk = await open_disk(
        server.url("disk.img"),
        allow_remote=True,
        platform=platform,
        boot_profile=None,
        read_ahead=False,
        retry=RetryPolicy(tries=1),
    )
    client = client_of(share(disk))
    server.fail_next(Behaviour(status=404))
    with pytest.raises(RequestFailedError, match="HttpStatusError") as caught:
        await client.read(2 << 20, 10)
    assert caught.value.failure["fields"]["status"] == 404
    with pytest.raises(RequestFailedError, match="OutOfRangeError"):
        await client.read(IMAGE.size - 5, 10)
    assert await client.read(2 << 20, 10) == IMAGE.read(2 << 20, 10)
    await disk.close()


async def test_a_read_that_is_given_up_is_cancelled_and_holds_up_no_other(remote, server):
    shared = share(remote)
    client = client_of(shared)
    server.fail_next(Behaviour(stall=True))
    reading = asyncio.ensure_future(client.read(2 << 20, 10, entry=1))
    await asyncio.to_thread(server.wait_for, lambda s: s.in_flight >= 1)
    assert await client.read(0, 10) == IMAGE.read(0, 10)
    shared.give_up(1, 1)
    with pytest.raises(RequestFailedError, match="AbortError"):
        await reading


async def test_a_client_that_goes_takes_what_it_asked_for_along(remote, server):
    shared = share(remote)
    client = client_of(shared)
    await client.read(0, 10)
    await client.read(0, 10)
    server.fail_next(Behaviour(stall=True))
    reading = asyncio.ensure_future(client.read(2 << 20, 10))
    await asyncio.to_thread(server.wait_for, lambda s: s.in_flight >= 1)
    shared.remove_client(1)
    shared.remove_client(1)
    await asyncio.to_thread(server.wait_for, lambda s: s.in_flight == 0)
    assert not reading.done()
    reading.cancel()
    assert shared.stats().clients == 0
    assert shared.stats().reads == 1
    assert await client_of(shared).read(7, 9) == IMAGE.read(7, 9)


async def test_closing_ends_what_waits_and_empties_the_frames(remote, server):
    shared = share(remote)
    client = client_of(shared)
    await client.read(0, 10)
    server.fail_next(Behaviour(stall=True))
    reading = asyncio.ensure_future(client.read(2 << 20, 10))
    await asyncio.to_thread(server.wait_for, lambda s: s.in_flight >= 1)
    shared.close()
    shared.close()
    with pytest.raises(RequestFailedError, match="DiskClosedError"):
        await reading
    assert client.try_read(0, 10) is None
    with pytest.raises(RequestFailedError, match="DiskClosedError"):
        await client.read(0, 10)


async def test_clearing_the_cache_empties_the_frames(remote):
    client = client_of(share(remote))
    await client.read(0, 10)
    await remote.clear_cache()
    assert client.try_read(0, 10) is None
    assert await client.read(0, 10) == IMAGE.read(0, 10)


# ── changes ───────────────────────────────────────────────────────────────────────────────────────


@given(data=st.data())
def test_no_client_reads_what_was_before_an_acknowledged_change(data):
    async def check() -> None:
        async def nothing(_info):
            pass

        size = 1 << 18
        storage = MemoryStorage()
        local = await LocalImage.create(storage, "image", size)
        disk = LibraryDisk(local, on_close=nothing)
        shared = share(disk, 1 << 15)
        clients = [client_of(shared), client_of(shared)]
        expected = bytearray(size)
        for step in range(data.draw(st.integers(1, 12))):
            client = data.draw(st.sampled_from(clients))
            offset = data.draw(st.integers(0, size - 1))
            length = data.draw(st.integers(0, min(size - offset, 70_000)))
            what = data.draw(
                st.sampled_from(["read", "flush", "write", "try", "discard", "beside"])
            )
            fresh = bytes([step + 1]) * length
            if what == "read":
                assert await client.read(offset, length) == expected[offset : offset + length]
                continue
            if what == "flush":  # what was in memory lies in the file then
                await client.ask(0, FLUSH, 0, 0)
                continue
            if what == "write":
                await client.write(offset, fresh)
            elif what == "try":
                client.buffers[0][:length] = fresh
                assert await client.ask(0, TRY_WRITE, offset, length) == OK
            elif what == "discard":
                await client.ask(0, DISCARD, offset, length)
                fresh = bytes(length)
            else:
                await disk.write(offset, fresh)
            expected[offset : offset + length] = fresh
        for client in clients:
            assert await client.read(0, size) == expected
        await disk.close()

    asyncio.run(check())


async def test_a_write_longer_than_a_buffer_is_written_as_one(written):
    client = client_of(share(written))
    data = Random(1).randbytes(2 * BUFFER_BYTES + 77)
    await client.write(1001, data)
    assert await written.read(1001, len(data)) == data
    with pytest.raises(RequestFailedError, match="OutOfRangeError"):
        await client.write((1 << 20) - BUFFER_BYTES, data)
    await client.ask(0, FLUSH, 0, 0)


async def test_what_lies_in_a_file_as_a_whole_is_read_from_there(written):
    """In the overlay's file what was written over it, in the image's what was not."""
    client = client_of(share(written))
    await written.write(4096, b"new" * 4096)
    await written.flush()
    expected = IMAGE.read(0, 4096) + b"new" * 4096 + IMAGE.read(16384, 1 << 15)
    written.try_read_into = written.read_into = None  # nobody is to ask for copies
    assert await client.read(4000, 30_000) == expected[4000:34_000]
    assert written.stats().hits == 3  # blocks of 4096 bytes that were in the overlay
    assert written.stats().misses == 6


async def test_a_disk_that_takes_no_writes_says_so(remote):
    client = client_of(share(remote))
    with pytest.raises(RequestFailedError, match="ReadOnlyError"):
        await client.write(0, b"x")


async def test_what_was_read_before_a_change_is_not_put_into_a_frame_after_it(written):
    """A slow read of the overlay's base, and a write that overtakes it."""
    shared = share(written)
    client = client_of(shared)
    go_on = asyncio.Event()
    read_into = written.read_into

    async def slow(offset, target):
        await read_into(offset, target)
        await go_on.wait()

    written.read_into = slow
    written.try_read_into = lambda *_: False
    reading = asyncio.ensure_future(client.read(0, 100))
    for _ in range(3):
        await asyncio.sleep(0)
    await written.write(0, b"new" * 10)
    go_on.set()
    assert await reading == IMAGE.read(0, 100)  # it began before the write
    assert client.try_read(0, 100) is None


# ── how it is divided, and who may have it ────────────────────────────────────────────────────────


@given(
    size=st.integers(1, 1 << 53),
    block_size=st.sampled_from([1 << shift for shift in range(9, 24)]),
    memory=st.integers(1, 1 << 31),
)
def test_memory_is_divided_within_bounds_whatever_the_size_of_the_disk(size, block_size, memory):
    geometry = geometry_for(size, block_size, memory)
    assert -(-size // geometry.frame_size) <= MAX_BLOCKS
    assert geometry.frame_size >= SMALLEST_FRAME
    frames = geometry.frames * geometry.frame_size
    assert frames <= memory or geometry.frames == WAYS
    assert frames * 2 > memory or geometry.frames == WAYS


async def test_a_client_is_forgotten_when_its_lock_is_free(remote):
    locks = MemoryLocks()
    disks = OpenDisks()
    number = disks.add(remote)
    operations = SharedOperations(disks, lambda: Sharing(ProcessMemory, locks)).operations()
    attach, stats = operations["shared.attach"], operations["shared.stats"]
    lock = await locks.acquire("client/a", None)
    joined = await attach(number, client="client/a", memoryBytes=FEW_FRAMES)
    assert joined["size"] == IMAGE.size
    assert await joined["mailbox"].read(3, 5) == IMAGE.read(3, 5)
    assert (await stats(number))["clients"] == 1
    lock.release()
    for _ in range(5):
        await asyncio.sleep(0)
    assert (await stats(number))["clients"] == 0
    disks.remove(number)
    assert joined["area"].closed


async def test_without_a_lock_or_isolation_there_are_only_facts(remote):
    disks = OpenDisks()
    number = disks.add(remote)
    shared = SharedOperations(disks, lambda: Sharing(ProcessMemory, MemoryLocks())).operations()
    alone = SharedOperations(disks, lambda: None).operations()
    for joined in (
        await shared["shared.attach"](number),
        await shared["shared.attach"](number, client="a", memoryBytes=0),
        await alone["shared.attach"](number, client="a"),
    ):
        assert joined["area"] is joined["mailbox"] is None
        assert joined["blockSize"] == remote.info.block_size


@pytest.mark.parametrize("has_begun", [False, True])
async def test_what_is_asked_just_before_the_disk_closes_gets_a_response_and_all_is_freed(
    remote, has_begun
):
    shared = share(remote)
    number, client = shared.add_client()
    response = client.waiting[0] = asyncio.get_running_loop().create_future()
    assert shared.respond(number, 0, FLUSH, 0, 0, 0) == PENDING
    if has_begun:
        assert await response == OK
    shared.close()
    if not has_begun:
        assert not shared.memory.freed
        assert await response == FAILED
        assert client.failures[0]["name"] == "DiskClosedError"
    assert shared.memory.freed


def test_both_sides_know_the_same_numbers():
    text = (WEB / "shared-protocol.mjs").read_text() + (WEB / "shared-host.mjs").read_text()
    found = dict(re.findall(r"^(?:export )?const (\w+) = ([\d *]+);", text, re.MULTILINE))
    names = "READ READ_TO_BUFFER WRITE TRY_WRITE STAGE FLUSH DISCARD IN_FRAMES OK REFUSED FAILED"
    for name in [*names.split(), "BUFFER_BYTES", "FRAMED"]:
        assert eval(found[name]) == getattr(shared_disk, name), name
    assert eval(found["WAYS"]) == WAYS


@pytest.mark.parametrize("end", ["give up", "close"])
async def test_a_request_that_ends_before_it_began_gets_a_response(remote, end):
    """The client waits on another thread: without a response it would wait for ever."""
    shared = share(remote)
    client = client_of(shared)
    reading = asyncio.ensure_future(client.read(2 << 20, 100))
    await asyncio.sleep(0)  # it asks; the disk's own task has not begun
    if end == "give up":
        shared.give_up(1, next(iter(client.waiting)))
    else:
        shared.close()
    async with asyncio.timeout(10):
        with pytest.raises(RequestFailedError) as failure:
            await reading
    assert str(failure.value) == ("DiskClosedError" if end == "close" else "AbortError")
