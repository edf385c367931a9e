"""Every change of what a reader could see is a new version; a stale overlay is never opened."""

from __future__ import annotations

import pytest

from aero_browser_disk.errors import BaseChangedError, StorageError
from aero_browser_disk.library.library import Library
from aero_browser_disk.platform.byte_source import BytesSource, SourceIdentity, stream_of
from aero_browser_disk.testing.failing_files import FailingStorage, PowerCutError
from aero_browser_disk.writable.local_image import LocalImage
from aero_browser_disk.writable.overlay import Overlay

MIB = 1 << 20
SIZE = MIB


async def base_image(storage: FailingStorage) -> LocalImage:
    image = await LocalImage.create(storage, "image", SIZE)
    await image.write(0, b"A" * SIZE)
    await image.flush()
    return image


async def fill(disk: LocalImage) -> None:
    disk.fill(8192, 4096, lambda start, stop, file, at: file.write(b"F" * (stop - start), at))


async def cut_and_grow(disk: LocalImage) -> None:
    await disk.resize(SIZE // 2, cut=True)
    await disk.resize(SIZE)


async def grow_and_cut(disk: LocalImage) -> None:
    await disk.resize(2 * SIZE)
    await disk.write(SIZE, b"beyond the old end")
    await disk.resize(SIZE, cut=True)


async def commit_an_overlay(disk: LocalImage | Overlay) -> None:
    storage = disk._storage
    overlay = await Overlay.open(disk, storage, "committed")
    await overlay.write(100, b"from an overlay")
    await overlay.commit()
    overlay._store.close()


async def write_what_is_there(disk: LocalImage | Overlay) -> None:
    await disk.write(0, await disk.read(0, 512))


CHANGES_OF_ANY = {
    "write": lambda disk: disk.write(0, b"new"),
    "write a run": lambda disk: disk.write(4096, b"n" * 100_000),
    "discard": lambda disk: disk.discard(0, SIZE),
    "discard a part": lambda disk: disk.discard(700, 3000),
    "commit of an overlay": commit_an_overlay,
}
CHANGES_OF_AN_IMAGE = {
    **CHANGES_OF_ANY,
    "fill": fill,
    "cut": lambda disk: disk.resize(SIZE // 2, cut=True),
    "cut within a granule": lambda disk: disk.resize(SIZE - 700, cut=True),
    "grow": lambda disk: disk.resize(2 * SIZE),
    "cut and grow": cut_and_grow,
    "grow and cut": grow_and_cut,
}
CHANGES_OF_AN_OVERLAY = {**CHANGES_OF_ANY, "reset": lambda disk: disk.reset()}


async def nothing(disk: LocalImage | Overlay) -> None:
    """Opened and closed."""


NO_CHANGES = {
    "nothing": nothing,
    "read": lambda disk: disk.read(0, SIZE),
    "flush": lambda disk: disk.flush(),
    "compact": lambda disk: disk.compact(),
}


async def overlay_over_an_image(storage: FailingStorage) -> Overlay:
    overlay = await Overlay.open(await base_image(storage), storage, "low")
    await overlay.write(0, b"low" * 100)
    await overlay.flush()
    return overlay


async def reopened(disk: LocalImage | Overlay, storage: FailingStorage) -> LocalImage | Overlay:
    await disk.close()
    image = await LocalImage.open(storage, "image")
    return await Overlay.open(image, storage, "low") if isinstance(disk, Overlay) else image


CASES = [
    *((base_image, name, change) for name, change in CHANGES_OF_AN_IMAGE.items()),
    *((overlay_over_an_image, name, change) for name, change in CHANGES_OF_AN_OVERLAY.items()),
]


@pytest.mark.parametrize(
    ("make", "change"), [pytest.param(m, c, id=f"{m.__name__}-{n}") for m, n, c in CASES]
)
async def test_a_change_is_a_new_version_and_refuses_a_stale_overlay(make, change) -> None:
    storage = FailingStorage()
    disk = await make(storage)
    over = await Overlay.open(disk, storage, "over")
    await over.write(0, b"over")
    await over.close()
    disk = await reopened_over(make, storage)
    before, digest = disk.info.version, await digest_of(disk)
    await change(disk)
    await disk.flush()
    assert disk.info.version != before
    assert await digest_of(disk) != digest
    after = disk.info.version
    disk = await reopened(disk, storage)
    assert disk.info.version == after
    with pytest.raises(BaseChangedError):
        await Overlay.open(disk, storage, "over")


@pytest.mark.parametrize("change", NO_CHANGES.values(), ids=NO_CHANGES.keys())
@pytest.mark.parametrize("make", [base_image, overlay_over_an_image])
async def test_what_changes_nothing_keeps_the_version_and_its_overlays(make, change) -> None:
    storage = FailingStorage()
    disk = await make(storage)
    over = await Overlay.open(disk, storage, "over")
    await over.write(0, b"over")
    await over.close()
    disk = await reopened_over(make, storage)
    before = disk.info.version
    await change(disk)
    disk = await reopened(disk, storage)
    assert disk.info.version == before
    assert await (await Overlay.open(disk, storage, "over")).read(0, 4) == b"over"


async def reopened_over(make, storage: FailingStorage) -> LocalImage | Overlay:
    image = await LocalImage.open(storage, "image")
    return image if make is base_image else await Overlay.open(image, storage, "low")


async def digest_of(disk: LocalImage | Overlay) -> str:
    """What a saved state knows the disk by: `LibraryDisk.overlay_digest`."""
    return await disk.digest() if isinstance(disk, Overlay) else disk.info.version


async def test_a_stale_overlay_is_refused_after_a_cut_and_a_growth(platform) -> None:
    library = Library(platform)
    await library.import_bytes(b"A" * MIB, "disk")
    disk = await library.open_image("disk", ["work"])
    await disk.write(0, b"work")
    await disk.close()
    await library.resize("disk", MIB // 2, cut=True, drop_overlays=True)
    await library.resize("disk", MIB, drop_overlays=True)
    with pytest.raises(BaseChangedError):
        await library.open_image("disk", ["work"])


async def test_imports_of_one_name_are_other_disks(platform) -> None:
    library = Library(platform)
    for content in (b"A", b"B"):
        data = content * MIB
        await library.import_source(BytesSource(data), SourceIdentity("disk", MIB, ""), name="disk")
        disk = await library.open_image("disk", ["work"])
        assert await disk.read(0, 1) == content
        await disk.close()
        async with library.exporting("disk", ["work"]):
            pass
        (image,) = [entry for entry in await library.list() if entry.kind == "image"]
        await library.remove(image.id, drop_overlays=True)
    await library.import_bytes(b"A" * MIB, "disk")
    disk = await library.open_image("disk", ["work"])
    await disk.write(0, b"work")
    await disk.close()
    async with library.exporting((await overlay_entry(library)).id) as file:
        saved = b"".join([bytes(part) async for part in file.parts])
    await library.remove("disk", drop_overlays=True)
    await library.import_bytes(b"A" * MIB, "disk")  # the same bytes, and yet another disk
    base = await library.overlays.base_of("disk")
    await library.import_overlay(stream_of(BytesSource(saved)), base, "work")
    with pytest.raises(BaseChangedError):
        await library.open_image("disk", ["work"])


async def overlay_entry(library: Library):
    (found,) = [entry for entry in await library.list() if entry.kind == "overlay"]
    return found


# ── a commit that was cut short ───────────────────────────────────────────────────────────────────


async def cut_short(change: int) -> FailingStorage:
    """A commit of two overlays' worth of writes, in which the power goes at a change."""
    storage = FailingStorage()
    overlay = await Overlay.open(await base_image(storage), storage, "over")
    await overlay.write(0, b"overlay" * 100)
    await overlay.write(SIZE // 2, b"o" * 4096)
    await overlay.flush()
    storage.cut_power_at(change)
    try:
        await overlay.commit()
    except PowerCutError:
        return storage.after_kill()
    raise StorageError("test", "the commit ended")


async def changes_of_a_commit() -> int:
    change = 1
    while True:
        try:
            await cut_short(change)
        except StorageError:
            return change - 1
        change += 1


async def test_a_commit_that_was_cut_short_goes_on_unless_the_base_was_written_to() -> None:
    count = await changes_of_a_commit()
    assert count > 5
    refused = 0
    for change in range(1, count + 1):
        for is_written in (False, True):
            storage = await cut_short(change)
            base = await LocalImage.open(storage, "image")
            if is_written:
                await base.write(SIZE - 512, b"a guest's" * 50)
            await base.close()
            base = await LocalImage.open(storage, "image")
            if is_written:
                with pytest.raises(BaseChangedError):
                    await Overlay.open(base, storage, "over")
                refused += 1
                continue
            overlay = await Overlay.open(base, storage, "over")
            assert await overlay.read(0, 700) == b"overlay" * 100
            assert await overlay.read(SIZE // 2, 4096) == b"o" * 4096
            await overlay.commit()
            assert await base.read(0, 700) == b"overlay" * 100
    assert refused == count
