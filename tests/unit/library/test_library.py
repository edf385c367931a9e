"""Local images by name: made, opened, copied, exported, removed; after a crash too."""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import aclosing
from dataclasses import replace

import pytest

from aero_browser_disk import open_disk
from aero_browser_disk.errors import (
    DataCutError,
    DiskError,
    ImageBusyError,
    InvalidOptionError,
    NameTakenError,
    NoSuchImageError,
    OddSizeError,
    StorageUnavailableError,
)
from aero_browser_disk.library.library import Library
from aero_browser_disk.platform.byte_source import (
    SourceIdentity,
)
from aero_browser_disk.platform.memory import MemoryChannels, MemoryStorage
from aero_browser_disk.records.record import Record, read_record, write_record
from aero_browser_disk.testing.behaviour import Behaviour
from aero_browser_disk.testing.failing_files import FATES, FailingStorage, PowerCutError
from support.libraries import CONTENT, content, named
from support.qemu import MIB


@pytest.fixture
def library(platform) -> Library:
    return Library(platform)


async def test_a_blank_image_takes_next_to_nothing(library):
    entry = await library.create("blank", 40 << 30)
    assert entry.size == 40 << 30
    assert entry.used_bytes < 1 << 20
    assert (entry.kind, entry.state, entry.media, entry.is_open) == (
        "image",
        "ready",
        "disk",
        False,
    )
    disk = await library.open_image("blank")
    assert await disk.read((40 << 30) - 512, 512) == bytes(512)
    await disk.close()


async def test_what_is_written_is_there_when_it_is_opened_again(library, platform):
    await library.create("disk", MIB)
    disk = await open_disk(image="disk", platform=platform)
    await disk.write(1000, b"hello")
    await disk.flush()
    version = disk.info.version
    await disk.close()
    again = await open_disk(image="disk", platform=platform)
    assert await again.read(999, 7) == b"\0hello\0"
    assert again.info.version == version == (await named(library, "disk")).version
    await again.close()


async def test_an_image_is_open_once(library, platform):
    await library.create("disk", MIB)
    disk = await library.open_image("disk")
    assert (await named(library, "disk")).is_open
    other = Library(platform)
    for act in (
        lambda: other.open_image("disk"),
        lambda: other.remove("disk"),
        lambda: other.duplicate("disk", "copy"),
        lambda: other.resize("disk", 2 * MIB),
    ):
        with pytest.raises(ImageBusyError, match="another tab"):
            await act()
    await disk.close()
    await disk.close()
    await (await other.open_image("disk")).close()
    assert [entry.name for entry in await library.list()] == ["disk"]


async def test_no_disk_is_larger_than_javascript_can_count(library):
    for wrong in (0, -512, 2**53, 2**70):
        with pytest.raises(InvalidOptionError):
            await library.create("disk", wrong)
    assert await library.list() == []
    await library.create("disk", 2**53 - 512)
    with pytest.raises(InvalidOptionError):
        await library.resize("disk", 2**53)
    disk = await library.open_image("disk")
    await disk.write(2**53 - 1024, b"last")
    assert await disk.read(2**53 - 1024, 4) == b"last"
    await disk.close()


async def test_names(library):
    await library.create("  Caf\u0065\u0301 ", MIB)
    with pytest.raises(NameTakenError):
        await library.create("Caf\u00e9", MIB)
    await library.create("other", MIB)
    with pytest.raises(NameTakenError):
        await library.rename("other", "Caf\u00e9")
    renamed = await library.rename("other", "third")
    assert renamed.name == "third"
    assert (await library.open_image(renamed.id)) is not None
    for wrong in ("", "  ", "a\nb", "x" * 201, "images/x", None, 5):
        with pytest.raises(InvalidOptionError):
            await library.create(wrong, MIB)
    for act in (library.open_image, library.remove):
        with pytest.raises(NoSuchImageError):
            await act("missing")
    with pytest.raises(NoSuchImageError):
        await library.rename("missing", "x")


@pytest.mark.parametrize("size", [1, 513, 4095])
async def test_sizes_are_whole_sectors(library, size):
    with pytest.raises(OddSizeError):
        await library.create("odd", size)
    assert await library.list() == []


async def test_resizing(library):
    await library.import_bytes(CONTENT, "disk")
    await library.resize("disk", 8 * MIB)
    assert await content(library, "disk") == CONTENT.ljust(8 * MIB, b"\0")
    await library.resize("disk", len(CONTENT))
    with pytest.raises(DataCutError):
        await library.resize("disk", MIB)
    assert (await named(library, "disk")).size == len(CONTENT)
    await library.resize("disk", 512, cut=True)
    assert await content(library, "disk") == CONTENT[:512]
    with pytest.raises(OddSizeError):
        await library.resize("disk", 513)


async def test_a_copy_is_independent(library):
    await library.import_bytes(CONTENT, "disk")
    copy = await library.duplicate("disk", "copy")
    disk = await library.open_image("copy")
    await disk.write(0, b"changed")
    await disk.close()
    assert await content(library, "disk") == CONTENT
    assert await content(library, "copy") == b"changed" + CONTENT[7:]
    assert copy.used_bytes < 1.5 * MIB, "holes stay holes"
    with pytest.raises(NameTakenError):
        await library.duplicate("disk", "copy")
    assert len(await library.list()) == 2


async def test_removing(library, platform):
    entry = await library.create("disk", MIB)
    await library.remove("disk")
    assert await library.list() == []
    assert await platform.storage.list(entry.id) == []
    with pytest.raises(NoSuchImageError):
        await library.remove("disk")


async def test_without_lasting_storage_there_is_no_library(platform):
    with pytest.raises(StorageUnavailableError):
        await Library.open(replace(platform, storage=MemoryStorage()))


async def test_usage_counts_what_is_there(library):
    await library.import_bytes(CONTENT, "disk")
    usage = await library.usage()
    assert usage.images == (await named(library, "disk")).used_bytes >= 300_000
    assert usage.overlays == usage.caches == 0
    assert usage.images <= usage.used < usage.quota


# ── crashes, tabs, pruning ────────────────────────────────────────────────────────────────────────


async def test_what_a_crash_left_half_made_or_half_removed_is_cleared(library, platform):
    storage = platform.storage
    kept = await library.import_bytes(CONTENT, "kept")
    going = await library.create("going", MIB)
    record = await read_record(storage, going.id)
    await write_record(storage, going.id, replace(record, state="removing"))
    making = await library.create("making", MIB)
    await write_record(storage, making.id, replace(record, name="making", state="creating"))
    (await storage.open("images/0123/record")).close()  # nothing was written to it
    (await storage.open("overlays/0123/sectors")).close()
    unfinished = await library.create("unfinished", MIB)
    await write_record(storage, unfinished.id, replace(record, name="u", state="importing"))
    assert {entry.id for entry in await library.list()} == {kept.id, unfinished.id}
    assert set(await storage.list("images")) == {kept.id[7:], unfinished.id[7:]}
    assert await storage.list("overlays") == []


async def test_data_without_a_record_is_kept_and_can_be_named(library, platform):
    entry = await library.import_bytes(CONTENT, "disk")
    await platform.storage.remove(f"{entry.id}/record")
    (found,) = await library.list()
    assert found.name.startswith("recovered-")
    await library.rename(found.name, "saved")
    assert await content(library, "saved") == CONTENT
    assert (await named(library, "saved")).size == len(CONTENT)


@pytest.mark.parametrize("change", [1, 2, 3, 4])
async def test_a_record_that_is_being_written_is_the_old_one_or_the_new(change):
    storage = FailingStorage()
    record = Record("one", 512, 1.0, 1.0)
    await write_record(storage, "images/x", record)
    await write_record(storage, "images/x", replace(record, name="two"))
    storage.cut_power_at(change)
    with contextlib.suppress(PowerCutError):
        await write_record(storage, "images/x", replace(record, name="three"))
    for fate in FATES:
        after = storage.after_power_cut(lambda _, fate=fate: fate)
        name = (await read_record(after, "images/x")).name
        assert name == "three" if change > 3 else name in ("two", "three")


async def test_a_record_holds_the_longest_of_everything(platform):
    long = "\U0001f4be" * 1000
    record = Record(
        long, 512, 1.0, 1.0, base="x", base_name=long, version=long,
        source=SourceIdentity(long, 1, long),
    )  # fmt: skip
    await write_record(platform.storage, "images/x", record)
    assert (await read_record(platform.storage, "images/x")).base_name == long[:200]


async def test_other_tabs_hear_of_changes(platform):
    channels = MemoryChannels()
    here = Library(replace(platform, channels=channels))
    there = Library(replace(platform, channels=channels))
    heard = []
    channel = there.watch(heard.append)
    entry = await here.create("disk", MIB)
    await asyncio.sleep(0)
    assert entry.id in heard
    heard.clear()
    await here.rename("disk", "new")
    await asyncio.sleep(0)
    assert heard == [entry.id]
    channel.close()
    await here.remove("new")
    await asyncio.sleep(0)
    assert heard == [entry.id]
    assert here.watch(print) is not None
    here.close()


async def test_caches_are_listed_pruned_and_removed(library, platform, server):
    disk = await open_disk(
        f"{server.url('disk.img')}?token=secret", allow_remote=True, platform=platform
    )
    await disk.read(0, 100_000)
    (entry,) = await library.list()
    assert (entry.kind, entry.is_open, entry.size) == ("cache", True, disk.info.size)
    assert entry.name == f"{server.url('disk.img')}?…"
    assert entry.version == disk.info.version
    assert await library.prune(keep_bytes=0, dry_run=False) == [], "it is open"
    with pytest.raises(ImageBusyError):
        await library.remove(entry.id)
    await disk.close()
    await library.import_bytes(CONTENT, "mine")
    assert await library.prune(keep_bytes=1 << 40, unused_for_s=3600) == []
    (would,) = await library.prune(keep_bytes=0)
    assert would.id == entry.id
    assert len(await library.list()) == 2, "a dry run removes nothing"
    assert await library.prune(unused_for_s=-1, dry_run=False) != []
    assert [e.name for e in await library.list()] == ["mine"]
    with pytest.raises(NoSuchImageError):
        await library.remove(entry.id)
    with pytest.raises(InvalidOptionError):
        await library.prune(kinds=["image"])


@pytest.mark.parametrize("name", ["missing.img", "missing.json", "page.json", "no-ranges.img"])
async def test_an_address_without_an_image_leaves_no_cache(library, platform, server, name):
    server.add("page.json", b"{}")
    server.add("no-ranges.img", CONTENT).behaviour = Behaviour(ignore_range=True)
    for _ in range(2):
        with pytest.raises(DiskError):
            await open_disk(server.url(name), allow_remote=True, platform=platform)
        assert await library.list() == []


async def test_a_cache_outlives_an_opening_that_fails(library, platform, server):
    async with open_disk(server.url("disk.img"), allow_remote=True, platform=platform) as disk:
        await disk.clear_cache()
    server.image("disk.img").behaviour = Behaviour(status=404)
    with pytest.raises(DiskError):
        await open_disk(server.url("disk.img"), allow_remote=True, platform=platform)
    (entry,) = await library.list()
    assert entry.name == server.url("disk.img")


async def test_no_secret_of_an_address_is_stored(library, platform, server, tmp_path):
    url = server.url("disk.img").replace("://", "://user:hunter2@") + "?sig=hunter3#hunter4"
    disk = await open_disk(url, allow_remote=True, overlay="work", platform=platform)
    await disk.write(0, b"x")
    await disk.close()
    stored = b"".join(f.read_bytes() for f in tmp_path.rglob("*") if f.is_file())
    for secret in (b"hunter2", b"hunter3", b"hunter4"):
        assert secret not in stored


async def test_an_export_that_is_given_up_lets_the_image_go(library):
    await library.import_bytes(CONTENT, "disk")
    async with library.exporting("disk") as file, aclosing(file.parts) as parts:
        await anext(parts)
    await (await library.open_image("disk")).close()


async def test_what_else_is_in_the_storage_is_never_cleared(platform):
    kept = ("states/machine-1.json", "quick-start/snapshot")
    for path in kept:
        file = await platform.storage.open(path)
        file.write(b"a user's", 0)
        file.close()
    library = Library(platform)
    assert await library.list() == []
    assert not await library.prune(
        unused_for_s=-1.0, keep_bytes=0, kinds=("cache", "import"), dry_run=False
    )
    for path in kept:
        assert await platform.storage.facts(path) is not None, path


async def test_an_export_leaves_a_file_named_part_alone(platform, tmp_path):
    other = tmp_path / "out.img.part"
    other.write_bytes(b"somebody's")
    async with Library.open(platform) as library:
        await library.create("work", 1 << 20)
        assert await library.export_to_path("work", tmp_path / "out.img") == 1 << 20
    assert other.read_bytes() == b"somebody's"
    assert [path.name for path in tmp_path.glob("*.part")] == ["out.img.part"]
    assert not list(tmp_path.glob(".*.part"))
