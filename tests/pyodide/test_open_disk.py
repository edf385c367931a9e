"""`aero_browser_disk.open_disk` in Pyodide's worker, against a real server on another origin."""

from __future__ import annotations

from pytest_pyodide import run_in_pyodide

from aero_browser_disk.testing.image_server import ImageServer
from aero_browser_disk.testing.synthetic_image import SyntheticImage

SIZE, SEED = 3 * 2**20 + 7, 21


@run_in_pyodide
async def open_and_read(selenium_worker, url, size, seed):
    import aero_browser_disk
    from aero_browser_disk.testing.synthetic_image import SyntheticImage

    image = SyntheticImage(size, seed)
    disk = await aero_browser_disk.open_disk(url, allow_remote=True, cache_limit_bytes=1 << 20)
    assert await disk.read(0, size) == image.read(0, size)
    target = bytearray(5000)
    await disk.read_into(size - 5000, target)
    assert target == image.read(size - 5000, 5000)
    assert disk.try_read_into(size - 100, bytearray(100))
    stats = disk.stats()
    assert stats.storage == "opfs"
    assert stats.cached_bytes <= 1 << 20
    await disk.close()
    again = await aero_browser_disk.open_disk(url, allow_remote=True, cache_limit_bytes=1 << 20)
    assert again.stats().cached_blocks > 30
    assert again.try_read_into(size - 100, bytearray(100))
    await again.close()


def test_a_disk_in_python(selenium_worker):
    with ImageServer({"disk.img": SyntheticImage(SIZE, SEED)}) as server:
        open_and_read(selenium_worker, server.url("disk.img"), SIZE, SEED)
