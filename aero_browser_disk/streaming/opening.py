"""Helpers for opening a remote image of any layout."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from ..cache.budget import CACHES
from ..disk import SECTOR_SIZE
from ..errors import BaseChangedError, IntegrityError, InvalidDocumentError
from ..platform.base import Clock, Platform
from ..remote.access import ImageAddress
from ..remote.remote_image import ImageVersion
from ..remote.retry import Retries, RetryPolicy
from .block_fetch import PackedBlocks
from .boot_profile import BootProfile
from .cache_folder import CacheFolder, Unchanged
from .digest_list import DigestList
from .fetch_queue import RangeSource
from .remote_options import RemoteSettings
from .streaming_disk import ServerImage, StreamingDisk
from .tab_sharing import SharedSource

_MAX_PROBES = 3  # the user is waiting for the disk to open, or for the reason why it cannot


def cache_path(address: ImageAddress, cache_key: str | None) -> str:
    """The path of an image's cache: a digest of its whole address, or of its `cache_key`."""
    name = hashlib.sha256((cache_key or address.identity or address.url).encode()).hexdigest()[:32]
    return f"{CACHES}/{name}"


def usual_concurrency(platform: Platform, address: ImageAddress) -> int:
    """The default concurrency. Browsers open at most six HTTP/1.1 connections to a server."""
    return 16 if platform.http.is_multiplexed(address.url) else 6


def opening_retries(policy: RetryPolicy, clock: Clock) -> Retries:
    """The retries of a request that opening waits for: fewer than for a read."""
    return Retries(replace(policy, tries=min(policy.tries, _MAX_PROBES)), clock)


def shared_source(
    platform: Platform, folder: CacheFolder, version: ImageVersion, server: RangeSource
) -> SharedSource | None:
    """A source that asks the tab that has the files of this version; None if no other tab does."""
    if not folder.follows or platform.channels is None or not version.validator:
        return None
    return SharedSource(platform.channels, folder.path, str(version), server)


def check_wanted(wanted: str | None, version: ImageVersion) -> None:
    """Raises `BaseChangedError` for another version than the one that is wanted, if one is."""
    if wanted is not None and str(version) != wanted:
        raise BaseChangedError(wanted, str(version))


def check_size(digests: DigestList | None, version: ImageVersion) -> None:
    """Raises `InvalidDocumentError` when a digest list is for an image of another size."""
    if digests is not None and digests.size != version.size:
        raise InvalidDocumentError("digest list", "it is of an image of another size")


@dataclass(frozen=True, slots=True, kw_only=True)
class PinnedImage:
    """An image whose version is known, before its cache and its disk are made.

    `source` has the bytes of `version` on the server; `unchanged` finds the blocks of an older
    version that it has too. `offered_profile` asks for a boot profile that the server has.
    `load_bundle` loads the parts of a boot bundle, in blocks of the cache. `first_block` is the
    first block of the disk, if it is here already. The rest is what `StreamingDisk` says.
    """

    image: ServerImage
    version: ImageVersion
    source: RangeSource
    block_size: int
    digests: DigestList | None
    unchanged: Unchanged | None
    offered_profile: Callable[[], Awaitable[BootProfile | None]] | None = None
    load_bundle: Callable[[], Awaitable[Sequence[PackedBlocks]]] | None = None
    first_block: bytes = b""
    unit: int = 0
    sector_size: int = SECTOR_SIZE
    close: Callable[[], None] = lambda: None


async def open_pinned(
    pinned: PinnedImage,
    address: ImageAddress,
    options: RemoteSettings,
    platform: Platform,
    folder: CacheFolder,
) -> StreamingDisk:
    """The disk of an image, cached in `folder`; other tabs share it. Raises as `open_disk`.

    The disk closes the folder at its end. If this raises, the caller does.
    """
    version, block_size = pinned.version, pinned.block_size
    check_size(pinned.digests, version)
    profile = await _fitting_profile(pinned, options, folder)
    kept_bytes = 0
    if pinned.unchanged is not None:
        kept_bytes = await folder.keep_unchanged(version, block_size, pinned.unchanged)
    cache, notices = await folder.cache_for(
        version, block_size, options.cache_limit_bytes, pinned.digests
    )
    shared = shared_source(platform, folder, version, pinned.source)
    bundle: Sequence[PackedBlocks] = ()
    if shared is None and pinned.load_bundle is not None:
        bundle = await pinned.load_bundle()

    def close() -> None:
        pinned.close()
        folder.close()

    disk = StreamingDisk(
        pinned.image,
        cache,
        platform.clock,
        source=shared or pinned.source,
        storage=folder.storage.kind,
        notices=notices,
        retry=options.retry,
        max_request=options.max_request_bytes,
        concurrency=options.concurrency or usual_concurrency(platform, address),
        read_ahead=options.read_ahead,
        profile=profile,
        digests=pinned.digests,
        unit=pinned.unit,
        bundle=bundle,
        kept_bytes=kept_bytes,
        sector_size=pinned.sector_size,
        save_profile=folder.save_profile,
        make_room=partial(folder.make_room, platform),
        on_close=close,
    )
    try:
        if pinned.first_block:
            with contextlib.suppress(IntegrityError):  # a later read raises the error or succeeds
                disk.take_first_block(pinned.first_block)
        await disk.prime()
    except BaseException:
        await disk.close()
        raise
    folder.share(platform, disk, shared, options.cache_limit_bytes)
    await folder.note(platform, address.shown, version)
    return disk


async def _fitting_profile(
    pinned: PinnedImage, options: RemoteSettings, folder: CacheFolder
) -> BootProfile | None:
    """The boot profile to use; adds a notice if the given one is of another version."""
    given, version = options.read_profile(), pinned.version
    profile = given
    if options.boot_profile == "auto":
        profile = await folder.load_profile()
        if profile is None and pinned.offered_profile is not None:
            profile = await pinned.offered_profile()
    if profile is None or profile.fits(version.size, version.validator):
        return profile
    if given is not None:
        folder.notices.append("other-profile")
    return None
