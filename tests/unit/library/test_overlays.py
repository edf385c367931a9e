"""Overlays by name: over local and remote images, over one another, and what is refused."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from aero_browser_disk import open_disk
from aero_browser_disk.disk import DiskInfo
from aero_browser_disk.errors import (
    BaseChangedError,
    HasOverlaysError,
    ImageBusyError,
    InvalidOptionError,
    NoSuchImageError,
    ReadOnlyError,
    RemoteImagesDisabledError,
    StorageError,
    StorageFullError,
    UnversionedBaseError,
)
from aero_browser_disk.library.library import Library
from aero_browser_disk.open_disk import remote_base
from aero_browser_disk.testing.behaviour import Behaviour
from aero_browser_disk.testing.synthetic_image import SyntheticImage
from aero_browser_disk.transfer.image_export import Hole
from support.samples import IMAGE

MIB = 1 << 20
BASE = bytes(range(256)) * 4096


@pytest.fixture
async def library(platform) -> Library:
    made = Library(platform)
    await made.import_bytes(BASE, "base")
    return made


@pytest.fixture
def opened(platform, server):
    """Opens the image on the server."""

    async def open_one(overlay=None, **options):
        url = server.url("disk.img")
        return await open_disk(
            url, overlay=overlay, allow_remote=True, platform=platform, **options
        )

    return open_one


async def overlays_of(library, **fields):
    entries = [entry for entry in await library.list() if entry.kind == "overlay"]
    return [e for e in entries if all(getattr(e, k) == v for k, v in fields.items())]


async def write(disk, offset, data):
    await disk.write(offset, data)
    await disk.close()


async def content(library, overlays=()):
    disk = await library.open_image("base", overlays)
    data = await disk.read(0, disk.info.size)
    await disk.close()
    return data


# ── over a local image ────────────────────────────────────────────────────────────────────────────


async def test_several_overlays_hold_different_things(library):
    await write(await library.open_image("base", ["a"]), 100, b"in a")
    await write(await library.open_image("base", ["b"]), 100, b"in b")
    assert (await content(library, ["a"]))[100:104] == b"in a"
    assert (await content(library, ["b"]))[100:104] == b"in b"
    assert await content(library) == BASE
    entries = await overlays_of(library, base_name="base", state="ready", size=len(BASE))
    assert sorted(entry.name for entry in entries) == ["a", "b"]
    assert all(entry.used_bytes < MIB for entry in entries)


async def test_an_overlay_over_an_overlay(library, platform):
    await write(await library.open_image("base", ["low"]), 0, b"low low")
    disk = await open_disk(image="base", overlay=["low", "high"], platform=platform)
    assert not disk.info.read_only
    await write(disk, 4, b"HIGH")
    assert (await content(library, ["low", "high"]))[:8] == b"low HIGH"
    assert (await content(library, ["low"]))[:8] == b"low low" + BASE[7:8]
    low = await library.open_image("base", ["low"])
    assert low.info.read_only
    with pytest.raises(HasOverlaysError, match="high"):
        await low.write(0, b"x")
    await low.close()
    (high,) = await overlays_of(library, name="high")
    assert high.base_name == "low"


async def test_an_image_with_overlays_takes_writes_with_consent_only(library, platform):
    await write(await library.open_image("base", ["work"]), 0, b"x")
    disk = await library.open_image("base")
    for attempt in (lambda: disk.write(0, b"x"), lambda: disk.discard(0, 512)):
        with pytest.raises(HasOverlaysError, match="'work'"):
            await attempt()
    with pytest.raises(HasOverlaysError):
        disk.try_write(0, b"x")
    await disk.close()
    with pytest.raises(HasOverlaysError):
        await library.resize("base", 2 * MIB)
    with pytest.raises(HasOverlaysError):
        await library.remove("base")
    assert (await content(library, ["work"]))[:1] == b"x"
    await write(await open_disk(image="base", write_base=True, platform=platform), 5, b"changed")
    with pytest.raises(BaseChangedError, match="new name"):
        await library.open_image("base", ["work"])
    (kept,) = await overlays_of(library, name="work")
    assert kept.used_bytes > 0, "it is refused, and not deleted"
    await library.overlays.reset(kept.id)
    assert (await content(library, ["work"]))[5:12] == b"changed"
    await library.remove("base", drop_overlays=True)
    assert await library.list() == []


async def test_opening_does_not_change_a_base(library):
    await write(await library.open_image("base", ["work"]), 0, b"x")
    await (await library.open_image("base")).close()
    await (await library.open_image("base")).close()
    await library.rename("base", "renamed")
    (work,) = await overlays_of(library)
    assert work.base_name == "renamed"
    disk = await library.open_image("renamed", ["work"])
    assert await disk.read(0, 1) == b"x"
    await disk.close()


async def test_what_is_open_is_open_once(library):
    disk = await library.open_image("base", ["work"])
    with pytest.raises(ImageBusyError):
        await library.open_image("base", ["work"])
    with pytest.raises(ImageBusyError):
        await library.open_image("base", write_base=True)
    (work,) = await overlays_of(library)
    assert work.is_open
    with pytest.raises(ImageBusyError):
        await library.remove(work.id)
    with pytest.raises(ImageBusyError):
        await library.overlays.reset(work.id)
    await disk.close()
    assert [entry.name for entry in await overlays_of(library)] == ["work"], "no other was left"
    await library.remove(work.id)
    await (await library.open_image("base", ["work"])).close()


class OtherWorker:
    """The same storage, as another worker has it."""

    def __init__(self, storage) -> None:
        self._storage = storage

    def __getattr__(self, name):
        return getattr(self._storage, name)


async def test_overlays_over_one_image_are_open_together(library, platform):
    names = (["a"], ["b"], ["low", "x"], ["low", "y"], [])
    a, b, x, y, base = await asyncio.gather(*(library.open_image("base", n) for n in names))
    for disk, data in ((a, b"in a"), (b, b"in b"), (x, b"in x"), (y, b"in y")):
        await disk.write(100, data)
        await disk.flush()
    assert [await disk.read(100, 4) for disk in (a, b)] == [b"in a", b"in b"]
    assert [await disk.read(100, 4) for disk in (x, y)] == [b"in x", b"in y"]
    assert await base.read(0, len(BASE)) == BASE
    with pytest.raises(HasOverlaysError):
        await base.write(0, b"x")
    with pytest.raises(ReadOnlyError):
        await a.overlay.commit()
    for disk in (a, base, y, x):
        await disk.close()
        await disk.close()
        assert await b.read(100, 4) == b"in b"
        with pytest.raises(ImageBusyError):
            await library.open_image("base", write_base=True)
        with pytest.raises(ImageBusyError):
            await library.remove("base", drop_overlays=True)
    await b.close()
    assert (await content(library, ["low", "y"]))[100:104] == b"in y"
    await (await library.open_image("base", write_base=True)).close()


async def test_two_first_opens_of_one_lower_overlay_share_it(library, monkeypatch):
    """The first finds no overlay of the name and is held up there; so did the other, once."""
    overlays = library.overlays
    found, go_on = asyncio.Event(), asyncio.Event()
    find = overlays._find_or_name

    async def find_slowly(base, name, over):
        result = await find(base, name, over)
        if name == "low" and not found.is_set():
            found.set()
            await go_on.wait()
        return result

    monkeypatch.setattr(overlays, "_find_or_name", find_slowly)
    first = asyncio.ensure_future(library.open_image("base", ["low", "a"]))
    await found.wait()
    second = asyncio.ensure_future(library.open_image("base", ["low", "b"]))
    for _ in range(200):  # as far as it comes by itself
        await asyncio.sleep(0)
    go_on.set()
    for disk in await asyncio.gather(first, second):
        await disk.write(0, b"mine")
        await disk.close()
    assert [entry.name for entry in await overlays_of(library)].count("low") == 1


async def test_an_overlay_that_another_tab_made_meanwhile_is_busy(library, platform):
    other = Library(replace(platform, storage=OtherWorker(platform.storage))).overlays
    base = await library.overlays.base_of("base")
    folder, record = await other._find_or_name(
        base, "work", DiskInfo(len(BASE), "1", 4096, read_only=True)
    )
    disk = await library.open_image("base", ["work"])
    with pytest.raises(ImageBusyError):
        await other._open_one(disk, folder, record, [])
    await disk.close()


async def test_an_open_disk_is_exported_as_it_is(library, tmp_path):
    disk = await library.open_image("base", ["work"])
    await disk.write(100, b"not flushed yet")
    out = tmp_path / "out.img"

    async def export(name, overlays=()):
        async with library.exporting(name, overlays, open_disks=[disk]) as file:
            return b"".join(
                [bytes(p.length) if isinstance(p, Hole) else p async for p in file.parts]
            )

    assert await export("base", ["work"]) == BASE[:100] + b"not flushed yet" + BASE[115:]
    assert await export("base") == BASE
    (work,) = await overlays_of(library)
    out.write_bytes(await export(work.id))
    await disk.write(0, b"and goes on")
    async with library.exporting("base", ["work"], open_disks=[disk]) as file:
        await disk.write(0, b"too early")
        with pytest.raises(StorageError, match="during its export"):
            await anext(file.parts)
    with pytest.raises(ImageBusyError):
        await library.export_to_path("base", out, ["work"])
    assert await disk.read(0, 9) == b"too early", "it stays open"
    await disk.close()
    assert out.stat().st_size < 10_000


async def test_overlays_over_one_image_are_not_open_in_two_tabs(library, platform):
    await library.open_image("base", ["work"])
    (base,) = [entry for entry in await library.list() if entry.kind == "image"]
    other = Library(replace(platform, storage=OtherWorker(platform.storage)))
    with pytest.raises(ImageBusyError, match="together in one tab"):
        await other.open_image("base", ["other"])
    with pytest.raises(ImageBusyError, match="destroy"):
        await other.remove(base.id, drop_overlays=True)


async def test_a_base_that_could_not_be_opened_is_tried_again(library, platform):
    (base,) = [entry for entry in await library.list() if entry.kind == "image"]
    lock = await platform.locks.acquire(base.id, 0)
    opening = [asyncio.ensure_future(library.open_image("base", [name])) for name in "ab"]
    results = await asyncio.gather(*opening, return_exceptions=True)
    assert all(isinstance(result, ImageBusyError) for result in results)
    lock.release()
    for name in "ab":
        await (await library.open_image("base", [name])).close()


async def test_a_commit_writes_into_the_image(library):
    await write(await library.open_image("base", ["work"]), 1000, b"for good")
    (work,) = await overlays_of(library)
    await library.overlays.commit(work.id)
    expected = BASE[:1000] + b"for good" + BASE[1008:]
    assert await content(library, ["work"]) == expected
    await library.remove(work.id)
    assert await content(library) == expected


async def test_a_commit_that_is_cancelled_loses_nothing_and_can_be_done_again(library):
    written = bytes(range(1, 251)) * 12
    await write(await library.open_image("base", ["work"]), 1000, written)
    (work,) = await overlays_of(library)
    expected = BASE[:1000] + written + BASE[1000 + len(written) :]

    def cancel(progress):
        assert 0 < progress.done <= progress.total
        committing.cancel()

    committing = asyncio.ensure_future(library.overlays.commit(work.id, report=cancel))
    with pytest.raises(asyncio.CancelledError):
        await committing
    assert await content(library, ["work"]) == expected
    reports = []
    await library.overlays.commit(work.id, report=reports.append)
    assert reports[-1].done == reports[-1].total >= len(written)
    assert await content(library) == expected


async def test_a_commit_that_makes_others_useless_needs_consent(library):
    await write(await library.open_image("base", ["one"]), 0, b"one")
    await write(await library.open_image("base", ["two"]), 0, b"two")
    (one,) = await overlays_of(library, name="one")
    with pytest.raises(HasOverlaysError, match="'two'"):
        await library.overlays.commit(one.id)
    await library.overlays.commit(one.id, drop_overlays=True)
    with pytest.raises(BaseChangedError):
        await library.open_image("base", ["two"])
    assert (await content(library, ["one"]))[:3] == b"one"


async def test_a_commit_into_an_overlay(library):
    await write(await library.open_image("base", ["low"]), 0, b"low")
    await write(await library.open_image("base", ["low", "high"]), 1, b"HI")
    (high,) = await overlays_of(library, name="high")
    await library.overlays.commit(high.id)
    await library.remove(high.id)
    assert (await content(library, ["low"]))[:3] == b"lHI"
    assert await content(library) == BASE


async def test_a_cd_is_never_written(library):
    data = bytearray(64 * 2048)
    data[32769:32774] = b"CD001"
    await library.import_bytes(bytes(data), "cd")
    await write(await library.open_image("cd", ["work"]), 0, b"x")
    (work,) = await overlays_of(library)
    with pytest.raises(ReadOnlyError):
        await library.overlays.commit(work.id)


async def test_names_and_options_are_checked(library, platform):
    for wrong in ("", "a\nb"):
        with pytest.raises(InvalidOptionError):
            await library.open_image("base", [wrong])
    with pytest.raises(NoSuchImageError):
        await open_disk(image="missing", overlay="x", platform=platform)
    for missing in (library.overlays.reset, library.overlays.commit, library.overlays.remove):
        with pytest.raises(NoSuchImageError):
            await missing("missing", "images/0")
    with pytest.raises(InvalidOptionError, match="block_size"):
        await open_disk(image="base", block_size=4096, platform=platform)
    with pytest.raises(InvalidOptionError, match="url"):
        await open_disk("https://a.example/x", image="base", platform=platform)
    with pytest.raises(InvalidOptionError, match="url"):
        await open_disk(platform=platform)
    assert await overlays_of(library) == []
    await (await library.open_image("base")).close()  # nothing was left open


async def test_resetting_an_open_overlay_tells_who_watches(library):
    disk = await library.open_image("base", ["work"])
    changed = []
    disk.watch(lambda offset, length: changed.append((offset, length)))
    await disk.write(512, b"x" * 512)
    assert disk.try_write(1024, b"y" * 512)
    await disk.discard(2048, 512)
    empty = await disk.overlay_digest()
    await disk.reset_overlay()
    assert await disk.overlay_digest() != empty
    assert changed[:3] == [(512, 512), (1024, 512), (2048, 512)]
    assert sorted(changed[3:]) == [(512, 1024), (2048, 512)]
    assert await disk.read(0, 4096) == BASE[:4096]
    await disk.close()
    plain = await library.open_image("base", ["work"])
    await plain.close()


async def test_a_disk_without_an_overlay_has_nothing_to_reset(library):
    disk = await library.open_image("base")
    with pytest.raises(ReadOnlyError):
        await disk.reset_overlay()
    await disk.close()


async def test_a_full_storage_refuses_the_write_and_loses_nothing(library, monkeypatch):
    disk = await library.open_image("base", ["work"])
    await disk.write(0, b"safe")
    await disk.flush()

    def full(*_):
        raise StorageFullError("work")

    store = disk.overlay._store
    monkeypatch.setattr(store._writer, "write", full)
    with pytest.raises(StorageFullError):
        await disk.write(0, b"lost" * 128)
    monkeypatch.undo()
    await disk.close()
    assert (await content(library, ["work"]))[:4] == b"safe"


# ── over a remote image ───────────────────────────────────────────────────────────────────────────


async def test_a_remote_image_is_writable_through_an_overlay(opened, platform, server):
    disk = await opened("work")
    assert (disk.info.read_only, disk.info.size) == (False, IMAGE.size)
    await disk.write(700, b"mine")
    assert await disk.read(690, 20) == IMAGE.read(690, 10) + b"mine" + IMAGE.read(704, 6)
    await disk.close()
    server.requests.clear()
    again = await opened("work")
    assert await again.read(700, 4) == b"mine"
    await again.close()
    plain = await opened()
    assert await plain.read(700, 4) == IMAGE.read(700, 4)
    await plain.close()
    library = Library(platform)
    (work,) = await overlays_of(library, name="work")
    assert work.base == remote_base(server.url("disk.img")).folder
    assert work.base_name == server.url("disk.img")
    with pytest.raises(ReadOnlyError):
        await library.overlays.commit(work.id)
    cache = next(entry for entry in await library.list() if entry.kind == "cache")
    await library.remove(cache.id)
    again = await opened("work")
    assert await again.read(700, 4) == b"mine", "an overlay is no part of the cache"
    await again.close()


async def test_an_overlay_over_a_remote_image_becomes_a_local_image(opened, platform):
    disk = await opened("work")
    await disk.write(700, b"mine")
    made = await Library(platform).import_disk(disk, "local")
    await disk.close()
    local = await open_disk(image="local", platform=platform)
    data = await local.read(0, local.info.size)
    await local.close()
    assert data == IMAGE.read(0, 700) + b"mine" + IMAGE.read(704, IMAGE.size - 704)
    assert made.state == "ready"


async def test_the_gate_holds_for_overlays_too(platform, server):
    with pytest.raises(RemoteImagesDisabledError):
        await open_disk(server.url("disk.img"), overlay="work", platform=platform)
    assert server.requests == []
    assert await Library(platform).list() == []


async def test_a_changed_image_refuses_its_overlay_and_keeps_it(opened, platform, server):
    await write(await opened("work"), 0, b"mine")
    server.image("disk.img").replace(SyntheticImage(IMAGE.size, seed=77))
    with pytest.raises(BaseChangedError):
        await opened("work")
    plain = await opened()  # nothing was left open
    await plain.close()
    other = await opened("other")
    await other.close()
    assert len(await overlays_of(Library(platform))) == 2


async def test_an_image_whose_versions_cannot_be_told_takes_no_overlay(opened, server):
    server.behaviour = Behaviour(validators="none")
    with pytest.raises(UnversionedBaseError, match="Last-Modified"):
        await opened("work")
    await (await opened()).close()


async def test_stats_of_an_overlay_are_those_of_the_image_and_more(opened):
    disk = await opened("work")
    await disk.write(0, bytes(4096))
    await disk.read(0, 8192)
    stats = disk.stats()
    assert stats.bytes_written == 4096
    assert stats.bytes_read == 8192
    assert stats.bytes_downloaded > 0
    await disk.close()
