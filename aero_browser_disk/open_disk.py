"""From an address to a disk: the gate, the version, and a cache for it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from .access import Access, ImageAddress, Renew
from .block_cache import BlockCache
from .block_store import BlockStore, StoredImage
from .boot_profile import BootProfile
from .digest_list import DigestList, pin_of
from .disk import Notice
from .errors import (
    DiskError,
    InvalidDocumentError,
    InvalidOptionError,
    NetworkError,
    RemoteImagesDisabledError,
    StorageBusyError,
    StorageError,
)
from .platform import current_platform
from .platform.base import Credentials, Lock, Platform, Storage
from .platform.memory import MemoryStorage
from .remote_image import ImageVersion, RemoteImage, Traffic
from .retry import DEFAULT_RETRY, RetryPolicy
from .streaming_disk import StreamingDisk

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
DEFAULT_BLOCK_SIZE = 16 * KIB
_SMALLEST_BLOCK, _LARGEST_BLOCK = 4 * KIB, 8 * MIB
_MOST_CACHED = 2 * GIB
_MOST_IN_MEMORY = 256 * MIB
_MOST_PROBES = 3  # somebody is waiting to be told
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
    renew: Renew | None = None,
    expires_at: float | None = None,
    timeout_s: float = 30.0,
    retry: RetryPolicy = DEFAULT_RETRY,
    concurrency: int = 6,
    max_request_bytes: int = 8 * MIB,
    read_ahead: bool = True,
    boot_profile: bytes | None = None,
    digests: bytes | None = None,
    digests_sha256: str | None = None,
    platform: Platform | None = None,
) -> StreamingDisk:
    """Opens the raw disk image at `url`, read-only, its blocks cached.

    `allow_remote` is the user's consent: without it nothing is asked of the network and
    `RemoteImagesDisabledError` is raised. `cache_limit_bytes` bounds what is kept of this image
    (default: 2 GiB or half of what the storage offers, whichever is less). `block_size` is a power
    of two from 4 KiB to 8 MiB. The cache goes by the whole address, query included, of which only
    a digest is stored; `cache_key` names the image instead where its address changes at each visit,
    as a signed one does.

    `headers` and `credentials` are sent with every request and kept in memory only. `renew` gives
    another address when this one expires (at `expires_at`, seconds since the epoch, if that is
    known) or is refused; it must lead to the same version. `timeout_s` bounds the wait for an
    answer and for each piece of it, `retry` what is tried after that. At most `concurrency`
    requests run at once, for at most `max_request_bytes` each; `read_ahead` lets sequential reads
    run at the speed of the link.

    `boot_profile` and `digests` are documents as `BootProfile` and `DigestList` encode them. The
    profile's blocks are fetched behind what is read; one of another version is ignored, with a
    notice. Every byte is checked against the digests before it is kept or served; `digests_sha256`
    is what the list itself must hash to, in hex.

    While the host vouches for the cached version (`Cache-Control: max-age`), opening takes no
    request; while it cannot be reached, the cached version is opened, with the notice "offline".
    Raises `InvalidUrlError`, `InvalidOptionError`, `InvalidDocumentError`, and what
    `RemoteImage.probe` and `RemoteImage.fetch` raise.
    """
    if not allow_remote:
        raise RemoteImagesDisabledError
    _check_options(cache_limit_bytes, block_size, concurrency, max_request_bytes)
    address = ImageAddress.parse(url, headers, credentials, timeout_s)
    trusted = _read_digests(digests, digests_sha256)
    profile = _read_profile(boot_profile)
    if trusted is not None:
        block_size = max(block_size, trusted.chunk_size)  # a block is checked whole
    outside = platform or await current_platform()
    access = Access(address, outside.clock, renew, expires_at)
    name = hashlib.sha256((cache_key or address.url).encode()).hexdigest()[:32]
    shelf = await _Shelf.open(outside, f"cache/{name}")
    try:
        image = shelf.vouched_image(outside, access, block_size)
        if image is None:
            image = await _probe(outside, access, retry, shelf, block_size)
        _check_size(trusted, image.version)
        if profile is not None and not profile.fits(image.version.size, image.version.validator):
            profile = None
            shelf.notices.append("other-profile")
        cache, notices = await shelf.cache_for(image.version, block_size, cache_limit_bytes)
        disk = StreamingDisk(
            image,
            cache,
            outside.clock,
            storage=shelf.storage.kind,
            notices=notices,
            retry=retry,
            max_request=max_request_bytes,
            concurrency=concurrency,
            read_ahead=read_ahead,
            profile=profile,
            digests=trusted,
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


async def _probe(
    outside: Platform, access: Access, retry: RetryPolicy, shelf: _Shelf, block_size: int
) -> RemoteImage:
    """The version of now; the cached one while the host cannot be reached."""
    started = outside.clock.now()
    failures = 0
    while True:
        try:
            return await RemoteImage.probe(outside.http, access)
        except DiskError as error:
            if isinstance(error, NetworkError):
                stored = shelf.stored_image(outside, access, block_size)
                if stored is not None:
                    shelf.notices.append("offline")
                    return stored
            failures += 1
            delay = retry.delay_s(error, failures, outside.clock.now() - started)
            if delay is None or failures >= _MOST_PROBES:
                raise
        await outside.clock.sleep(delay)


def _read_digests(encoded: bytes | None, pin: str | None) -> DigestList | None:
    if encoded is None:
        if pin is not None:
            raise InvalidOptionError("digests_sha256", pin, "given together with digests")
        return None
    if pin is not None and pin_of(encoded) != pin.lower():
        raise InvalidDocumentError("digest list", f"its SHA-256 is {pin_of(encoded)}, not {pin}")
    try:
        return DigestList.decode(encoded)
    except ValueError as error:
        raise InvalidDocumentError("digest list", str(error)) from error


def _check_size(digests: DigestList | None, version: ImageVersion) -> None:
    if digests is not None and digests.size != version.size:
        raise InvalidDocumentError("digest list", "it is of an image of another size")


def _read_profile(encoded: bytes | None) -> BootProfile | None:
    if encoded is None:
        return None
    try:
        return BootProfile.decode(encoded)
    except ValueError as error:
        raise InvalidDocumentError("boot profile", str(error)) from error


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
        self, outside: Platform, access: Access, block_size: int
    ) -> RemoteImage | None:
        """The cached version, while its host vouches for it."""
        fresh_for_s = self.store.fresh_until - outside.clock.now()
        image = self.stored_image(outside, access, block_size) if fresh_for_s > 0 else None
        if image is not None:
            image.fresh_for_s = fresh_for_s
        return image

    def stored_image(
        self, outside: Platform, access: Access, block_size: int
    ) -> RemoteImage | None:
        """The cached version, if there is one in blocks of that size."""
        stored = self.store.image
        if stored is None or stored.block_size != block_size:
            return None
        version = ImageVersion(stored.size, stored.validator)
        return RemoteImage(outside.http, access, version, Traffic())

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


def _check_options(
    cache_limit_bytes: int | None, block_size: int, concurrency: int, max_request_bytes: int
) -> None:
    power_of_two = block_size & (block_size - 1) == 0
    if not power_of_two or not _SMALLEST_BLOCK <= block_size <= _LARGEST_BLOCK:
        raise InvalidOptionError("block_size", block_size, "a power of two from 4 KiB to 8 MiB")
    if cache_limit_bytes is not None and cache_limit_bytes < 0:
        raise InvalidOptionError("cache_limit_bytes", cache_limit_bytes, "a number of bytes")
    if concurrency < 1:
        raise InvalidOptionError("concurrency", concurrency, "at least 1")
    if max_request_bytes < block_size:
        expected = f"at least the block size, {block_size}"
        raise InvalidOptionError("max_request_bytes", max_request_bytes, expected)
