"""Local images and overlays, as whoever uses them sees them."""

from __future__ import annotations

from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from aero_browser_disk.local_image import LocalImage
from aero_browser_disk.overlay import Overlay
from aero_browser_disk.platform.host import FolderStorage
from aero_browser_disk.platform.memory import MemoryStorage
from aero_browser_disk.testing.writable_disk_suite import WritableDiskSuite
from test_protocol_suites import StreamingDiskSuite

if TYPE_CHECKING:
    from aero_browser_disk.disk import Disk
    from aero_browser_disk.testing.synthetic_image import SyntheticImage


async def filled(storage, folder: str, image: SyntheticImage) -> LocalImage:
    """A local image with the bytes of another."""
    made = await LocalImage.create(storage, folder, image.size)
    await made.write(0, image.read(0, image.size))
    await made.flush()
    return made


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
