"""From an address to a disk: the gate, the version, and a cache for it."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final, Literal, TypedDict, TypeVar

from ..cache.budget import CACHES
from ..errors import (
    DiskError,
    IntegrityError,
    InvalidDocumentError,
    InvalidOptionError,
    NetworkError,
    RemoteImagesDisabledError,
    UnsupportedImageError,
)
from ..formats.layout import ImageLayout
from ..formats.opening import FORMAT_NAMES, open_layout, recognise_source
from ..formats.recognition import recognise
from ..platform import current_platform
from ..platform.base import Clock, Credentials, Platform
from ..remote.access import Access, ImageAddress, Renew
from ..remote.remote_image import ImageVersion, RemoteImage
from ..remote.retry import DEFAULT_RETRY, RetryPolicy
from . import ed25519
from .boot_profile import PROFILE_RELATION, BootProfile
from .cache_folder import CacheShelf
from .digest_list import DigestList, pin_of
from .fetch_queue import RangeSource
from .layout_source import RAW, FileSource, LayoutSource, disk_version
from .streaming_disk import StreamingDisk
from .tab_sharing import SharedSource

KIB, MIB = 1 << 10, 1 << 20
DEFAULT_BLOCK_SIZE = 16 * KIB
_SMALLEST_BLOCK, _LARGEST_BLOCK = 4 * KIB, 8 * MIB
_LARGEST_PROFILE = 4 * MIB
STREAMED_FORMATS: Final = tuple(name for name in FORMAT_NAMES if name != "bgzf")
"""What `format` may be. A BGZF needs its index, which is a file of its own."""
Result = TypeVar("Result")
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
    format: str


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
    format: str = "auto",  # noqa: A002
    platform: Platform | None = None,
) -> StreamingDisk:
    """Opens the disk image at `url`, read-only, its blocks cached: see `open_disk`."""
    if not allow_remote:
        raise RemoteImagesDisabledError
    _check_options(cache_limit_bytes, block_size, concurrency, max_request_bytes)
    if format not in STREAMED_FORMATS:
        raise InvalidOptionError("format", format, f"one of {', '.join(STREAMED_FORMATS)}")
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
        chosen = await _choose_format(format, outside, shelf, image, block_size, retry)
        version, source = chosen.version, chosen.source
        _check_size(trusted, version)
        profile = await _fitting_profile(boot_profile, given, version, shelf, image)
        cache, notices = await shelf.cache_for(version, block_size, cache_limit_bytes)
        shared = _shared_source(outside, shelf, version, source or image)
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
            source=shared or source,
            save_profile=shelf.save_profile,
            make_room=partial(shelf.make_room, outside),
            on_close=shelf.close,
        )
    except BaseException:
        shelf.close()
        raise
    try:
        if chosen.first_block:
            with contextlib.suppress(IntegrityError):  # reading it again says so, or mends it
                disk.take_first_block(chosen.first_block)
        await disk.prime()
    except BaseException:
        await disk.close()
        raise
    shelf.share(outside, disk, shared, cache_limit_bytes)
    await shelf.note(outside, address.shown, version)
    return disk


def cache_folder(address: ImageAddress, cache_key: str | None) -> str:
    """Where the cache of an image is: a digest of its whole address, or of what names it."""
    name = hashlib.sha256((cache_key or address.identity or address.url).encode()).hexdigest()[:32]
    return f"{CACHES}/{name}"


@dataclass(frozen=True, slots=True)
class _Chosen:
    """How a file is read: the version of the disk in it, and what its bytes come from.

    Without a `source` the bytes of the file are those of the disk. `first_block` is the first block
    of the disk, if it was fetched to see that.
    """

    version: ImageVersion
    source: LayoutSource | None = None
    first_block: bytes = b""


def _shared_source(
    outside: Platform, shelf: CacheShelf, version: ImageVersion, server: RangeSource
) -> SharedSource | None:
    """What asks the tab that holds the files of this version, if another does."""
    if not shelf.follows or outside.channels is None or not version.validator:
        return None
    return SharedSource(outside.channels, shelf.folder, str(version), server)


async def _read_first_block(
    outside: Platform, shelf: CacheShelf, image: RemoteImage, block_size: int
) -> bytes:
    """The first bytes of the file, from another tab that has it open as a raw image if one does."""
    shared = _shared_source(outside, shelf, image.version, image)
    try:
        return await FileSource(shared or image, image.version.size).read(0, block_size)
    finally:
        if shared is not None:
            shared.close()


async def _choose_format(
    name: str,
    outside: Platform,
    shelf: CacheShelf,
    image: RemoteImage,
    block_size: int,
    retry: RetryPolicy,
) -> _Chosen:
    """Reads the file as that format; "auto" is what its cache or its first block says.

    So a raw image takes no more requests than it did. Raises `UnsupportedImageError` and
    `DamagedImageError`.
    """
    clock = outside.clock
    file = FileSource(image, image.version.size)
    cached = shelf.stored_disk(image.version, block_size)
    first_block = shelf.cached_first_block() if cached is not None and cached[0] == RAW else b""
    if name == "auto" and cached is not None and not first_block:
        name = cached[0]
    elif name == "auto":
        first_block = first_block or await _retried(
            lambda: _read_first_block(outside, shelf, image, block_size), retry, clock
        )
        found = recognise(first_block, size=file.size)
        if found.treatment == "unpack":  # its end tells whether it can be read in the middle
            found = await _retried(lambda: recognise_source(file), retry, clock)
        if not found.is_streamable:
            raise UnsupportedImageError(found.name, found.title, found.advice)
        name = RAW if found.treatment in ("raw", "cd") else found.name
    if name == RAW:
        return _Chosen(image.version, first_block=b"" if cached is not None else first_block)

    async def opened() -> ImageLayout:
        return await open_layout(file, format=name)

    if cached is not None and cached[0] == name:
        size = cached[1]  # its tables are read when a block is missing
        return _Chosen(disk_version(name, size, image.version), LayoutSource(image, size, opened))
    layout = await _retried(opened, retry, clock)

    async def known() -> ImageLayout:
        return layout

    version = disk_version(name, layout.size, image.version)
    return _Chosen(version, LayoutSource(image, layout.size, known))


async def _retried(
    operation: Callable[[], Awaitable[Result]], retry: RetryPolicy, clock: Clock
) -> Result:
    """What it returns; tried again as a probe is, after errors that may pass."""
    started, failures = clock.now(), 0
    while True:
        try:
            return await operation()
        except DiskError as error:
            failures += 1
            delay = retry.delay_s(error, failures, clock.now() - started)
            if delay is None or failures >= _MOST_PROBES:
                raise
        await clock.sleep(delay)


async def _probe(
    outside: Platform, access: Access, retry: RetryPolicy, shelf: CacheShelf, block_size: int
) -> RemoteImage:
    """The version of now; the cached one while the host cannot be reached."""

    async def probe() -> RemoteImage:
        try:
            return await RemoteImage.probe(outside.http, access)
        except NetworkError:
            stored = shelf.stored_image(outside, access, block_size)
            if stored is None:
                raise
            shelf.notices.append("offline")
            return stored

    return await _retried(probe, retry, outside.clock)


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


async def _fitting_profile(
    wanted: bytes | Literal["auto"] | None,
    given: BootProfile | None,
    version: ImageVersion,
    shelf: CacheShelf,
    image: RemoteImage,
) -> BootProfile | None:
    """The boot profile to use; one that was given and is of another version gets a notice."""
    profile = given
    if wanted == "auto":
        profile = await shelf.load_profile() or await _offered_profile(image)
    if profile is None or profile.fits(version.size, version.validator):
        return profile
    if given is not None:
        shelf.notices.append("other-profile")
    return None


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
