"""A disk as a file in Pyodide: synchronous, in a worker and on the page, where stacks switch."""

from __future__ import annotations

from pytest_pyodide import run_in_pyodide

from aero_browser_disk.testing.image_server import ImageServer
from aero_browser_disk.testing.synthetic_image import SyntheticImage

SIZE, SEED = 2**20 + 7, 5


@run_in_pyodide
async def read_as_a_file(selenium_worker, url, size, seed):
    import asyncio
    import io
    import struct

    from pyodide.code import run_js
    from pyodide.ffi import create_proxy

    import aero_browser_disk
    from aero_browser_disk.disk_file import DiskFile
    from aero_browser_disk.testing.synthetic_image import SyntheticImage
    from aero_browser_disk.worker.worker import Worker

    image = SyntheticImage(size, seed)
    disk = await aero_browser_disk.open_disk(url, allow_remote=True, read_ahead=False)
    file = DiskFile(disk)
    assert not disk.try_read_into(500_000, bytearray(1))  # nothing of it is cached
    file.seek(500_000)
    assert file.read(5000) == image.read(500_000, 5000)
    with io.BufferedReader(DiskFile(disk), 8192) as buffered:
        buffered.seek(-4, io.SEEK_END)
        assert struct.unpack("<I", buffered.read()) == struct.unpack("<I", image.read(size - 4, 4))

    async def in_a_task():
        file.seek(900_000)
        return file.read(100)

    assert await asyncio.create_task(in_a_task()) == image.read(900_000, 100)

    async def parse():
        file.seek(700_000)
        return file.read(100)

    # As worker.mjs calls it: from JavaScript, in a turn of its own, which promises nothing.
    worker = Worker()
    worker._operations["test.parse"] = parse
    call = run_js("(f) => new Promise((done) => setTimeout(async () => done(await f()), 0))")
    response = await call(create_proxy(lambda: worker.call("test.parse", {})))
    assert response["value"] == image.read(700_000, 100)
    await disk.close()


def test_what_is_not_cached_is_waited_for(selenium_worker):
    with ImageServer({"disk.img": SyntheticImage(SIZE, SEED)}) as server:
        read_as_a_file(selenium_worker, server.url("disk.img"), SIZE, SEED)
