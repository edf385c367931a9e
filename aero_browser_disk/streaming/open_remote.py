"""From an address to a disk: the gate, the version, and a cache for it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import partial
from typing import Literal, TypedDict

from ..cache.budget import CACHES
from ..errors import (
    DiskError,
    InvalidDocumentError,
    InvalidOptionError,
    NetworkError,
    RemoteImagesDisabledError,
)
from ..platform import current_platform
from ..platform.base import Credentials, Platform
from ..remote.access import Access, ImageAddress, Renew
from ..remote.remote_image import ImageVersion, RemoteImage
from ..remote.retry import DEFAULT_RETRY, RetryPolicy
from . import ed25519
from .boot_profile import PROFILE_RELATION, BootProfile
from .cache_folder import CacheShelf
from .digest_list import DigestList, pin_of
from .streaming_disk import StreamingDisk
from .tab_sharing import SharedSource

KIB, MIB = 1 << 10, 1 << 20
DEFAULT_BLOCK_SIZE = 16 * KIB
_SMALLEST_BLOCK, _LARGEST_BLOCK = 4 * KIB, 8 * MIB
_LARGEST_PROFILE = 4 * MIB
_MOST_PROBES = 3  # somebody is waiting to be told


class RemoteOptions(TypedDict, total=False):
    """The options of `open_disk` that are for a remote image; it says what they mean."""

    allow_remote: bool
    cache_limit_bytes: int | None
    block_size: int
    cache_key: str | None
    headers: Mapping[str, str] | None
    credentials: Credentials
    renew: Renew | None
    expires_at: float | None
    timeout_s: float
    retry: RetryPolicy
    concurrency: int | None
    max_request_bytes: int
    read_ahead: bool
    boot_profile: bytes | Literal["auto"] | None
    digests: bytes | None
    digests_sha256: str | None
    digests_key: str | None


async def open_remote_disk(
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
    concurrency: int | None = None,
    max_request_bytes: int = 8 * MIB,
    read_ahead: bool = True,
    boot_profile: bytes | Literal["auto"] | None = "auto",
    digests: bytes | None = None,
    digests_sha256: str | None = None,
    digests_key: str | None = None,
    platform: Platform | None = None,
) -> StreamingDisk:
    """Opens the raw disk image at `url`, read-only, its blocks cached: see `open_disk`."""
    if not allow_remote:
        raise RemoteImagesDisabledError
    _check_options(cache_limit_bytes, block_size, concurrency, max_request_bytes)
    address = ImageAddress.parse(url, headers, credentials, timeout_s)
    trusted = _read_digests(digests, digests_sha256, digests_key)
    given = _read_profile(boot_profile) if isinstance(boot_profile, bytes) else None
    if trusted is not None:
        block_size = max(block_size, trusted.chunk_size)  # a block is checked whole
    outside = platform or await current_platform()
    access = Access(address, outside.clock, renew, expires_at)
    shelf = await CacheShelf.open(outside, cache_folder(address, cache_key))
    try:
        image = shelf.vouched_image(outside, access, block_size)
        if image is None:
            image = await _probe(outside, access, retry, shelf, block_size)
        _check_size(trusted, image.version)
        profile = given
        if boot_profile == "auto":
            profile = await shelf.load_profile() or await _offered_profile(image)
        if profile is not None and not profile.fits(image.version.size, image.version.validator):
            if given is not None:
                shelf.notices.append("other-profile")
            profile = None
        cache, notices = await shelf.cache_for(image.version, block_size, cache_limit_bytes)
        source = None
        if shelf.follows and outside.channels is not None:
            version = str(image.version)
            source = SharedSource(outside.channels, shelf.folder, version, image)
        disk = StreamingDisk(
            image,
            cache,
            outside.clock,
            storage=shelf.storage.kind,
            notices=notices,
            retry=retry,
            max_request=max_request_bytes,
            concurrency=concurrency or (16 if outside.http.is_multiplexed(address.url) else 6),
            read_ahead=read_ahead,
            profile=profile,
            digests=trusted,
            source=source,
            save_profile=shelf.save_profile,
            make_room=partial(shelf.make_room, outside),
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
    shelf.share(outside, disk, source, cache_limit_bytes)
    await shelf.note(outside, address.shown, image.version)
    return disk


def cache_folder(address: ImageAddress, cache_key: str | None) -> str:
    """Where the cache of an image is: a digest of its whole address, or of what names it."""
    name = hashlib.sha256((cache_key or address.identity or address.url).encode()).hexdigest()[:32]
    return f"{CACHES}/{name}"


async def _probe(
    outside: Platform, access: Access, retry: RetryPolicy, shelf: CacheShelf, block_size: int
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


def _read_digests(encoded: bytes | None, pin: str | None, key: str | None) -> DigestList | None:
    """The list, if it is the one that the pin and the key say."""
    if encoded is None:
        for option, value in (("digests_sha256", pin), ("digests_key", key)):
            if value is not None:
                raise InvalidOptionError(option, value, "given together with digests")
        return None
    if pin is not None and pin_of(encoded) != pin.lower():
        raise InvalidDocumentError("digest list", f"its SHA-256 is {pin_of(encoded)}, not {pin}")
    try:
        digests = DigestList.decode(encoded)
    except ValueError as error:
        raise InvalidDocumentError("digest list", str(error)) from error
    if key is not None and not digests.is_signed_by(_read_key(key)):
        raise InvalidDocumentError("digest list", "it is not signed by the key that was given")
    return digests


def _read_key(key: str) -> bytes:
    try:
        encoded = bytes.fromhex(key)
    except ValueError:
        encoded = b""
    if len(encoded) != ed25519.PUBLIC_KEY_LENGTH:
        raise InvalidOptionError("digests_key", key, "an Ed25519 public key, 64 hexadecimal digits")
    return encoded


def _check_size(digests: DigestList | None, version: ImageVersion) -> None:
    if digests is not None and digests.size != version.size:
        raise InvalidDocumentError("digest list", "it is of an image of another size")


async def _offered_profile(image: RemoteImage) -> BootProfile | None:
    """The boot profile that the image's host offers, if it can be had and read."""
    link = image.links.get(PROFILE_RELATION)
    if link is None:
        return None
    try:
        return BootProfile.decode(await image.fetch_document(link, _LARGEST_PROFILE))
    except (DiskError, ValueError):
        return None  # the image is readable without it


def _read_profile(encoded: bytes) -> BootProfile:
    try:
        return BootProfile.decode(encoded)
    except ValueError as error:
        raise InvalidDocumentError("boot profile", str(error)) from error


def _check_options(
    cache_limit_bytes: int | None,
    block_size: int,
    concurrency: int | None,
    max_request_bytes: int,
) -> None:
    power_of_two = block_size & (block_size - 1) == 0
    if not power_of_two or not _SMALLEST_BLOCK <= block_size <= _LARGEST_BLOCK:
        raise InvalidOptionError("block_size", block_size, "a power of two from 4 KiB to 8 MiB")
    if cache_limit_bytes is not None and cache_limit_bytes < 0:
        raise InvalidOptionError("cache_limit_bytes", cache_limit_bytes, "a number of bytes")
    if concurrency is not None and concurrency < 1:
        raise InvalidOptionError("concurrency", concurrency, "at least 1")
    if max_request_bytes < block_size:
        expected = f"at least the block size, {block_size}"
        raise InvalidOptionError("max_request_bytes", max_request_bytes, expected)
