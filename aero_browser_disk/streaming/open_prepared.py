"""Opens a prepared image from the address of its manifest."""

from __future__ import annotations

import hashlib
from functools import partial

from ..cache.block_store import BlockStore
from ..errors import BaseChangedError, InvalidDocumentError, NetworkError
from ..formats.image_format import PREPARED
from ..formats.prepared.chunk_table import ChunkTable
from ..platform.base import Platform
from ..remote.access import Access, ImageAddress
from ..remote.remote_image import Traffic
from ..remote.whole_files import WholeFiles
from .block_fetch import PackedBlocks
from .cache_folder import CacheFolder
from .digest_list import DigestList
from .kept_blocks import kept_page, manifest_of, unchanged_by_tables
from .layout_source import LayoutSource
from .opening import PinnedImage, cache_path, open_pinned, opening_retries
from .prepared_source import PreparedImage
from .remote_options import RemoteSettings, read_public_key
from .streaming_disk import StreamingDisk


def is_manifest_address(address: ImageAddress, format_name: str) -> bool:
    """Whether an address is treated as that of a manifest, decided without a request."""
    is_json = address.web_url.path.endswith(".json")
    return format_name == PREPARED.name or (format_name == "auto" and is_json)


async def open_prepared(
    address: ImageAddress,
    options: RemoteSettings,
    platform: Platform,
    digests: DigestList | None,
    wanted: str | None = None,
    *,
    trusts_freshness: bool,
) -> StreamingDisk:
    """Opens the prepared image whose manifest is at an address, read-only, its blocks cached.

    Makes no request while the stored manifest is fresh, if `trusts_freshness`. Without `digests`
    the pin and the key in the options apply to the manifest. With `wanted` that version is opened,
    from its stored manifest if it is no longer current. Raises as `open_disk`, and
    `BaseChangedError` when that manifest is not stored, or not trusted.
    """
    traffic = Traffic()
    access = Access(address, platform.clock, options.renew, options.expires_at)
    folder = await CacheFolder.open(platform, cache_path(address, options.cache_key))
    try:
        files = WholeFiles(platform.http, access, traffic)
        current = await _current(
            files, access, traffic, options, platform, folder, trusts_freshness, wanted
        )
        image = current
        if wanted is not None and str(current.version) != wanted:
            image = await _older(wanted, current, files, access, traffic, options, folder)
        block_size = options.block_size
        if digests is not None:
            block_size = max(block_size, digests.chunk_size)  # a block is verified as a whole
        pinned = PinnedImage(
            image=image,
            version=image.version,
            source=LayoutSource(None, image.version.size, image.layout),
            block_size=block_size,
            digests=digests,
            unchanged=partial(_unchanged, options, platform, folder, image),
            load_bundle=partial(_bundle_parts, image, block_size),
            unit=image.manifest.chunk_size,
            sector_size=image.manifest.sector_size,
            close=image.close,
        )
        return await open_pinned(pinned, address, options, platform, folder)
    except BaseException:
        await folder.close_unopened(platform)
        raise


async def _older(
    wanted: str,
    current: PreparedImage,
    files: WholeFiles,
    access: Access,
    traffic: Traffic,
    options: RemoteSettings,
    folder: CacheFolder,
) -> PreparedImage:
    """The image of an older version, whose manifest is stored; its files may still be there."""
    kept = await folder.open_kept()
    found = manifest_of(kept, wanted.rpartition(", ")[0])
    if found is None:
        raise BaseChangedError(wanted, str(current.version))
    encoded, _ = found
    image = PreparedImage.of(encoded, files, access, kept, traffic)
    image.confirmed = current.confirmed
    try:
        await _check_trust(encoded, image, options)
    except InvalidDocumentError as error:
        raise BaseChangedError(wanted, str(current.version)) from error
    folder.notices.append("older-version")
    return image


async def _current(
    files: WholeFiles,
    access: Access,
    traffic: Traffic,
    options: RemoteSettings,
    platform: Platform,
    folder: CacheFolder,
    trusts_freshness: bool,
    wanted: str | None,
) -> PreparedImage:
    """The image of the current manifest; of the stored one while that is fresh, or offline.

    The current one is not stored while another version is `wanted`.
    """
    kept = await folder.open_kept()
    known = kept.manifest
    fresh_for_s = folder.store.fresh_until - platform.clock.now()
    if known is not None and trusts_freshness and fresh_for_s > 0:
        image = PreparedImage.of(known, files, access, kept, traffic)
        image.fresh_for_s = fresh_for_s
        await _check_trust(known, image, options)
        return image
    try:
        encoded, image = await opening_retries(options.retry, platform.clock).run(
            lambda: PreparedImage.fetch(files, access, kept, traffic)
        )
    except NetworkError:
        if known is None:
            raise
        folder.notices.append("offline")
        image = PreparedImage.of(known, files, access, kept, traffic)
        await _check_trust(known, image, options)
        return image
    await _check_trust(encoded, image, options)
    if wanted is None or str(image.version) == wanted:
        image.keep_manifest(encoded)
    return image


async def _unchanged(
    options: RemoteSettings,
    platform: Platform,
    folder: CacheFolder,
    image: PreparedImage,
    store: BlockStore,
) -> set[int]:
    """The blocks of a store that this version has too, found by comparing both tables."""
    old = store.image
    kept = await folder.open_kept()
    found = None if old is None else manifest_of(kept, old.validator)
    if old is None or found is None:
        return set()
    before = ChunkTable(found[1], partial(kept_page, kept))
    after = ChunkTable(image.manifest, image.load_document)
    return await opening_retries(options.retry, platform.clock).run(
        lambda: unchanged_by_tables(store.slot_of, old.block_size, before, after)
    )


async def _check_trust(encoded: bytes, image: PreparedImage, options: RemoteSettings) -> None:
    """Raises `InvalidDocumentError` unless the manifest matches the options' pin and key."""
    if options.digests is not None:
        return
    pin, key = options.digests_sha256, options.digests_key
    found = hashlib.sha256(encoded).hexdigest()
    if pin is not None and pin.lower() != found:
        raise InvalidDocumentError("manifest", f"its SHA-256 is {found}, not {pin}")
    if key is not None and not await image.manifest.is_signed_by(read_public_key(key)):
        raise InvalidDocumentError("manifest", "it is not signed by the key that was given")


async def _bundle_parts(image: PreparedImage, block_size: int) -> list[PackedBlocks]:
    """The parts of the boot bundle in blocks of the cache; none if the cache's are larger."""
    bundle = await image.load_bundle()
    if bundle is None or block_size > bundle.block_size:
        return []
    each = bundle.block_size // block_size
    size = image.manifest.size
    parts = []
    for part in bundle.parts:
        blocks = [
            number
            for block in part.blocks
            for number in range(block * each, block * each + each)
            if number * block_size < size
        ]
        load = partial(image.load_part, part, bundle.length_of(part))
        parts.append(PackedBlocks(tuple(blocks), load))
    return parts
