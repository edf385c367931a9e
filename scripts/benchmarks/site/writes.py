"""Writes to an overlay, timed in the worker."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from aero_browser_disk.platform import current_platform
from aero_browser_disk.writable.local_image import LocalImage
from aero_browser_disk.writable.overlay import Overlay

FOLDER = "bench"
KIB4 = 4096


class Client:
    """One overlay at a time, over a blank image. Times in milliseconds."""

    async def writes(self, offsets: Sequence[int], every: int, size: int) -> dict[str, float]:
        """Writes 4 KiB at each offset, with occasional flushes: to a new overlay, and once more."""
        overlay = await self._make(size)
        first = await self._time_writes(overlay, offsets, every)
        again = await self._time_writes(overlay, offsets, every)
        await overlay.close()
        await self._remove()
        return {"first": first, "again": again}

    async def fill(self, offsets: Sequence[int], every: int, size: int) -> None:
        """Makes an overlay with 4 KiB written at each offset, and drops it as a kill would."""
        overlay = await self._make(size)
        await self._time_writes(overlay, offsets, every)
        await overlay.flush()
        overlay._store.close()
        await overlay.base.close()

    async def opening(self) -> dict[str, float]:
        """Opens that overlay, and opens it again after a clean close."""
        times = {}
        for name in ("killed", "closed"):
            base = await LocalImage.open(self._storage, f"{FOLDER}/base")
            start = time.perf_counter()
            overlay = await Overlay.open(base, self._storage, f"{FOLDER}/overlay")
            times[name] = (time.perf_counter() - start) * 1000
            times["blocks"] = overlay.used_bytes / KIB4
            await overlay.compact()
            await overlay.close()
        await self._remove()
        return times

    async def _make(self, size: int) -> Overlay:
        await self._remove()
        base = await LocalImage.create(self._storage, f"{FOLDER}/base", size)
        return await Overlay.open(base, self._storage, f"{FOLDER}/overlay")

    async def _remove(self) -> None:
        self._storage: Any = (await current_platform()).storage
        await self._storage.remove(FOLDER)

    async def _time_writes(self, overlay: Overlay, offsets: Sequence[int], every: int) -> float:
        data = bytearray(b"9" * KIB4)
        start = time.perf_counter()
        for number, offset in enumerate(offsets, 1):
            data[0] = number & 255
            overlay.try_write(offset, data)
            if number % every == 0:
                await overlay.flush()
        return (time.perf_counter() - start) * 1000
