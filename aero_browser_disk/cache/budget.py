"""One limit for the caches of all images of this origin."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import StorageError
from ..platform.base import Locks, Storage

CACHES = "cache"
_FREE_WITHIN_S = 0.1  # a free lock is granted within this time


@dataclass(frozen=True, slots=True)
class CachedImage:
    """The cache of one image: its folder, the size of its files, and when it was last used."""

    folder: str
    size: int
    used_at: float


async def folder_facts(storage: Storage, folder: str) -> tuple[int, float]:
    """The size of the files of a folder, and when one of them was last written."""
    size, written_at = 0, 0.0
    for name in await storage.list(folder):
        facts = await storage.facts(f"{folder}/{name}")
        if facts is not None:
            size += facts.size
            written_at = max(written_at, facts.modified_at)
    return size, written_at


class CacheBudget:
    """Keeps the caches of all images together within `total` bytes.

    Caches of images that are not open are removed, the least recently used first.
    """

    def __init__(self, storage: Storage, locks: Locks, total: int) -> None:
        self.total = total
        self._storage = storage
        self._locks = locks

    async def caches(self) -> list[CachedImage]:
        """All caches there are, the least recently used first."""
        found = []
        for name in await self._storage.list(CACHES):
            folder = f"{CACHES}/{name}"
            found.append(CachedImage(folder, *await folder_facts(self._storage, folder)))
        return sorted(found, key=lambda cache: cache.used_at)

    async def make_room(self, folder: str, needed: int) -> int:
        """Removes caches of other images until `needed` bytes in `folder` fit with the rest.

        Returns how many bytes `folder` may have: less than `needed` when what is left is open.
        """
        others = [cache for cache in await self.caches() if cache.folder != folder]
        taken = sum(cache.size for cache in others)
        for cache in others:
            if taken + needed <= self.total:
                break
            if await self._remove(cache):
                taken -= cache.size
        return max(0, self.total - taken)

    async def _remove(self, cache: CachedImage) -> bool:
        """Removes a cache unless it is open, here or in another tab."""
        lock = await self._locks.acquire(cache.folder, _FREE_WITHIN_S)
        if lock is None:
            return False
        try:
            await self._storage.remove(cache.folder)
        except StorageError:
            return False
        finally:
            lock.release()
        return True
