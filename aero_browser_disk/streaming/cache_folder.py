"""Opens the files that cache one image; falls back to memory, with a notice that says why."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass

from ..cache.block_cache import BlockCache
from ..cache.block_store import BlockStore, StoredImage
from ..cache.budget import CacheBudget
from ..disk import Notice
from ..errors import StorageBusyError, StorageError
from ..platform.base import Lock, Platform, Storage
from ..platform.memory import MemoryStorage
from ..records.folders import LibraryFolders
from ..records.record import Record, read_record
from ..remote.access import Access
from ..remote.remote_image import ImageVersion, RemoteImage, Traffic
from .boot_profile import BootProfile
from .digest_list import DigestList
from .kept_blocks import unchanged_by_digests
from .kept_files import KeptFiles
from .layout_source import file_version, format_of
from .streaming_disk import StreamingDisk
from .tab_sharing import BlockServer, SharedSource

Unchanged = Callable[[BlockStore], Awaitable[Collection[int]]]
"""Finds the blocks of a store that another version of its image has too."""

MIB, GIB = 1 << 20, 1 << 30
_MOST_CACHED = 2 * GIB
_MOST_IN_MEMORY = 256 * MIB
_TAB_LEAVES_WITHIN_S = 1.0  # how long a page may take to release its files on reload


@dataclass(slots=True)
class CacheFolder:
    """The cache files of one image: in the storage, else in memory."""

    path: str
    storage: Storage
    store: BlockStore
    lock: Lock | None
    notices: list[Notice]
    follows: bool = False
    """Whether another tab holds the files and can be read through."""
    digests: DigestList | None = None
    """What verifies the blocks that are cached from now on."""
    asked: int = 0
    """The limit that the user set for this cache; 0 for the default."""
    kept: KeptFiles | None = None
    """The manifest and the pages of a prepared image."""
    server: BlockServer | None = None
    taking_over: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, platform: Platform, path: str) -> CacheFolder:
        """The image's files if they can be opened, else files in memory, with a notice that says
        why."""
        if platform.storage.kind == "memory":
            return await cls._in_memory(path, "memory-cache")
        lock = await platform.locks.acquire(path, _TAB_LEAVES_WITHIN_S)
        if lock is None and platform.channels is not None:
            opened = await cls._in_memory(path, "shared-cache")
            opened.follows = True
            return opened
        if lock is None:
            return await cls._in_memory(path, "cache-busy")
        try:
            store = await BlockStore.open(platform.storage, path)
        except StorageError as error:
            lock.release()
            busy = isinstance(error, StorageBusyError)
            return await cls._in_memory(path, "cache-busy" if busy else "storage-failed")
        except BaseException:  # cancelled: nobody else would free the lock
            lock.release()
            raise
        return cls(path, platform.storage, store, lock, [])

    @classmethod
    async def _in_memory(cls, path: str, why: Notice) -> CacheFolder:
        storage = MemoryStorage()
        return cls(path, storage, await BlockStore.open(storage, path), None, [why])

    def fresh_image(
        self, platform: Platform, access: Access, block_size: int
    ) -> RemoteImage | None:
        """The cached version while it is fresh (`max-age`)."""
        fresh_for_s = self.store.fresh_until - platform.clock.now()
        image = self.stored_image(platform, access, block_size) if fresh_for_s > 0 else None
        if image is not None:
            image.fresh_for_s = fresh_for_s
        return image

    def stored_image(
        self, platform: Platform, access: Access, block_size: int
    ) -> RemoteImage | None:
        """The cached version, if there is one in blocks of that size."""
        stored = self.store.image
        if stored is None or stored.block_size != block_size:
            return None
        _, version = file_version(stored)
        return RemoteImage(platform.http, access, version, Traffic())

    def stored_disk(self, file: ImageVersion, block_size: int) -> tuple[str, int] | None:
        """The format in which that version of a file was cached, and the size of the disk."""
        stored = self.store.image
        if stored is None or stored.block_size != block_size or not file.validator:
            return None
        name, version = file_version(stored)
        return (name, stored.size) if version == file else None

    async def open_kept(self) -> KeptFiles:
        """The manifest and the pages of a prepared image, as far as they were stored."""
        if self.kept is None:
            try:
                self.kept = await KeptFiles.open(self.storage, self.path)
            except StorageError:
                self.kept = await KeptFiles.open(MemoryStorage(), self.path)
        return self.kept

    def cached_first_block(self) -> bytes:
        """The cached first block; empty if it is not cached."""
        stored = self.store.image
        target = bytearray(stored.block_length(0) if stored is not None else 0)
        with contextlib.suppress(StorageError):
            if target and self.store.read_into(0, 0, target):
                return bytes(target)
        return b""

    async def keep_unchanged(
        self, version: ImageVersion, block_size: int, unchanged: Unchanged
    ) -> int:
        """Binds the cache of another version to this one, and keeps the blocks that are unchanged.

        `unchanged` finds these. Returns how many bytes were kept; raises what `unchanged` does.
        """
        old, new = self.store.image, StoredImage(version.size, version.validator, block_size)
        if old is None or old == new or old.block_size != block_size or not version.validator:
            return 0
        kept = await unchanged(self.store)
        if not kept:
            return 0
        try:
            self.store.rebind(new, kept)
        except StorageError:
            return 0  # the next attempt to bind the store reports the error
        return sum(map(new.block_length, self.store.slot_of))

    async def cache_for(
        self,
        version: ImageVersion,
        block_size: int,
        limit: int | None,
        digests: DigestList | None,
    ) -> tuple[BlockCache, list[Notice]]:
        """A cache for one version; in memory if versions look alike or the storage is full.

        If there are `digests`, it only has blocks that match them.
        """
        self.digests = digests
        if not version.validator:
            self.follows = False  # the other tab may have another version
        if not version.validator and self.storage.kind != "memory":
            await self._move_to_memory("no-validator")
        image = StoredImage(version.size, version.validator, block_size)
        try:
            await self._drop_unverified(image)
            cache = BlockCache(self.store, image, await self._limit(limit))
        except StorageError:
            await self._move_to_memory("storage-full")
            cache = BlockCache(self.store, image, await self._limit(limit))
        return cache, self.notices

    async def _drop_unverified(self, image: StoredImage) -> None:
        """Frees the cached blocks of `image` that the digests do not confirm.

        They were cached without digests or with others. A file beside them names the list that
        verified them all, so that it is done once. A session without digests empties that file
        before it caches anything.
        """
        if self.storage.kind == "memory":
            return  # nothing is cached yet
        verified_by = hashlib.sha256(self.digests.signed_bytes).digest() if self.digests else b""
        if (await self._read_file("verified") or b"") == verified_by:
            return
        if self.digests is not None:
            if self.store.image != image:
                self.store.begin(image)
            right = await unchanged_by_digests(self.digests, self.store)
            for block in self.store.slot_of.keys() - right:
                self.store.free(block)
            self.store.commit()
            self.store.flush()
        await self._write_file("verified", verified_by, is_durable=True)

    async def _read_file(self, name: str) -> bytes | None:
        """A small file beside the blocks; None if there is none. Raises `StorageError`."""
        try:
            file = await self.storage.open(f"{self.path}/{name}", create=False)
        except FileNotFoundError:
            return None
        try:
            content = bytearray(file.size())
            file.read_into(content, 0)
            return bytes(content)
        finally:
            file.close()

    async def _write_file(self, name: str, content: bytes, *, is_durable: bool = False) -> None:
        """Replaces a small file beside the blocks. Raises `StorageError`."""
        file = await self.storage.open(f"{self.path}/{name}")
        try:
            file.truncate(0)
            file.write(content, 0)
            if is_durable:
                file.flush()
        finally:
            file.close()

    async def _move_to_memory(self, why: Notice) -> None:
        self.close()
        fallback = await self._in_memory(self.path, why)
        self.storage, self.store, self.lock = fallback.storage, fallback.store, None
        self.notices += fallback.notices

    async def _limit(self, asked: int | None) -> int:
        if self.storage.kind == "memory":
            return min(_MOST_IN_MEMORY if asked is None else asked, _MOST_IN_MEMORY)
        self.asked = asked or 0
        return await self._limit_for_all() if asked is None else asked

    async def _limit_for_all(self) -> int:
        """The limit of all caches together: at least this one's."""
        return max(self.asked, min(_MOST_CACHED, (await self.storage.estimate()).quota // 2))

    async def make_room(self, platform: Platform, needed: int) -> int:
        """How many bytes this cache may use; at most `needed` if others use the rest.

        Removes caches of images that are not open, as far as the limit of all caches requires.
        """
        if self.storage.kind == "memory":
            return needed
        total = await self._limit_for_all()
        return await CacheBudget(self.storage, platform.locks, total).make_room(self.path, needed)

    def share(
        self,
        platform: Platform,
        disk: StreamingDisk,
        source: SharedSource | None,
        limit: int | None,
    ) -> None:
        """Lets other tabs read through this one, or waits to take the files over from another."""
        if source is not None:
            self.taking_over = asyncio.ensure_future(self._take_over(platform, disk, source, limit))
        elif self.lock is not None and platform.channels is not None:
            self.server = BlockServer(platform.channels, self.path, disk)

    async def _take_over(
        self, platform: Platform, disk: StreamingDisk, source: SharedSource, limit: int | None
    ) -> None:
        lock = await platform.locks.acquire(self.path, None)
        assert lock is not None
        source.holder_is_gone()
        try:
            store = await BlockStore.open(platform.storage, self.path)
        except StorageError:
            lock.release()  # this tab goes on in memory
            return
        except BaseException:
            lock.release()
            raise
        self.storage, self.store, self.lock = platform.storage, store, lock
        try:
            await self._drop_unverified(disk.stored_image)
            cache = BlockCache(store, disk.stored_image, await self._limit(limit))
        except StorageError:
            store.close()
            return
        self.notices.remove("shared-cache")
        disk.adopt(cache, platform.storage.kind, self.notices)
        self.share(platform, disk, None, limit)

    async def note(self, platform: Platform, name: str, version: ImageVersion) -> None:
        """Records the image's name and version for the library's list; `name` has no secrets."""
        if self.storage.kind == "memory":
            return
        now = platform.clock.now()
        record = Record(
            name, version.size, now, now, version=str(version), format=format_of(version)
        )
        with contextlib.suppress(StorageError):
            await LibraryFolders(platform).note_cache(self.path, record)

    async def load_profile(self) -> BootProfile | None:
        """The boot profile that an earlier session recorded; None if there is no readable one."""
        try:
            encoded = await self._read_file("profile")
            return None if encoded is None else BootProfile.decode(encoded)
        except (StorageError, ValueError):
            return None  # torn by a crash: the next session records it again

    async def save_profile(self, profile: BootProfile) -> None:
        """Saves a boot profile for the next session. Failures are ignored."""
        if self.storage.kind == "memory" or not profile.validator:
            return
        with contextlib.suppress(StorageError):
            await self._write_file("profile", profile.encode())

    async def close_unopened(self, platform: Platform) -> None:
        """Releases the files after an opening that failed, and removes them if none succeeded yet.

        So an address that has no image leaves nothing.
        """
        is_empty = self.storage.kind != "memory" and not self.store.slot_of
        self.close()
        lock = await platform.locks.acquire(self.path, 0) if is_empty else None
        if lock is None:
            return
        try:
            with contextlib.suppress(StorageError):
                if await read_record(self.storage, self.path) is None:
                    await self.storage.remove(self.path)
        finally:
            lock.release()

    def close(self) -> None:
        """Releases the files. Idempotent."""
        if self.taking_over is not None:
            self.taking_over.cancel()
        if self.server is not None:
            self.server.close()
        self.store.close()
        if self.kept is not None:
            self.kept.close()
        if self.lock is not None:
            self.lock.release()
