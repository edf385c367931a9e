"""Local images for tests: filled, blank, and opened again."""

from __future__ import annotations

from aero_browser_disk.testing.failing_files import FailingStorage
from aero_browser_disk.testing.synthetic_image import SyntheticImage
from aero_browser_disk.writable.local_image import LocalImage


async def filled(storage, folder: str, image: SyntheticImage) -> LocalImage:
    """A local image with the bytes of another."""
    made = await LocalImage.create(storage, folder, image.size)
    await made.write(0, image.read(0, image.size))
    await made.flush()
    return made


async def blank(size: int, storage=None, folder: str = "images/1") -> LocalImage:
    return await LocalImage.create(storage or FailingStorage(), folder, size)


async def reopened(image: LocalImage) -> LocalImage:
    await image.close()
    return await LocalImage.open(image._storage, "images/1")
