"""Finds the cached blocks of an older version that are unchanged, to avoid downloading them."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from ..cache.block_store import BlockStore
from ..errors import DiskError, StorageError
from ..formats.prepared.chunk_table import ChunkTable
from ..formats.prepared.manifest import Manifest, disk_validator
from ..formats.prepared.stored_files import StoredFile
from .digest_list import DigestList
from .kept_files import KeptFiles

_BLOCKS_AT_ONCE = 64  # hashed before other tasks run


async def unchanged_by_digests(digests: DigestList, store: BlockStore) -> set[int]:
    """The blocks of a store that match a digest list of the new version.

    A block that is not a whole number of the list's chunks cannot be checked.
    """
    image = store.image
    if image is None or image.block_size % digests.chunk_size:
        return set()
    same: set[int] = set()
    each = image.block_size // digests.chunk_size
    for count, block in enumerate(list(store.slot_of)):
        if not count % _BLOCKS_AT_ONCE:
            await asyncio.sleep(0)
        data = bytearray(image.block_length(block))
        stop = block * image.block_size + len(data)
        ends_alike = len(data) == image.block_size or stop == digests.size
        try:
            if not ends_alike or stop > digests.size or not store.read_into(block, 0, data):
                continue
        except StorageError:
            return set()
        if all(
            digests.verify(block * each + index, data[at : at + digests.chunk_size])
            for index, at in enumerate(range(0, len(data), digests.chunk_size))
        ):
            same.add(block)
    return same


async def unchanged_by_tables(
    cached: Collection[int], block_size: int, before: ChunkTable, after: ChunkTable
) -> set[int]:
    """The `cached` blocks whose chunks are the same in two versions of a prepared image.

    Only the stored pages of the older table are used. Raises what loading a page of the new table
    does.
    """
    chunk_size = before.manifest.chunk_size
    if after.manifest.chunk_size != chunk_size:
        return set()
    chunks_of = {
        block: range(block * block_size // chunk_size, -(-(block + 1) * block_size // chunk_size))
        for block in cached
    }
    counts = before.manifest.chunk_count, after.manifest.chunk_count
    same: dict[int, bool] = {}
    for chunk in sorted({chunk for chunks in chunks_of.values() for chunk in chunks}):
        if chunk < min(counts):
            same[chunk] = await _is_same(chunk, before, after)
    return {
        block
        for block, chunks in chunks_of.items()
        if all(same.get(chunk, chunk >= max(counts)) for chunk in chunks)
    }


async def _is_same(chunk: int, before: ChunkTable, after: ChunkTable) -> bool:
    if before.manifest.chunk_length(chunk) != after.manifest.chunk_length(chunk):
        return False
    try:
        old = await before.entry(chunk)
    except (PageNotKeptError, DiskError):
        return False
    return old == await after.entry(chunk)


class PageNotKeptError(Exception):
    """A page of the older table was not stored."""


async def kept_page(kept: KeptFiles, file: StoredFile, _: int) -> bytes:
    """A page of an older table; raises `PageNotKeptError`."""
    found = kept.get(file.digest)
    if found is None:
        raise PageNotKeptError
    return found


def manifest_of(kept: KeptFiles, validator: str) -> tuple[bytes, Manifest] | None:
    """The stored manifest of an older version, as it was stored and as it was read."""
    for encoded in kept.manifests():
        try:
            manifest = Manifest.decode(encoded)
        except DiskError:
            continue
        if disk_validator(manifest) == validator:
            return encoded, manifest
    return None
