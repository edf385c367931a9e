"""Unpacked chunks of prepared images: recent ones are cached, and each is loaded once at a time."""

from __future__ import annotations

import asyncio
import os
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from aero_browser_disk.errors import DamagedImageError
from aero_browser_disk.formats.image_format import PREPARED
from aero_browser_disk.formats.prepared.chunk_codec import unpack_chunk
from aero_browser_disk.formats.prepared.stored_files import StoredFile

T = TypeVar("T")

# What is loaded at a time, in bytes of chunks of one size, and in chunks. A chunk that is loaded
# takes its packed and its unpacked bytes.
_LOADED_BYTES: Final = 32 << 20
_MAX_LOADED: Final = 32
_MIN_LOADED: Final = 2

# How a chunk is stored, its file, and its length unpacked. Equal chunks share a file.
ChunkKey = tuple[int, StoredFile, int]


class UnpackedChunks:
    """Loads chunks. Up to `max_bytes` of them are cached, least recently used ones dropped first.

    For one event loop.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._cached: OrderedDict[ChunkKey, bytes] = OrderedDict()
        self._cached_bytes = 0
        self._loading: dict[ChunkKey, asyncio.Task[bytes]] = {}
        self._slots: dict[int, asyncio.Semaphore] = {}
        self._threads = ThreadPoolExecutor(os.cpu_count() or 2, thread_name_prefix="unpack")

    async def get(
        self, key: ChunkKey, chunk_size: int, load: Callable[[], Awaitable[bytes]]
    ) -> bytes:
        """The chunk. `load` returns the verified bytes of its file, and raises what this does.

        Raises `DamagedImageError` if they do not unpack to its length.
        """
        data = self._cached.get(key)
        if data is not None:
            self._cached.move_to_end(key)
            return data
        task = self._loading.get(key)
        if task is None:
            task = asyncio.create_task(self._load(key, chunk_size, load))
            self._loading[key] = task
            task.add_done_callback(lambda done: self._loaded(key, done))
        # The others that wait for it need it even if this reader goes.
        return await asyncio.shield(task)

    async def in_turn(self, size: int, work: Callable[[], Awaitable[T]]) -> T:
        """Waits until `size` more bytes may be loaded, and runs `work`."""
        count = max(_MIN_LOADED, min(_MAX_LOADED, _LOADED_BYTES // size))
        async with self._slots.setdefault(count, asyncio.Semaphore(count)):
            return await work()

    async def in_thread(self, work: Callable[[], T]) -> T:
        """The result of `work`, run in one of a few threads: unpacking and hashing take long."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def close(self) -> None:
        """Drops everything. Idempotent."""
        for task in self._loading.values():
            task.cancel()
        self._cached.clear()
        self._cached_bytes = 0
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _load(
        self, key: ChunkKey, chunk_size: int, load: Callable[[], Awaitable[bytes]]
    ) -> bytes:
        kind, _, length = key

        async def work() -> bytes:
            stored = await load()
            return await self.in_thread(lambda: unpack_chunk(kind, stored, length))

        try:
            return await self.in_turn(chunk_size, work)
        except ValueError as error:
            raise DamagedImageError(PREPARED.title, str(error)) from error

    def _loaded(self, key: ChunkKey, task: asyncio.Task[bytes]) -> None:
        del self._loading[key]
        # Asking for the error marks it as seen: all readers may be gone.
        if task.cancelled() or task.exception() is not None:
            return
        self._cached[key] = data = task.result()
        self._cached_bytes += len(data)
        while self._cached_bytes > self._max_bytes:
            self._cached_bytes -= len(self._cached.popitem(last=False)[1])
