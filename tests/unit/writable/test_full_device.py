"""On a device that is really full, as no quota says: what was accepted is flushed and is there."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest

from aero_browser_disk import open_disk
from aero_browser_disk.disk import Disk
from aero_browser_disk.errors import StorageFullError
from aero_browser_disk.library.library import Library
from aero_browser_disk.platform.cpython import FolderStorage, cpython_platform
from aero_browser_disk.testing.failing_files import FailingStorage
from aero_browser_disk.writable.local_image import LocalImage
from support.readme import ROOT
from support.small_device import filled_device, small_device

KIB, MIB = 1 << 10, 1 << 20
SIZE = 64 * MIB


@pytest.fixture(params=["tmpfs", "ext4"])
def device(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    with small_device(tmp_path, request.param, 6 * MIB) as folder:
        yield folder


class Written:
    """A disk, and what it must read as."""

    def __init__(self, disk: Disk) -> None:
        self.disk = disk
        self.content = bytearray(disk.info.size)
        self.offsets: list[int] = []
        self.random = Random(1)

    async def write(self, offset: int, length: int) -> None:
        data = self.random.randbytes(length)
        await self.disk.write(offset, data)
        self.content[offset : offset + length] = data
        self.offsets.append(offset)

    async def write_until_it_is_full(self, length: int) -> None:
        while True:
            try:
                await self.write(self.random.randrange(SIZE // length) * length, length)
            except StorageFullError:
                return

    async def write_over(self, length: int) -> None:
        for offset in self.random.choices(self.offsets, k=40):
            await self.write(offset, length)

    async def is_exact(self) -> None:
        assert await self.disk.read(0, self.disk.info.size) == self.content


@pytest.mark.parametrize("length", [512, 4 * KIB, 100 * KIB])
async def test_what_a_full_device_accepted_is_flushed(device: Path, length: int) -> None:
    storage = FolderStorage(device / "storage")
    written = Written(await LocalImage.create(storage, "image", SIZE))
    await written.write_until_it_is_full(length)
    await written.is_exact()
    await written.disk.flush()
    await written.write_over(length)
    await written.disk.flush()
    await written.disk.discard(MIB, 1000)
    written.content[MIB : MIB + 1000] = bytes(1000)
    await written.disk.close()

    written.disk = await LocalImage.open(storage, "image")
    assert written.disk.stats().used_bytes > 3 * MIB, "more would have fitted"
    await written.is_exact()
    await written.write_over(length)
    await written.disk.close()
    written.disk = await LocalImage.open(storage, "image")
    await written.is_exact()
    await written.disk.close()


@pytest.mark.parametrize("flushed", [False, True])
async def test_what_was_accepted_is_flushed_though_others_filled_the_device(
    device: Path, flushed: bool
) -> None:
    storage = FolderStorage(device / "storage")
    written = Written(await LocalImage.create(storage, "image", SIZE))
    for number in range(300):
        await written.write(number * 5 * KIB, 700)
        if flushed and number % 60 == 0:
            await written.disk.flush()
    with filled_device(device):
        await written.disk.flush()
        await written.write_over(700)
        await written.write_until_it_is_full(4 * KIB)
        await written.disk.flush()
        await written.disk.close()
        written.disk = await LocalImage.open(storage, "image")
        await written.is_exact()
    await written.write(SIZE - MIB, MIB)
    await written.disk.close()
    written.disk = await LocalImage.open(storage, "image")
    await written.is_exact()
    await written.disk.close()


async def test_a_file_that_an_earlier_version_grew_has_no_room_of_its_own() -> None:
    """It has holes: nobody knows whether the device has storage for them."""
    storage = FailingStorage()
    written = Written(await LocalImage.create(storage, "image", SIZE))
    for number in range(20):
        await written.write(number * 8 * KIB, 512)
    await written.disk.close()
    file = await storage.open("image/sectors")
    file.truncate(file.size() + 2 * MIB)
    file.flush()
    file.close()

    storage.device = storage.used_on_device
    written.disk = await LocalImage.open(storage, "image")
    await written.is_exact()
    await written.write_until_it_is_full(4 * KIB)
    await written.disk.flush()
    storage.device += MIB
    await written.write_until_it_is_full(4 * KIB)
    await written.disk.close()
    written.disk = await LocalImage.open(storage, "image")
    await written.is_exact()
    await written.disk.close()


@pytest.mark.parametrize("free", [0, *range(102, 114)])
async def test_a_file_of_format_1_with_holes_stays_sound_on_a_full_device(free: int) -> None:
    """A header's place may be a hole too, and format 2 writes there first of all."""
    with zipfile.ZipFile(Path(ROOT) / "tests/support/data/written_disks_v1.zip") as files:
        data = files.read("killed/sectors")
    storage = FailingStorage()
    file = await storage.open("image/sectors")
    file.truncate(len(data))
    for offset in range(0, len(data), 4 * KIB):
        if any(data[offset : offset + 4 * KIB]):
            file.write(data[offset : offset + 4 * KIB], offset)
    file.flush()
    file.close()
    storage.device = storage.used_on_device + free * 4 * KIB
    image = await LocalImage.open(storage, "image")
    with suppress(StorageFullError):
        await image.write(0, b"new")
    await image.flush()
    storage.device += MIB
    await image.write(3, b"newer")
    await image.close()
    image = await LocalImage.open(storage, "image")
    assert await image.read(3, 5) == b"newer"
    await image.close()


async def test_an_overlay_in_a_library_on_a_full_device(device: Path) -> None:
    platform = cpython_platform(device / "storage")
    library = Library(platform)
    await library.create("vm", SIZE)
    written = Written(await open_disk(image="vm", overlay="work", platform=platform))
    await written.write_until_it_is_full(3 * KIB)
    await written.disk.close()
    written.disk = await open_disk(image="vm", overlay="work", platform=platform)
    await written.is_exact()
    await written.disk.close()
