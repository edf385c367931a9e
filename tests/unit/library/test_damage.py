"""Damaged images, overlays and records: an error that names them, and what is intact is saved."""

from __future__ import annotations

import random
import threading
from dataclasses import replace

import pytest

from aero_browser_disk import open_disk
from aero_browser_disk.errors import (
    DamagedDiskError,
    NoSuchImageError,
    RecoveredOverlayError,
    StorageError,
)
from aero_browser_disk.library.library import Library
from aero_browser_disk.records.record import Record, read_record, write_record

MIB = 1 << 20
GRANULE = 4096
BASE = random.Random(3).randbytes(MIB)
WORK = random.Random(4).randbytes(100_000)


@pytest.fixture
async def library(platform) -> Library:
    library = Library(platform)
    await library.import_bytes(BASE, "base")
    disk = await library.open_image("base", ["work"])
    await disk.write(4096, WORK)
    await disk.write(700_000, b"last")
    await disk.close()
    return library


async def entry(library: Library, name: str):
    (found,) = [entry for entry in await library.list() if entry.name == name]
    return found


async def content(library: Library, overlays=(), image="base") -> bytes:
    disk = await library.open_image(image, overlays)
    try:
        return await disk.read(0, disk.info.size)
    finally:
        await disk.close()


EXPECTED = BASE[:4096] + WORK + BASE[4096 + len(WORK) : 700_000] + b"last" + BASE[700_004:]


async def changed(platform, path: str, offset: int, data: bytes) -> None:
    file = await platform.storage.open(path, create=False)
    file.write(data, offset)
    file.close()


async def sectors(platform, folder: str) -> bytes:
    file = await platform.storage.open(f"{folder}/sectors", create=False)
    data = bytearray(file.size())
    file.read_into(data, 0)
    file.close()
    return bytes(data)


async def slot_of(platform, folder: str, data: bytes) -> int:
    """Where a granule of data lies in the file."""
    at = (await sectors(platform, folder)).find(data)
    assert at >= 0
    return at // GRANULE * GRANULE


# ── data ──────────────────────────────────────────────────────────────────────────────────────────


async def test_damaged_data_is_said_listed_and_the_rest_saved(library, platform):
    base = await entry(library, "base")
    at = await slot_of(platform, base.id, BASE[8192 : 8192 + GRANULE])
    await changed(platform, f"{base.id}/sectors", at, bytes(GRANULE))
    disk = await library.open_image("base", write_base=True)
    with pytest.raises(DamagedDiskError) as caught:
        await disk.read(9000, 512)
    assert (caught.value.offset, caught.value.length) == (8192, GRANULE)
    await disk.close()
    assert (await entry(library, "base")).damage
    saved = await library.recover("base", "saved")
    assert (saved.lost, saved.is_latest) == (((8192, GRANULE),), True)
    assert saved.entry.name == "saved"
    assert await content(library, image="saved") == BASE[:8192] + bytes(GRANULE) + BASE[12288:]
    assert await sectors(platform, base.id), "the damaged one is still there"


async def test_damage_is_named_as_the_user_knows_it_whatever_meets_it(library, platform):
    base, work = await entry(library, "base"), await entry(library, "work")
    for folder, data in ((base.id, BASE[200_704:]), (work.id, WORK)):
        at = await slot_of(platform, folder, data[:GRANULE])
        await changed(platform, f"{folder}/sectors", at, bytes(GRANULE))
    disk = await library.open_image("base", ["work"])
    with pytest.raises(DamagedDiskError, match=r"^'base' is damaged") as caught:
        await disk.read(200_704, 512)  # of the image below
    assert (caught.value.image, caught.value.offset) == ("base", 200_704)
    with pytest.raises(DamagedDiskError, match=r"^'work' is damaged"):
        await disk.write(4100, b"part of a sector")
    await disk.close()
    assert (await entry(library, "work")).damage


async def test_a_flipped_bit_is_flipped_back(library, platform):
    for folder in [(await entry(library, "base")).id, (await entry(library, "work")).id]:
        data = BASE[8192 : 8192 + GRANULE] if folder.startswith("images") else WORK[:GRANULE]
        at = await slot_of(platform, folder, data) + 77
        whole = await sectors(platform, folder)
        await changed(platform, f"{folder}/sectors", at, bytes([whole[at] ^ 4]))
    saved = await library.recover("base", "saved")
    assert saved.lost == ()
    assert await content(library, image="saved") == BASE
    with pytest.raises(DamagedDiskError):
        await content(library, ["work"])
    saved = await library.recover((await entry(library, "work")).id, "saved work")
    assert (saved.lost, saved.is_latest, saved.entry.kind) == ((), True, "overlay")
    base = await entry(library, "base")
    at = await slot_of(platform, base.id, BASE[12288 : 12288 + GRANULE]) - GRANULE + 77
    await changed(
        platform, f"{base.id}/sectors", at, bytes([(await sectors(platform, base.id))[at] ^ 4])
    )
    assert await content(library, ["saved work"]) == EXPECTED


async def test_a_damaged_journal_is_refused_by_name_and_saved(library, platform):
    work = await entry(library, "work")
    whole = await sectors(platform, work.id)
    slots = [at for at in range(0, len(whole), GRANULE) if whole[at : at + 4] == b"AEJ2"]
    assert slots
    last = max(slots)
    await changed(platform, f"{work.id}/sectors", last + 60, bytes([whole[last + 60] ^ 32]))
    for _ in range(2):
        with pytest.raises(DamagedDiskError, match="'work' is damaged"):
            await library.open_image("base", ["work"])
    assert "journal" in (await entry(library, "work")).damage
    saved = await library.recover(work.id, "saved")
    assert (saved.lost, saved.is_latest) == ((), True)
    assert await content(library, ["saved"]) == EXPECTED

    await changed(platform, f"{work.id}/sectors", last, bytes(GRANULE))
    saved = await library.recover(work.id, "less")
    assert not saved.is_latest
    await library.overlays.reset(work.id)
    assert await content(library, ["work"]) == BASE
    assert (await entry(library, "work")).damage is None


async def test_a_restored_file_is_no_damage_any_more(library, platform):
    base = await entry(library, "base")
    whole = await sectors(platform, base.id)
    await changed(platform, f"{base.id}/sectors", 0, bytes(8192))
    with pytest.raises(DamagedDiskError):
        await library.open_image("base")
    with pytest.raises(DamagedDiskError):
        await library.recover("base", "nothing")
    assert "nothing" not in {entry.name for entry in await library.list()}
    await changed(platform, f"{base.id}/sectors", 0, whole[:8192])
    assert await content(library) == BASE
    assert (await entry(library, "base")).damage is None


async def test_a_version_that_was_not_flushed_is_not_expected(library, platform):
    """Else the next start would take what it finds for damaged."""
    disk = await library.open_image("base", ["work"])
    await disk.write(0, b"lost")
    store = disk.overlay._store

    def fail(*_):
        raise StorageError("work", "told to")

    store.commit = fail
    with pytest.raises(StorageError, match="told to"):
        await disk.close()
    assert (await content(library, ["work"]))[4:] == EXPECTED[4:]


# ── files and records ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("is_emptied", [True, False])
async def test_an_overlay_whose_file_is_gone_is_not_made_anew(library, platform, is_emptied):
    work = await entry(library, "work")
    if is_emptied:
        file = await platform.storage.open(f"{work.id}/sectors")
        file.truncate(0)
        file.close()
    else:
        await platform.storage.remove(f"{work.id}/sectors")
    for _ in range(2):
        with pytest.raises(DamagedDiskError, match="'work' is damaged: its file is gone"):
            await library.open_image("base", ["work"])
    with pytest.raises(DamagedDiskError):
        await open_disk(image="base", overlay="work", platform=platform)
    with pytest.raises(DamagedDiskError):
        async with library.exporting(work.id):
            pass
    (listed,) = [entry for entry in await library.list() if entry.kind == "overlay"]
    assert "gone" in listed.damage
    await library.overlays.reset(work.id)
    assert await content(library, ["work"]) == BASE


@pytest.mark.parametrize("overlays", [(), ("work",)])
async def test_what_another_tab_has_just_removed_is_not_damaged(library, platform, overlays):
    class Slow:
        """Locks that come when whoever had them has removed everything."""

        async def acquire(self, name, timeout_s):
            if name == folder and folder in [e.id for e in await library.list()]:
                await library.remove(folder, drop_overlays=True)
            return await platform.locks.acquire(name, timeout_s)

    folder = (await entry(library, "work" if overlays else "base")).id
    other = Library(replace(platform, locks=Slow()))
    with pytest.raises(NoSuchImageError):
        await other.open_image("base", overlays)
    assert folder not in [e.id for e in await library.list()]


async def test_a_reset_overlay_is_made_anew(library, platform):
    work = await entry(library, "work")
    await library.overlays.reset(work.id)
    with pytest.raises(NoSuchImageError):
        async with library.exporting(work.id):
            pass
    disk = await library.open_image("base", ["work"])
    await disk.write(0, b"new")
    await disk.close()
    await platform.storage.remove(f"{work.id}/sectors")
    with pytest.raises(DamagedDiskError):
        await library.open_image("base", ["work"])


@pytest.mark.parametrize("copy", [0, 1])
async def test_one_damaged_copy_of_a_record_loses_nothing(library, platform, copy):
    for one in await library.list():
        await changed(platform, f"{one.id}/record", copy * 8192 + 40, b"\xff\xff")
    assert sorted(entry.name for entry in await library.list()) == ["base", "work"]
    assert await content(library, ["work"]) == EXPECTED
    record = Record("x", 512, 1.0, 1.0)
    await write_record(platform.storage, "images/x", record)
    await write_record(platform.storage, "images/x", replace(record, name="y"))
    await changed(platform, "images/x/record", copy * 8192 + 40, b"\xff")
    assert (await read_record(platform.storage, "images/x")).name == "y"


async def test_an_overlay_whose_record_is_damaged_is_announced_and_named_again(library, platform):
    work = await entry(library, "work")
    await changed(platform, f"{work.id}/record", 0, bytes(16384))
    with pytest.raises(RecoveredOverlayError, match="recovered-") as caught:
        await library.open_image("base", ["work"])
    (found,) = [entry for entry in await library.list() if entry.kind == "overlay"]
    assert (found.state, found.name, found.base_name) == (
        "recovered",
        caught.value.recovered,
        "base",
    )
    with pytest.raises(RecoveredOverlayError):
        await library.open_image("base", ["another"])
    named = await library.rename(found.id, "work")
    assert named.state == "ready"
    assert await content(library, ["work"]) == EXPECTED
    await (await library.open_image("base", ["another"])).close()


async def test_an_image_whose_record_is_damaged_is_announced(library, platform):
    base = await entry(library, "base")
    await changed(platform, f"{base.id}/record", 0, bytes(16384))
    with pytest.raises(NoSuchImageError, match="recovered-"):
        await library.open_image("base")
    (found,) = [entry for entry in await library.list() if entry.kind == "image"]
    assert found.state == "recovered"
    await library.rename(found.id, "base")
    assert await content(library, ["work"]) == EXPECTED


# ── while others remove ───────────────────────────────────────────────────────────────────────────


async def test_usage_while_another_removes(library, platform, tmp_path):
    """As another process does: folders come and go between being listed and looked at."""
    root = platform.storage._root
    ended = threading.Event()

    def come_and_go() -> None:
        while not ended.is_set():
            for number in range(20):
                folder = root / f"images/{number:016x}"
                folder.mkdir(parents=True, exist_ok=True)
                (folder / "record").write_bytes(b"")
                (folder / "record").unlink()
                folder.rmdir()

    thread = threading.Thread(target=come_and_go)
    thread.start()
    try:
        for _ in range(300):
            usage = await library.usage()
            assert usage.images >= MIB
    finally:
        ended.set()
        thread.join()


async def test_no_lock_files_are_left(library, platform):
    await library.remove("base", drop_overlays=True)
    locks = platform.storage._root / "locks"
    assert not locks.exists() or list(locks.iterdir()) == []
