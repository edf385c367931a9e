"""A hundred thousand cached blocks, in the browser: how long opening takes, and what it costs."""

import pytest
from pytest_pyodide import run_in_pyodide


@run_in_pyodide
async def measure(selenium_worker):
    import gc
    import time
    import tracemalloc
    import zlib

    from aero_browser_disk.cache.block_cache import BlockCache
    from aero_browser_disk.cache.block_store import BlockStore, StoredImage
    from aero_browser_disk.platform.browser import OpfsStorage

    blocks, block_size = 100_000, 16
    image = StoredImage(blocks * block_size, '"many"', block_size)
    storage = await OpfsStorage.connect()

    async def open_cache():
        cache = BlockCache(await BlockStore.open(storage, "many"), image, image.size)
        assert cache.blocks in (0, blocks)
        return cache

    async def open_again():
        """The shortest of a few, in seconds. The files are let go as a kill does."""
        times = []
        for _ in range(3):
            started = time.perf_counter()
            cache = await open_cache()
            times.append(time.perf_counter() - started)
            cache._store.close()
        return min(times)

    def loop():
        """Seconds for the least that reading a journal takes: one checksum a record."""
        record, started = bytes(24), time.perf_counter()
        for _ in range(blocks):
            zlib.crc32(record)
        return time.perf_counter() - started

    cache = await open_cache()
    step = 1000
    for first in range(0, blocks, step):
        cache.put(first, bytes(step * block_size))
        cache.commit(0)
    cache._store.close()
    killed_s = await open_again()
    cache = await open_cache()
    cache.close()
    closed_s = await open_again()
    gc.collect()
    tracemalloc.start()
    cache = await open_cache()
    gc.collect()
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    cache.close()
    await storage.remove("many")
    bare_s = min(loop() for _ in range(3))
    return killed_s / bare_s, closed_s / bare_s, used / blocks


@pytest.mark.timeout(300)
def test_opening_many_blocks_costs_little_more_than_reading_their_records(selenium_worker):
    killed, closed, bytes_per_block = measure(selenium_worker)
    print(f"killed {killed:.1f}, closed {closed:.1f} loops, {bytes_per_block:.1f} bytes a block")
    assert bytes_per_block < 100
    assert closed < 40
    assert killed < 40
