"""This project's client in the bench, in Pyodide: what the worker does, without the page."""

from __future__ import annotations

import sys
import time
import tracemalloc
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import js

from aero_browser_disk.open_disk import open_disk
from aero_browser_disk.platform import current_platform
from aero_browser_disk.streaming.boot_profile import BootProfile
from aero_browser_disk.streaming.prepared_files import server_layout
from aero_browser_disk.streaming.remote_options import RemoteSettings
from aero_browser_disk.streaming.streaming_disk import StreamingDisk

Range = Sequence[int]
LONGEST = 64 << 20
ROUNDS = 5


class Client:
    """One disk at a time, and the operations timed on it. Times in milliseconds."""

    def __init__(self) -> None:
        self._disk: StreamingDisk | None = None
        self._target = bytearray(1 << 20)

    async def open(
        self, url: str, key: str, options: Mapping[str, Any], profile: Sequence[int] | None = None
    ) -> dict[str, Any]:
        """Opens the image; `key` identifies its cache."""
        given = dict(options)
        if profile is not None:
            given["boot_profile"] = bytes(profile)
        start = time.perf_counter()
        self._disk = await open_disk(url, allow_remote=True, cache_key=key, **given)
        ms = (time.perf_counter() - start) * 1000
        stats = self._disk.stats()
        notices = list(stats.notices)
        return {"ms": ms, "blocks": stats.cached_blocks, "notices": notices}

    async def replay(self, reads: Sequence[tuple[int, int, float]]) -> dict[str, float]:
        """Reads one range after the other; see `replay` in client.mjs."""
        disk = self._open_disk
        self._grow(max(length for _, length, _ in reads))
        view = memoryview(self._target)
        clock = time.perf_counter
        waited = owed_s = 0.0
        start = clock()
        for offset, length, think_ms in reads:
            owed_s += think_ms / 1000
            if owed_s >= 0.008:
                before = clock()
                await _sleep_ms(owed_s * 1000 - 2)
                owed_s -= clock() - before
            before = clock()
            target = view[:length]
            if not disk.try_read_into(offset, target):
                await disk.read_into(offset, target)
            waited += clock() - before
        return {"ms": (clock() - start) * 1000, "waitMs": waited * 1000}

    def cached_reads(self, offsets: Sequence[int], length: int) -> float:
        """Microseconds for each of the reads, all of which must be cached."""
        disk = self._open_disk
        self._grow(length)
        target = memoryview(self._target)[:length]
        read = disk.try_read_into
        start = time.perf_counter()
        for offset in offsets:
            if not read(offset, target):
                raise AssertionError(f"offset {offset} is not cached")
        return (time.perf_counter() - start) / len(offsets) * 1e6

    async def check(self, ranges: Sequence[Range]) -> list[int]:
        """The CRC-32 of the bytes of each range."""
        disk = self._open_disk
        return [zlib.crc32(await disk.read(offset, length)) for offset, length in ranges]

    def profile(self) -> list[int]:
        """The boot profile of the reads since opening."""
        made: BootProfile = self._open_disk.boot_profile()
        return list(made.encode())

    def stats(self) -> dict[str, Any]:
        """The disk's own counters."""
        stats = self._open_disk.stats()
        return {"blocks": stats.cached_blocks, "requests": stats.requests}

    async def index_bytes(self, url: str, key: str, options: Mapping[str, Any]) -> float:
        """Bytes that Python allocates for each cached block while an image is open."""
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            await self.open(url, key, options)
            cached = self._open_disk.stats().cached_blocks
            after, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        return (after - before) / cached

    async def unpacking(self, url: str, offsets: Sequence[int]) -> float:
        """Milliseconds to unpack 1 MB of those chunks of the prepared image, the best of rounds."""
        settings = RemoteSettings(allow_remote=True)
        layout = await server_layout(url, settings, await current_platform())
        stored = []
        for offset in offsets:
            found = await layout.segment(offset, offset + 1)
            if found.source is not None and found.unpack is not None:
                stored.append((await found.source.read(0, found.length), found.unpack))
        times = []
        for _ in range(ROUNDS):
            start = time.perf_counter()
            unpacked = sum(len(unpack(data)) for data, unpack in stored)
            times.append((time.perf_counter() - start) * 1000 / (unpacked / 1e6))
        return min(times)

    async def close(self) -> None:
        """Closes the disk."""
        if self._disk is not None:
            await self._disk.close()
            self._disk = None

    @property
    def _open_disk(self) -> StreamingDisk:
        assert self._disk is not None
        return self._disk

    def _grow(self, length: int) -> None:
        if length > len(self._target):
            self._target = bytearray(length)


async def _sleep_ms(ms: float) -> None:
    await js.Promise.new(lambda resolve, _: js.setTimeout(resolve, ms))


def facts() -> dict[str, str]:
    """The version of Python in the worker."""
    return {"python": sys.version.split()[0]}
