"""The library's operations: plain values in, plain responses out."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from aero_browser_disk.open_disk import open_disk
from aero_browser_disk.worker.worker import Worker

MIB = 1 << 20
DATA = bytes(range(256)) * 4096


@pytest.fixture
def worker(platform) -> Worker:
    async def here():
        return platform

    return Worker(partial(open_disk, platform=platform), here)


@pytest.fixture
def refused(worker):
    async def one(operation, **values):
        return (await worker.call(operation, values))["error"]["name"]

    return one


async def test_an_image_through_its_life(ask, refused):
    made = await ask("library.create", name="disk", size=MIB)
    assert (made["name"], made["usedBytes"] < MIB, made["isOpen"]) == ("disk", True, False)
    opened = await ask("disk.open", image="disk")
    disk = opened["disk"]
    assert (opened["readOnly"], opened["sectorSize"]) == (False, 512)
    await ask("disk.write", disk=disk, offset=100, data=memoryview(b"hello"))
    await ask("disk.discard", disk=disk, offset=102, length=1)
    await ask("disk.flush", disk=disk)
    assert await ask("disk.read", disk=disk, offset=100, length=5) == b"he\0lo"
    assert await refused("library.remove", name="disk") == "ImageBusyError"
    for operation in ("clearCache", "keepWholeImage", "bootProfile", "resetOverlay"):
        assert await refused(f"disk.{operation}", disk=disk) == "InvalidOptionError"
    assert await refused("disk.write", disk=disk, offset=0, data="x") == "InvalidOptionError"
    await ask("disk.close", disk=disk)
    await ask("library.rename", name="disk", to="other")
    await ask("library.duplicate", name="other", to="copy")
    await ask("library.resize", name="copy", size=512, cut=True)
    (copy,) = [e for e in await ask("library.list") if e["name"] == "copy"]
    assert copy["size"] == 512
    saved = await ask("library.recover", name="other", to="saved")
    assert (saved["entry"]["name"], saved["lost"], saved["isLatest"]) == ("saved", [], True)
    await ask("library.remove", name="saved")
    await ask("library.remove", name=copy["id"])
    assert [e["name"] for e in await ask("library.list")] == ["other"]
    assert (await ask("library.usage"))["images"] > 0


async def test_the_content_of_a_local_disk_has_a_name_that_changes_with_it(ask):
    """A machine that boots from it asks for that: without an overlay it was refused."""
    await ask("library.create", name="disk", size=MIB)
    disk = (await ask("disk.open", image="disk"))["disk"]
    before = await ask("disk.overlayDigest", disk=disk)
    assert await ask("disk.overlayDigest", disk=disk) == before
    await ask("disk.write", disk=disk, offset=0, data=b"x")
    changed = await ask("disk.overlayDigest", disk=disk)
    assert changed != before
    await ask("disk.close", disk=disk)
    disk = (await ask("disk.open", image="disk"))["disk"]
    assert await ask("disk.overlayDigest", disk=disk) == changed
    await ask("disk.close", disk=disk)


async def test_overlays(ask, refused):
    await ask("library.create", name="disk", size=MIB)
    opened = await ask("disk.open", image="disk", overlay="work")
    before = await ask("disk.overlayDigest", disk=opened["disk"])
    await ask("disk.write", disk=opened["disk"], offset=0, data=b"x")
    assert await ask("disk.overlayDigest", disk=opened["disk"]) != before
    await ask("disk.resetOverlay", disk=opened["disk"])
    assert await ask("disk.overlayDigest", disk=opened["disk"]) == before
    await ask("disk.write", disk=opened["disk"], offset=0, data=b"x")
    await ask("disk.close", disk=opened["disk"])
    (work,) = await ask("library.overlays", image="disk")
    assert (work["name"], work["baseName"]) == ("work", "disk")
    assert await refused("library.remove", name="disk") == "HasOverlaysError"
    await ask("library.commitOverlay", name=work["id"])
    await ask("library.resetOverlay", name=work["id"])
    await ask("library.remove", name="disk", dropOverlays=True)
    assert await ask("library.list") == []
    assert await ask("library.overlays", url="https://a.example/x.img") == []


async def test_bytes_and_streams_come_in_and_go_out(ask):
    told = []

    async def tell(done, total):
        told.append((done, total))

    await ask("library.import", file=memoryview(DATA), fileName="a.img", onProgress=tell)
    assert told[-1] == (len(DATA), len(DATA))
    chunks = [DATA[:1000], DATA[1000:]]

    async def pull():
        return {"bytes": chunks.pop(0)} if chunks else {}

    await ask("library.import", pull=pull, fileName="b.img", name="streamed", format="raw")
    for name in ("a", "streamed"):
        started = await ask("library.startExport", name=name)
        assert started["fileName"] == f"{name}.img"
        data, done = b"", 0
        while "bytes" in (part := await ask("library.readExport", export=started["export"])):
            data, done = data + part["bytes"], part["done"]
        assert data == DATA
        assert done == started["size"] == len(DATA)
        await ask("library.endExport", export=started["export"])
        await ask("library.endExport", export=started["export"])


async def test_an_export_ends_while_it_is_read(ask, refused):
    await ask("library.import", file=DATA, fileName="a.img")
    started = await ask("library.startExport", name="a")
    reading = asyncio.ensure_future(refused("library.readExport", export=started["export"]))
    await asyncio.sleep(0)
    await ask("library.endExport", export=started["export"])
    await asyncio.wait({reading})
    assert await refused("library.readExport", export=started["export"]) == "DiskClosedError"
    await ask("library.remove", name="a")


@pytest.mark.parametrize(
    ("operation", "values"),
    [
        ("create", {"name": "x", "size": "1"}),
        ("create", {"name": 5, "size": 512}),
        ("remove", {"name": "x", "dropOverlays": 1}),
        ("remove", {"name": "x", "other": True}),
        ("import", {"file": "text"}),
        ("import", {"file": None}),
        ("import", {"file": b"x", "fileName": "a", "pad": "yes"}),
        ("import", {"file": b"x", "fileName": "a", "cut": True}),
        ("import", {"url": 5}),
        ("prune", {"unusedForS": "long"}),
        ("prune", {"kinds": ["image"]}),
        ("prune", {"kinds": 5}),
        ("prune", {"dryRun": 0}),
        ("startExport", {"name": "x", "compress": "rar"}),
        ("startExport", {"name": "x", "overlays": [5]}),
    ],
)
async def test_values_of_the_wrong_kind_are_named(refused, operation, values):
    assert await refused(f"library.{operation}", **values) == "InvalidOptionError"


async def test_a_stream_that_breaks_is_a_source_that_cannot_be_read(refused):
    async def pull():
        return {"error": "it was moved"}

    assert await refused("library.import", pull=pull, fileName="a") == "SourceError"


async def test_pruning_is_a_dry_run_unless_it_is_not(ask):
    assert await ask("library.prune", keepBytes=0, unusedForS=1.5) == []
    assert await ask("library.prune", kinds=["cache", "import"], dryRun=False) == []


async def test_an_open_disk_becomes_an_image(ask, refused):
    await ask("library.create", name="base", size=MIB)
    disk = (await ask("disk.open", image="base", overlay="work"))["disk"]
    await ask("disk.write", disk=disk, offset=5000, data=memoryview(b"mine"))
    told = []

    async def tell(*progress):
        told.append(progress)

    made = await ask("library.importDisk", disk=disk, name="copy", onProgress=tell)
    assert (made["name"], made["size"], made["state"]) == ("copy", MIB, "ready")
    assert told
    assert await refused("library.importDisk", disk=disk, name="copy") == "NameTakenError"
    await ask("disk.close", disk=disk)
    copy = (await ask("disk.open", image="copy"))["disk"]
    assert await ask("disk.read", disk=copy, offset=4998, length=8) == b"\0\0mine\0\0"
    assert await refused("library.importDisk", disk=disk, name="gone") == "DiskClosedError"
