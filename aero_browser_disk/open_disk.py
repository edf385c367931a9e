"""From an address to a disk: the gate, the version, and a cache for it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from .block_cache import BlockCache
from .block_store import BlockStore, StoredImage
from .disk import Notice
from .errors import InvalidOptionError, RemoteImagesDisabledError, StorageBusyError, StorageError
from .platform import current_platform
from .platform.base import Credentials, Lock, Platform, Storage
from .platform.memory import MemoryStorage
from .remote_image import ImageAddress, ImageVersion, RemoteImage, Traffic
from .streaming_disk import StreamingDisk

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
DEFAULT_BLOCK_SIZE = 64 * KIB
_SMALLEST_BLOCK, _LARGEST_BLOCK = 4 * KIB, 8 * MIB
_MOST_CACHED = 2 * GIB
_MOST_IN_MEMORY = 256 * MIB
_TAB_LEAVES_WITHIN_S = 1.0  # how long a page that is reloaded may take to let its files go


async def open_disk(
    url: str,
    *,
    allow_remote: bool = False,
    cache_limit_bytes: int | None = None,
    block_size: int = DEFAULT_BLOCK_SIZE,
    cache_key: str | None = None,
    headers: Mapping[str, str] | None = None,
    credentials: Credentials = "same-origin",
    timeout_s: float = 30.0,
    platform: Platform | None = None,
) -> StreamingDisk:
    """Opens the raw disk image at `url`, read-only, its blocks cached.

    `allow_remote` is the user's consent: without it nothing is asked of the network and
    `RemoteImagesDisabledError` is raised. `cache_limit_bytes` bounds what is kept of this image
    (default: 2 GiB or half of what the storage offers, whichever is less). `block_size` is a power
    of two from 4 KiB to 8 MiB. The cache goes by the whole address, query included, of which only
    a digest is stored; `cache_key` names the image instead where its address changes at each visit,
    as a signed one does. `headers` and `credentials` are sent with every request and kept in memory
    only. `timeout_s` bounds the wait for an answer and for each piece of it.

    While the host vouches for the cached version (`Cache-Control: max-age`), opening takes no
    request. Raises `InvalidUrlError`, `InvalidOptionError`, and what `RemoteImage.probe` and
    `RemoteImage.fetch` raise.
    """
    if not allow_remote:
        raise RemoteImagesDisabledError
    _check_options(cache_limit_bytes, block_size)
    address = ImageAddress.parse(url, headers, credentials, timeout_s)
    outside = platform or await current_platform()
    name = hashlib.sha256((cache_key or address.url).encode()).hexdigest()[:32]
    shelf = await _Shelf.open(outside, f"cache/{name}")
    try:
        image = shelf.vouched_image(outside, address, block_size)
        if image is None:
            image = await RemoteImage.probe(outside.http, address)
        cache, notices = await shelf.cache_for(image.version, block_size, cache_limit_bytes)
        disk = StreamingDisk(
            image,
            cache,
            outside.clock,
            storage=shelf.storage.kind,
            notices=notices,
            on_close=shelf.close,
        )
    except BaseException:
        shelf.close()
        raise
    try:
        await disk.prime()
    except BaseException:
        await disk.close()
        raise
    return disk


@dataclass(slots=True)
class _Shelf:
    """Where the blocks of one image go: its files in the storage, else memory."""

    folder: str
    storage: Storage
    store: BlockStore
    lock: Lock | None
    notices: list[Notice]

    @classmethod
    async def open(cls, outside: Platform, folder: str) -> _Shelf:
        """The image's own files if they can be had, else files in memory, with a notice why."""
        if outside.storage.kind == "memory":
            return await cls._in_memory(folder, "memory-cache")
        lock = await outside.locks.acquire(folder, _TAB_LEAVES_WITHIN_S)
        if lock is None:
            return await cls._in_memory(folder, "cache-busy")
        try:
            store = await BlockStore.open(outside.storage, folder)
        except StorageError as error:
            lock.release()
            busy = isinstance(error, StorageBusyError)
            return await cls._in_memory(folder, "cache-busy" if busy else "storage-failed")
        return cls(folder, outside.storage, store, lock, [])

    @classmethod
    async def _in_memory(cls, folder: str, why: Notice) -> _Shelf:
        storage = MemoryStorage()
        return cls(folder, storage, await BlockStore.open(storage, folder), None, [why])

    def vouched_image(
        self, outside: Platform, address: ImageAddress, block_size: int
    ) -> RemoteImage | None:
        """The cached version, while its host vouches for it."""
        stored = self.store.image
        if stored is None or stored.block_size != block_size:
            return None
        fresh_for_s = self.store.fresh_until - outside.clock.now()
        if fresh_for_s <= 0:
            return None
        version = ImageVersion(stored.size, stored.validator)
        image = RemoteImage(outside.http, address, version, Traffic())
        image.fresh_for_s = fresh_for_s
        return image

    async def cache_for(
        self, version: ImageVersion, block_size: int, limit: int | None
    ) -> tuple[BlockCache, list[Notice]]:
        """A cache for one version; in memory when versions look alike, or for want of room."""
        if not version.validator and self.storage.kind != "memory":
            await self._move_to_memory("no-validator")
        image = StoredImage(version.size, version.validator, block_size)
        try:
            cache = BlockCache(self.store, image, await self._limit(limit))
        except StorageError:
            await self._move_to_memory("storage-full")
            cache = BlockCache(self.store, image, await self._limit(limit))
        return cache, self.notices

    async def _move_to_memory(self, why: Notice) -> None:
        self.close()
        fallback = await self._in_memory(self.folder, why)
        self.storage, self.store, self.lock = fallback.storage, fallback.store, None
        self.notices += fallback.notices

    async def _limit(self, asked: int | None) -> int:
        if self.storage.kind == "memory":
            return min(_MOST_IN_MEMORY if asked is None else asked, _MOST_IN_MEMORY)
        if asked is not None:
            return asked
        return min(_MOST_CACHED, (await self.storage.estimate()).quota // 2)

    def close(self) -> None:
        """Lets the files go. Idempotent."""
        self.store.close()
        if self.lock is not None:
            self.lock.release()


def _check_options(cache_limit_bytes: int | None, block_size: int) -> None:
    power_of_two = block_size & (block_size - 1) == 0
    if not power_of_two or not _SMALLEST_BLOCK <= block_size <= _LARGEST_BLOCK:
        raise InvalidOptionError("block_size", block_size, "a power of two from 4 KiB to 8 MiB")
    if cache_limit_bytes is not None and cache_limit_bytes < 0:
        raise InvalidOptionError("cache_limit_bytes", cache_limit_bytes, "a number of bytes")
