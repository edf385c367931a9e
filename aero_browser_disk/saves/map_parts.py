"""The map of a save in parts: rows of a later part take the place of those before.

A push after a small change appends a small part, so that little of the manifest is new.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from .encryption import SaveCipher
from .packing import pack, unpack
from .save_manifest import MAX_CHUNKS, SaveManifest
from .save_map import MAX_ENCODED, SECTOR, ZEROS, SaveMap

_MAX_APPENDED: Final = 16
_MIN_REWRITTEN: Final = 1024
"""Bytes of all appended parts that are never a reason to write the map anew."""


async def read_map(manifest: SaveManifest, cipher: SaveCipher | None) -> SaveMap:
    """The map of a manifest. Raises `ValueError` and `UnsupportedImageError`."""
    return _overlaid(manifest, await _read_parts(manifest, cipher))


async def next_parts(
    rows: SaveMap, before: SaveManifest | None, cipher: SaveCipher | None
) -> tuple[bytes, ...]:
    """The parts of a map, those of the generation `before` again where they can be.

    Raises `SaveTooLargeError`.
    """
    if before is None or not before.has_parts:
        return (await _packed(rows, cipher),)
    old = await _read_parts(before, cipher)
    changed = rows.changed_from(_overlaid(before, old, checks=False))
    if changed is None:
        return (await _packed(rows, cipher),)
    if not len(changed):
        return before.parts
    kept = before.parts
    if len(kept) > _MAX_APPENDED:
        for part in reversed(old[1:]):
            changed = part.overlaid(changed)
        kept = kept[:1]
    added = await _packed(changed, cipher)
    appended = len(added) + sum(map(len, kept[1:]))
    if appended > max(_MIN_REWRITTEN, len(kept[0]) // 2):
        return (await _packed(rows, cipher),)
    return (*kept, added)


async def _packed(rows: SaveMap, cipher: SaveCipher | None) -> bytes:
    packed = pack(rows.encode())
    return packed if cipher is None else await cipher.encrypt_part(packed)


async def _read_parts(manifest: SaveManifest, cipher: SaveCipher | None) -> list[SaveMap]:
    names = [chunk.sha256 for chunk in manifest.chunks]
    if cipher is not None and manifest.has_parts:
        await cipher.check_seal(manifest.seal, names, manifest.parts)
    sectors = -(-manifest.base.size // SECTOR)
    found: list[SaveMap] = []
    left = MAX_ENCODED
    for part in manifest.parts:
        packed = part
        if cipher is not None and manifest.has_parts:
            packed = await cipher.decrypt_part(part)
        elif cipher is not None:
            packed = await cipher.decrypt_map(part, names)
        encoded = unpack(packed, left)
        left -= len(encoded)
        # Rows that a later part covers may name chunks that are no longer there.
        chunks = MAX_CHUNKS if manifest.has_parts else len(names)
        found.append(SaveMap.decode(encoded, sectors, chunks))
    return found


def _overlaid(manifest: SaveManifest, parts: Sequence[SaveMap], *, checks: bool = True) -> SaveMap:
    whole = parts[0]
    for part in parts[1:]:
        whole = whole.overlaid(part)
    chunks = len(manifest.chunks)
    if checks and not all(chunk == ZEROS or chunk < chunks for _, _, chunk, _ in whole):
        raise ValueError("a row of its map names content that is not there")
    return whole
