"""Opens a URL as a disk: checks the consent, pins the version, opens the cache."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from functools import partial

from ..errors import (
    DiskError,
    HttpStatusError,
    ImageChangedError,
    InvalidDocumentError,
    NetworkError,
    RemoteImagesDisabledError,
    UnsupportedImageError,
)
from ..formats.image_format import BGZF, PREPARED
from ..formats.layout import ImageLayout
from ..formats.opening import open_layout, recognise_source
from ..formats.recognition import recognise
from ..platform import current_platform
from ..platform.base import Platform
from ..platform.byte_source import BytesSource
from ..remote.access import Access, ImageAddress
from ..remote.remote_image import ImageVersion, RemoteImage
from ..remote.retry import RetryPolicy
from .boot_profile import PROFILE_RELATION, BootProfile
from .cache_folder import CacheFolder
from .kept_blocks import unchanged_by_digests
from .layout_source import RAW, FileSource, LayoutSource, disk_version
from .open_cue import is_cue_address, open_cue
from .open_prepared import is_manifest_address, open_prepared
from .opening import (
    PinnedImage,
    cache_path,
    check_wanted,
    open_pinned,
    opening_retries,
    shared_source,
)
from .remote_options import RemoteSettings
from .streaming_disk import StreamingDisk

__all__ = ["cache_path", "open_remote_disk"]

MIB = 1 << 20
_NAME_IT = 'Open it with format="prepared": the address of a manifest ends in .json otherwise.'
_INDEX_IT = "Its index is not next to it. Make one: bgzip -r FILE, and put FILE.gzi there too."
_LARGEST_PROFILE = 4 * MIB
_LARGEST_INDEX = 16 * MIB  # of 64 GiB


async def open_remote_disk(
    url: str,
    options: RemoteSettings,
    platform: Platform | None = None,
    *,
    trusts_freshness: bool = True,
    wanted: str | None = None,
) -> StreamingDisk:
    """Opens the disk image at `url`, read-only, its blocks cached: see `open_disk`.

    Without `trusts_freshness` the server is asked which version is current even while the cached
    one is fresh (`Cache-Control: max-age`). With `wanted` only that version of the disk is opened,
    of a prepared image also when it is no longer current: else it is a `BaseChangedError`, and
    what is cached stays as it is.
    """
    if trusts_freshness:
        # Nothing was read yet, so another version is fine.
        with contextlib.suppress(ImageChangedError, InvalidDocumentError):
            # Either the server has another version by now than the one that is cached and fresh:
            # it changed, or is not the one that the digest list or the pin is for; or the image
            # changed between two requests.
            return await _open(url, options, platform, wanted, trusts_freshness=True)
    return await _open(url, options, platform, wanted, trusts_freshness=False)


async def _open(
    url: str,
    options: RemoteSettings,
    platform: Platform | None,
    wanted: str | None,
    *,
    trusts_freshness: bool,
) -> StreamingDisk:
    """Opens it; makes no request while the cached version is fresh and may be trusted."""
    if not options.allow_remote:
        raise RemoteImagesDisabledError
    options.check()
    address = ImageAddress.parse(url, options.headers, options.credentials, options.timeout_s)
    platform = platform or await current_platform()
    is_prepared = is_manifest_address(address, options.format)
    trusted = await options.read_digests(may_be_manifest=is_prepared)
    options.read_profile()  # one that cannot be read is an error before any request
    if is_prepared:
        return await open_prepared(
            address, options, platform, trusted, wanted, trusts_freshness=trusts_freshness
        )
    block_size, retry = options.block_size, options.retry
    if trusted is not None:
        block_size = max(block_size, trusted.chunk_size)  # a block is verified as a whole
    folder = await CacheFolder.open(platform, cache_path(address, options.cache_key))
    try:
        if is_cue_address(address, options.format):
            address, options = await open_cue(
                address, options, platform, folder, trusts_freshness=trusts_freshness
            )
        access = Access(address, platform.clock, options.renew, options.expires_at)
        image = folder.fresh_image(platform, access, block_size) if trusts_freshness else None
        if image is None:
            image = await _probe(platform, access, retry, folder, block_size)
        chosen = await _choose_format(options.format, platform, folder, image, block_size, retry)
        check_wanted(wanted, chosen.version)
        pinned = PinnedImage(
            image=image,
            version=chosen.version,
            source=chosen.source or image,
            block_size=block_size,
            digests=trusted,
            unchanged=None if trusted is None else partial(unchanged_by_digests, trusted),
            offered_profile=partial(_offered_profile, image),
            first_block=chosen.first_block,
        )
        return await open_pinned(pinned, address, options, platform, folder)
    except BaseException:
        await folder.close_unopened(platform)
        raise


@dataclass(frozen=True, slots=True)
class _Chosen:
    """How a file is read: the version of the disk in it, and the source of its bytes.

    Without a `source` the bytes of the file are those of the disk. `first_block` is the first block
    of the disk, if it was fetched to recognise the format.
    """

    version: ImageVersion
    source: LayoutSource | None = None
    first_block: bytes = b""


async def _read_first_block(
    platform: Platform, folder: CacheFolder, image: RemoteImage, block_size: int
) -> bytes:
    """The first bytes of the file, from another tab that has it open as a raw image if one does."""
    shared = shared_source(platform, folder, image.version, image)
    try:
        return await FileSource(shared or image, image.version.size).read(0, block_size)
    finally:
        if shared is not None:
            shared.close()


async def _choose_format(
    name: str,
    platform: Platform,
    folder: CacheFolder,
    image: RemoteImage,
    block_size: int,
    retry: RetryPolicy,
) -> _Chosen:
    """Chooses the format; "auto" takes it from the cache or recognises it by the first block.

    So a raw image takes no extra request. Raises `UnsupportedImageError` and
    `DamagedImageError`.
    """
    clock = platform.clock
    file = FileSource(image, image.version.size)
    cached = folder.stored_disk(image.version, block_size)
    first_block = folder.cached_first_block() if cached is not None and cached[0] == RAW else b""
    if name == "auto" and cached is not None and not first_block:
        name = cached[0]
    elif name == "auto":
        first_block = first_block or await opening_retries(retry, clock).run(
            lambda: _read_first_block(platform, folder, image, block_size)
        )
        found = recognise(first_block, size=file.size)
        if found.treatment == "unpack":  # its end shows whether it can be read in the middle
            found = await opening_retries(retry, clock).run(lambda: recognise_source(file))
        if found is PREPARED:
            raise UnsupportedImageError(found.name, found.title, _NAME_IT)
        if not found.is_streamable:
            raise UnsupportedImageError(found.name, found.title, found.advice)
        name = RAW if found.treatment in ("raw", "cd") else found.name
    if name == RAW:
        return _Chosen(image.version, first_block=b"" if cached is not None else first_block)

    async def opened() -> ImageLayout:
        index = await _bgzf_index(image) if name == BGZF.name else None
        return await open_layout(file, format=name, index=index)

    if cached is not None and cached[0] == name:
        size = cached[1]  # the file's tables are only read when a block is missing
        return _Chosen(disk_version(name, size, image.version), LayoutSource(image, size, opened))
    layout = await opening_retries(retry, clock).run(opened)

    async def known() -> ImageLayout:
        return layout

    version = disk_version(name, layout.size, image.version)
    return _Chosen(version, LayoutSource(image, layout.size, known))


async def _bgzf_index(image: RemoteImage) -> BytesSource:
    """The index of a file that bgzip compressed, next to it; raises `UnsupportedImageError`."""
    try:
        return BytesSource(await image.fetch_sidecar(".gzi", _LARGEST_INDEX))
    except HttpStatusError as error:
        if error.status in (403, 404, 410):
            raise UnsupportedImageError(BGZF.name, BGZF.title, _INDEX_IT) from error
        raise


async def _probe(
    platform: Platform, access: Access, retry: RetryPolicy, folder: CacheFolder, block_size: int
) -> RemoteImage:
    """The current version; the cached one while the server cannot be reached."""

    async def probe() -> RemoteImage:
        try:
            return await RemoteImage.probe(platform.http, access)
        except NetworkError:
            stored = folder.stored_image(platform, access, block_size)
            if stored is None:
                raise
            folder.notices.append("offline")
            return stored

    return await opening_retries(retry, platform.clock).run(probe)


async def _offered_profile(image: RemoteImage) -> BootProfile | None:
    """The boot profile that the image's server offers, if it can be downloaded and read."""
    link = image.links.get(PROFILE_RELATION)
    if link is None:
        return None
    try:
        return BootProfile.decode(await image.fetch_document(link, _LARGEST_PROFILE))
    except (DiskError, ValueError):
        return None  # the image is readable without it
