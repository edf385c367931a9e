"""The operations on saves: plain values in, plain responses out."""

from __future__ import annotations

import asyncio
import sys
from functools import partial

import pytest

from aero_browser_disk.open_disk import open_disk
from aero_browser_disk.streaming.digest_list import digests_of
from aero_browser_disk.worker.worker import Worker
from support.samples import IMAGE
from support.saves import SaveService


@pytest.fixture
def service():
    with SaveService() as started:
        yield started


@pytest.fixture
async def worker(platform):
    async def here():
        return platform

    made = Worker(partial(open_disk, platform=platform), here)
    yield made
    for number in range(1, 5):
        await made.call("disk.close", {"disk": number})


@pytest.fixture
def there(service):
    return {"server": service.url, "allowRemote": True}


@pytest.fixture
async def disk(ask, server):
    url = server.url("disk.img")
    return (await ask("disk.open", url=url, allowRemote=True, overlay="work"))["disk"]


async def test_a_disk_is_pushed_listed_and_pulled(ask, worker, server, service, there, disk):
    await ask("saves.attach", disk=disk, device="a browser", **there)
    await ask("disk.write", disk=disk, offset=100, data=b"hello")
    told = []

    async def progress(done, total):
        told.append((done, total))

    pushed = await ask("saves.push", disk=disk, onProgress=progress)
    assert (pushed["generation"], pushed["unchanged"]) == (1, False)
    assert told[-1] == (4096, 4096)
    (save,) = await ask("saves.list", **there)
    assert (save["name"], save["device"], save["generation"]) == ("work", "a browser", 1)
    (generation,) = await ask("saves.generations", save="work", **there)
    assert generation["generation"] == 1
    url = server.url("disk.img")
    entry = await ask("saves.pull", save="work", overlay="copy", url=url, **there)
    assert (entry["name"], entry["kind"]) == ("copy", "overlay")
    opened = await ask("disk.open", url=url, allowRemote=True, overlay="copy")
    assert await ask("disk.read", disk=opened["disk"], offset=100, length=5) == b"hello"
    assert "share=" in (await ask("saves.share", save="work", lifetimeS=60, **there))["url"]
    await ask("saves.endShares", save="work", **there)
    await ask("saves.remove", save="work", **there)
    assert not service.saves
    await ask("disk.write", disk=disk, offset=100, data=b"later")
    failed = await worker.call("saves.push", {"disk": disk})
    assert failed["error"]["name"] == "NoSuchSaveError"


async def test_a_disk_pushes_by_itself_after_a_flush(ask, service, there, disk):
    told: asyncio.Queue = asyncio.Queue()

    async def pushed(result):
        await told.put(result)

    await ask("saves.attach", disk=disk, everyS=0, pushed=pushed, **there)
    assert not service.requests  # nothing is asked before there is something to push
    await ask("disk.write", disk=disk, offset=0, data=b"a" * 4096)
    await ask("disk.flush", disk=disk)
    assert (await told.get())["pushed"]["generation"] == 1
    service.only.manifests.append(service.only.manifests[0] + b" ")  # somebody else's
    await ask("disk.write", disk=disk, offset=0, data=b"b" * 4096)
    await ask("disk.flush", disk=disk)
    assert (await told.get())["error"]["name"] == "SaveConflictError"
    requests = len(service.requests)
    await ask("disk.flush", disk=disk)
    await asyncio.sleep(0)
    assert len(service.requests) == requests  # the user decides first


async def test_a_push_without_a_network_is_tried_again(ask, service, there, disk):
    told: asyncio.Queue = asyncio.Queue()

    async def pushed(result):
        await told.put(result)

    service.faults.extend([("*", "drop")] * 1000)
    options = {"timeoutS": 5, **there}
    await ask("saves.attach", disk=disk, everyS=0.01, pushed=pushed, **options)
    await ask("disk.write", disk=disk, offset=0, data=b"a" * 4096)
    await ask("disk.flush", disk=disk)
    assert (await told.get())["error"]["name"] == "NetworkError"
    service.faults.clear()
    found = await told.get()
    while "error" in found:
        found = await told.get()
    assert found["pushed"]["generation"] == 1


async def test_a_save_is_opened_where_it_is(ask, worker, server, there, disk):
    url = server.url("disk.img")
    await ask("saves.attach", disk=disk, **there)
    await ask("disk.write", disk=disk, offset=100, data=b"hello")
    await ask("saves.push", disk=disk)
    named = {"url": url, "allowRemote": True, "save": "work", "saves": there}
    opened = await ask("saves.open", **named)
    assert opened["readOnly"]
    assert await ask("disk.read", disk=opened["disk"], offset=100, length=5) == b"hello"
    assert "bytesRead" in await ask("disk.stats", disk=opened["disk"])
    failed = await worker.call("disk.write", {"disk": opened["disk"], "offset": 0, "data": b"x"})
    assert failed["error"]["name"] == "ReadOnlyError"
    over = await ask("saves.open", overlay="mine", generation=1, **named)
    await ask("disk.write", disk=over["disk"], offset=100, data=b"jello")
    assert await ask("disk.read", disk=over["disk"], offset=100, length=5) == b"jello"
    assert await ask("disk.read", disk=opened["disk"], offset=100, length=5) == b"hello"
    for wrong in ({"saves": None}, {"save": 7}, {"generation": "x"}):
        failed = await worker.call("saves.open", {**named, **wrong})
        assert failed["error"]["name"] == "InvalidOptionError"


async def test_an_overlay_moves_once_the_page_has_seen_the_plan(ask, worker, server, disk):
    old = IMAGE.read(0, IMAGE.size)
    await ask("disk.write", disk=disk, offset=0, data=old[: 1 << 16])
    await ask("disk.close", disk=disk)
    new = b"changed" + old[7:]
    server.image("disk.img").replace(new)
    before, after = (digests_of([data]).encode() for data in (old, new))
    options = {"url": server.url("disk.img"), "overlay": "work", "allowRemote": True}
    options |= {"digests": after, "digestsBefore": before}
    plan = await ask("saves.rebase", **options)
    assert (plan["canMove"], plan["isCurrent"], plan["obstacle"]) == (True, False, None)
    failed = await worker.call("saves.rebase", {**options, "to": plan["pinned"]})
    assert failed["error"]["name"] == "BaseChangedError"
    assert (await ask("saves.rebase", to=plan["found"], **options))["isCurrent"]
    await ask("saves.rebase", toImage="copy", **options)
    made = await ask("disk.open", image="copy")
    assert await ask("disk.read", disk=made["disk"], offset=0, length=IMAGE.size) == old
    failed = await worker.call("saves.rebase", {**options, "digestsBefore": "x"})
    assert failed["error"]["name"] == "InvalidOptionError"


async def test_what_is_refused(ask, worker, server, there, disk):
    async def refused(operation, **values):
        return (await worker.call(operation, values))["error"]["name"]

    assert await refused("saves.push", disk=disk) == "InvalidOptionError"
    assert await refused("saves.push", disk=99) == "DiskClosedError"
    assert await refused("saves.list", **{**there, "server": 7}) == "InvalidOptionError"
    assert await refused("saves.list", **there, cacheKey="x") == "InvalidOptionError"
    off = {**there, "allowRemote": False}
    assert await refused("saves.list", **off) == "RemoteImagesDisabledError"
    assert await refused("saves.attach", disk=disk, **off) == "RemoteImagesDisabledError"
    plain = (await ask("disk.open", url=server.url("disk.img"), allowRemote=True))["disk"]
    assert await refused("saves.attach", disk=plain, **there) == "InvalidOptionError"


async def test_without_its_modules_a_call_says_so_and_the_next_one_works(
    ask, worker, there, monkeypatch
):
    operations = "aero_browser_disk.worker.save_operations"
    with monkeypatch.context() as patched:
        patched.setitem(sys.modules, operations, None)
        error = (await worker.call("saves.list", there))["error"]
    assert error["name"] == "MissingPartError"
    assert error["fields"]["part"] == "saves"
    assert await ask("saves.list", **there) == []
