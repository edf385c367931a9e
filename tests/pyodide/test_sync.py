"""Disks without asyncio in Pyodide: plain calls, which wait by stack switching."""

from __future__ import annotations

from pytest_pyodide import run_in_pyodide

from aero_browser_disk.testing.image_server import ImageServer
from aero_browser_disk.testing.synthetic_image import SyntheticImage

SIZE, SEED = 2**20 + 7, 6


@run_in_pyodide
async def read_without_awaiting(selenium_worker, url, size, seed):
    from aero_browser_disk import sync
    from aero_browser_disk.errors import OutOfRangeError
    from aero_browser_disk.testing.synthetic_image import SyntheticImage

    image = SyntheticImage(size, seed)
    with sync.open_disk(url, allow_remote=True) as disk:
        assert disk.read(500_000, 5000) == image.read(500_000, 5000)
        try:
            disk.read(size, 1)
        except OutOfRangeError:
            pass
        else:
            raise AssertionError("past the end")
        with disk.open() as file:
            file.seek(-100, 2)
            assert file.read() == image.read(size - 100, 100)


def test_a_disk_is_read_without_awaiting(selenium_worker):
    with ImageServer({"disk.img": SyntheticImage(SIZE, SEED)}) as server:
        read_without_awaiting(selenium_worker, server.url("disk.img"), SIZE, SEED)


@run_in_pyodide
async def read_after_the_storage_was_cleared(selenium_worker, url, size, seed):
    from js import navigator

    from aero_browser_disk import sync
    from aero_browser_disk.testing.synthetic_image import SyntheticImage

    for _ in range(2):
        with sync.open_disk(url, allow_remote=True) as disk:
            assert disk.read(0, 100) == SyntheticImage(size, seed).read(0, 100)
        origin = await navigator.storage.getDirectory()
        await origin.removeEntry("aero-browser-disk", recursive=True)


def test_a_disk_is_opened_after_the_user_cleared_the_storage(selenium_worker):
    with ImageServer({"disk.img": SyntheticImage(SIZE, SEED)}) as server:
        read_after_the_storage_was_cleared(selenium_worker, server.url("disk.img"), SIZE, SEED)
