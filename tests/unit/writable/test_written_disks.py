"""Local images and overlays, as whoever uses them sees them."""

from __future__ import annotations

from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest

from aero_browser_disk import open_disk
from aero_browser_disk.disk import data_ranges
from aero_browser_disk.errors import (
    DataCutError,
    InvalidOptionError,
    StorageBusyError,
    StorageError,
    StorageFullError,
)
from aero_browser_disk.platform.cpython import FolderStorage, cpython_platform
from aero_browser_disk.platform.memory import MemoryStorage
from aero_browser_disk.testing.failing_files import FailingStorage
from aero_browser_disk.testing.image_server import ImageServer
from aero_browser_disk.testing.suite_runner import run_suite
from aero_browser_disk.testing.synthetic_image import SyntheticImage
from aero_browser_disk.testing.writable_disk_suite import WritableDiskSuite
from aero_browser_disk.writable.local_image import LocalImage
from aero_browser_disk.writable.overlay import Overlay
from support.local_images import blank, filled, reopened

if TYPE_CHECKING:
    from aero_browser_disk.disk import Disk

KIB, MIB, GIB, TIB = 1 << 10, 1 << 20, 1 << 30, 1 << 40
GRANULE = 4 * KIB


class LocalImageSuite(WritableDiskSuite):
    async def make(self, image: SyntheticImage) -> Disk:
        self.storage = MemoryStorage()
        return await filled(self.storage, "images/1", image)

    async def reopen(self, disk: Disk) -> Disk:
        return await LocalImage.open(self.storage, "images/1")


class TestLocalImage(LocalImageSuite):
    """In memory."""


class TestLocalImageInAFolder(LocalImageSuite):
    async def make(self, image: SyntheticImage) -> Disk:
        self.folder = TemporaryDirectory()
        self.storage = FolderStorage(Path(self.folder.name))
        return await filled(self.storage, "images/1", image)

    async def clean_up(self, disk: Disk) -> None:
        self.folder.cleanup()


class OverlaySuite(WritableDiskSuite):
    """Over a local image, with half of the bytes in the overlay."""

    async def make(self, image: SyntheticImage) -> Disk:
        self.storage = MemoryStorage()
        base = await filled(self.storage, "images/1", image)
        overlay = await Overlay.open(base, self.storage, "overlays/1")
        for start in range(0, image.size, 30_000):
            await overlay.write(start, image.read(start, min(15_000, image.size - start)))
        return overlay

    async def reopen(self, disk: Disk) -> Disk:
        base = await LocalImage.open(self.storage, "images/1")
        return await Overlay.open(base, self.storage, "overlays/1")


class TestOverlay(OverlaySuite):
    """Over a disk that can be read at once."""


class TestOverlayOverAnOverlay(OverlaySuite):
    """A chain of three, with a part of the bytes in each."""

    async def make(self, image: SyntheticImage) -> Disk:
        self.storage = MemoryStorage()
        await (await filled(self.storage, "images/1", image)).close()
        for layer in range(3):
            overlay = await self.open(layer + 1)
            for start in range(layer * 7000, image.size, 50_000):
                await overlay.write(start, image.read(start, min(7000, image.size - start)))
            await overlay.close()
        return await self.open(3)

    async def reopen(self, disk: Disk) -> Disk:
        return await self.open(3)

    async def open(self, layers: int) -> Disk:
        disk: Disk = await LocalImage.open(self.storage, "images/1")
        for layer in range(layers):
            disk = await Overlay.open(disk, self.storage, f"overlays/{layer}")
        return disk


class TestOverlayOverARemoteImage(OverlaySuite):
    """Whose bytes have to be waited for."""

    async def make(self, image: SyntheticImage) -> Disk:
        self.server = ImageServer({"disk.img": image})
        self.server.start()
        self.folder = TemporaryDirectory()
        self.platform = cpython_platform(Path(self.folder.name))
        return await self.reopen(None)

    async def reopen(self, disk: Disk | None) -> Disk:
        base = await open_disk(
            self.server.url("disk.img"), allow_remote=True, platform=self.platform
        )
        return await Overlay.open(base, self.platform.storage, "overlays/1")

    async def clean_up(self, disk: Disk) -> None:
        await self.platform.http.close()
        self.folder.cleanup()
        self.server.stop()


async def test_the_suite_finds_a_disk_that_forgets_to_flush() -> None:
    class Forgets(LocalImage):
        async def close(self) -> None:
            self._store.close()

        async def flush(self) -> None:
            pass

    class ForgettingSuite(LocalImageSuite):
        async def reopen(self, disk: Disk) -> Disk:
            return await Forgets.open(self.storage, "images/1")

    failed = {name for name, error in await run_suite(ForgettingSuite) if error is not None}
    assert "test_what_was_flushed_lasts" in failed
    assert "test_writes_at_every_edge" not in failed


# ── local images ──────────────────────────────────────────────────────────────────────────────────


async def test_a_blank_image_takes_next_to_nothing_and_what_is_written_its_size() -> None:
    storage = FailingStorage()
    image = await blank(40 * GIB, storage)
    assert storage.used <= 16 * KIB
    assert image.used_bytes == 0
    assert list(image.data_ranges()) == []
    for gib in range(40):
        await image.write(gib * GIB, b"x" * 512)
    await image.flush()
    assert image.used_bytes == 40 * GRANULE
    assert storage.used <= MIB
    assert [offset for offset, _ in image.data_ranges()] == [gib * GIB for gib in range(40)]


@pytest.mark.parametrize("size", [2 * TIB, 8 * TIB + 512])
async def test_an_image_can_be_larger_than_any_storage(size) -> None:
    image = await blank(size)
    await image.write(size - 5000, b"e" * 5000)
    await image.write(size // 2, b"m" * 512)
    image = await reopened(image)
    assert await image.read(size - 5000, 5000) == b"e" * 5000
    assert await image.read(size // 2 - 512, 1536) == bytes(512) + b"m" * 512 + bytes(512)
    await image.discard(0, size)
    assert image.used_bytes == 0


async def test_room_that_is_discarded_is_used_again_and_given_back() -> None:
    storage = FailingStorage()
    image = await blank(64 * MIB, storage)
    data = Random(1).randbytes(MIB)
    for at in range(0, 32 * MIB, MIB):
        await image.write(at, data)
    await image.flush()
    full = storage.used
    await image.discard(0, 32 * MIB)
    await image.flush()
    assert image.used_bytes == 0
    for at in range(32 * MIB, 60 * MIB, MIB):
        await image.write(at, data)
    await image.flush()
    assert storage.used <= full + MIB
    await image.discard(0, 64 * MIB)
    await image.compact()
    assert storage.used < MIB


async def test_overwriting_again_and_again_takes_no_more_room() -> None:
    storage = FailingStorage()
    image = await blank(4 * MIB, storage)
    random = Random(2)
    model = bytearray(4 * MIB)
    for number in range(6000):
        start = random.randrange(1024) * GRANULE
        data = number.to_bytes(4, "little") * KIB
        await image.write(start, data)
        model[start : start + GRANULE] = data
        if number % 8 == 0:
            await image.flush()
    assert storage.used < 9 * MIB
    image = await reopened(image)
    assert await image.read(0, 4 * MIB) == model


async def test_data_ranges_are_what_a_copy_needs() -> None:
    image = await blank(10 * MIB + 100)
    for start, length in ((0, 512), (4096, 8192), (5 * MIB + 512, 1024), (10 * MIB, 100)):
        await image.write(start, b"d" * length)
    assert list(image.data_ranges()) == [
        (0, 512),
        (4096, 8192),
        (5 * MIB + 512, 1024),
        (10 * MIB, 100),
    ]
    assert list(data_ranges(image)) == list(image.data_ranges())


async def test_growing_adds_zeros_and_shrinking_asks_before_it_cuts() -> None:
    image = await blank(MIB)
    await image.write(0, b"a" * MIB)
    await image.resize(2 * MIB)
    assert await image.read(0, 2 * MIB) == b"a" * MIB + bytes(MIB)
    with pytest.raises(DataCutError) as caught:
        await image.resize(MIB - 100)
    assert (caught.value.size, caught.value.needed) == (MIB - 100, MIB)
    assert await image.read(0, 2 * MIB) == b"a" * MIB + bytes(MIB)
    await image.resize(MIB)
    await image.resize(MIB - 100, cut=True)
    await image.resize(2 * MIB)
    assert await image.read(0, 2 * MIB) == b"a" * (MIB - 100) + bytes(MIB + 100)
    image = await reopened(image)
    assert await image.read(0, 2 * MIB) == b"a" * (MIB - 100) + bytes(MIB + 100)
    for size in (0, -1):
        with pytest.raises(InvalidOptionError):
            await image.resize(size)


async def test_what_cannot_be_an_image_is_refused_and_left_alone() -> None:
    storage = FailingStorage()
    with pytest.raises(InvalidOptionError):
        await blank(0, storage)
    with pytest.raises(FileNotFoundError):
        await LocalImage.open(storage, "images/1")
    image = await blank(MIB, storage)
    with pytest.raises(StorageBusyError):
        await LocalImage.open(storage, "images/1")
    await image.write(0, b"kept")
    await image.close()
    with pytest.raises(StorageError):
        await blank(MIB, storage)
    overlay = await Overlay.open(await LocalImage.open(storage, "images/1"), storage, "overlays/1")
    await overlay.close()
    with pytest.raises(StorageError):
        await LocalImage.open(storage, "overlays/1")
    await (await blank(MIB, storage, "images/2")).close()
    base = await LocalImage.open(storage, "images/1")
    with pytest.raises(StorageError):
        await Overlay.open(base, storage, "images/2")
    await base.close()
    assert await (await LocalImage.open(storage, "images/1")).read(0, 4) == b"kept"


async def test_a_damaged_image_says_so_and_is_left_alone() -> None:
    storage = FailingStorage()
    image = await blank(MIB, storage)
    await image.write(0, b"x" * MIB)
    await image.compact()
    await image.close()
    path = "images/1/sectors"
    whole = storage.content(path)
    chain = image._store._log.header.chain * GRANULE
    for offset, length in ((0, 8192), (chain, GRANULE)):
        storage.put(path, whole)
        storage.damage(path, offset, bytes(length))
        damaged = storage.content(path)
        with pytest.raises(StorageError):
            await LocalImage.open(storage, "images/1")
        with pytest.raises(StorageError):
            await blank(MIB, storage)
        assert storage.content(path) == damaged
    storage.put(path, whole[: len(whole) // 2])
    with pytest.raises(StorageError):
        await (await LocalImage.open(storage, "images/1")).read(0, MIB)


# ── a full storage ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("length", [512, GRANULE, 60 * KIB, 300 * KIB])
@pytest.mark.parametrize("every", [1, 7, 10_000])
async def test_a_full_storage_refuses_the_write_and_loses_nothing(length, every) -> None:
    storage = FailingStorage(quota=3 * MIB)
    image = await blank(64 * MIB, storage)
    model = bytearray(64 * MIB)
    random = Random(length)
    written: list[int] = []

    async def write_without_end() -> None:
        while True:
            start = random.randrange(64 * MIB // length) * length
            data = random.randbytes(length)
            await image.write(start, data)
            model[start : start + length] = data
            written.append(start)
            if len(written) % every == 0:
                await image.flush()

    with pytest.raises(StorageFullError):
        await write_without_end()
    assert await image.read(0, 64 * MIB) == model
    await image.flush()
    assert await image.read(0, 64 * MIB) == model
    assert image.used_bytes > 2 * MIB, "more would have fitted"
    # What is there can still be written over, as often as one likes.
    for start in random.choices(written, k=300):
        data = random.randbytes(min(length, GRANULE))
        await image.write(start, data)
        model[start : start + len(data)] = data
        await image.flush()
    # And a discard frees storage.
    await image.discard(0, 32 * MIB)
    model[: 32 * MIB] = bytes(32 * MIB)
    await image.flush()
    await image.write(MIB, b"now this fits")
    model[MIB : MIB + 13] = b"now this fits"
    image = await reopened(image)
    assert await image.read(0, 64 * MIB) == model


async def test_there_is_no_room_for_an_image_at_all() -> None:
    storage = FailingStorage(quota=5000)
    with pytest.raises(StorageFullError):
        await blank(MIB, storage)
    storage.quota = MIB
    await (await blank(MIB, storage)).write(0, b"now there is")


async def test_a_failed_flush_is_told_each_time_until_it_is_opened_again() -> None:
    storage = FailingStorage()
    image = await blank(MIB, storage)
    await image.write(0, b"first")
    await image.flush()
    await image.write(0, b"later")
    storage.fail("flush")
    for _ in range(2):
        with pytest.raises(StorageError):
            await image.flush()
    with pytest.raises(StorageError):
        await image.write(512, b"x")
    assert await image.read(0, 5) == b"later"
    await image.close()
    after = await LocalImage.open(storage, "images/1")
    assert await after.read(0, 5) in (b"first", b"later")
