"""Local images and overlays pass, in OPFS, the suite of disks that take writes."""

import pytest
from pytest_pyodide import run_in_pyodide


@run_in_pyodide
async def check_disks(selenium_worker):
    from aero_browser_disk.platform.browser import OpfsStorage
    from aero_browser_disk.testing.suite_runner import check_suite
    from aero_browser_disk.testing.writable_disk_suite import WritableDiskSuite
    from aero_browser_disk.writable.local_image import LocalImage
    from aero_browser_disk.writable.overlay import Overlay

    async def filled(image):
        """An empty storage with a local image that has the bytes of another."""
        storage = await OpfsStorage.connect()
        for name in await storage.list(""):
            await storage.remove(name)
        made = await LocalImage.create(storage, "image", image.size)
        await made.write(0, image.read(0, image.size))
        await made.flush()
        return storage, made

    class LocalImageSuite(WritableDiskSuite):
        async def make(self, image):
            self.storage, made = await filled(image)
            return made

        async def reopen(self, disk):
            return await LocalImage.open(self.storage, "image")

    class OverlaySuite(WritableDiskSuite):
        async def make(self, image):
            self.storage, base = await filled(image)
            overlay = await Overlay.open(base, self.storage, "overlay")
            for start in range(0, image.size, 30_000):
                await overlay.write(start, image.read(start, min(15_000, image.size - start)))
            return overlay

        async def reopen(self, disk):
            base = await LocalImage.open(self.storage, "image")
            return await Overlay.open(base, self.storage, "overlay")

    await check_suite(LocalImageSuite, timeout_s=60)
    await check_suite(OverlaySuite, timeout_s=60)


@run_in_pyodide
async def fill_the_storage(selenium_worker):
    """Writes until the storage is full, under a quota that the test has set; what is there then."""
    from random import Random

    from aero_browser_disk.errors import StorageFullError
    from aero_browser_disk.platform.browser import OpfsStorage
    from aero_browser_disk.writable.local_image import LocalImage

    storage = await OpfsStorage.connect()
    for name in await storage.list(""):
        await storage.remove(name)
    image = await LocalImage.create(storage, "full", 1 << 30)
    data = Random(1).randbytes(1 << 20)
    written = 0
    try:
        while True:
            await image.write(written, data)
            written += len(data)
    except StorageFullError:
        pass
    await image.flush()
    await image.write(0, data[::-1])  # more does not fit, but the same again does
    await image.flush()
    await image.close()
    image = await LocalImage.open(storage, "full")
    whole = await image.read(0, 1 << 20) == data[::-1]
    for start in range(1 << 20, written, 1 << 20):
        whole = whole and await image.read(start, 1 << 20) == data
    whole = whole and await image.read(written, 1 << 20) == bytes(1 << 20)
    await image.close()
    await storage.remove("full")
    return written >> 20, whole


@pytest.mark.timeout(300)
def test_disks(selenium_worker):
    check_disks(selenium_worker)


QUOTA = 24 << 20


@pytest.mark.timeout(300)
def test_a_full_storage_loses_nothing(selenium_worker):
    if selenium_worker.browser != "chrome":
        pytest.skip("only Chromium's quota can be set")
    page = selenium_worker.driver
    session = page.context.new_cdp_session(page)
    origin = page.evaluate("location.origin")
    session.send("Storage.overrideQuotaForOrigin", {"origin": origin, "quotaSize": QUOTA})
    written, whole = fill_the_storage(selenium_worker)
    session.send("Storage.overrideQuotaForOrigin", {"origin": origin})
    assert whole
    assert written > 16
