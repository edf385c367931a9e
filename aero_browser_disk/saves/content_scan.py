"""Goes through a snapshot of an overlay and finds what of it must be stored in a save."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Final

from ..writable.range_set import RangeSet
from ..writable.store_snapshot import StoreSnapshot
from .content_index import ALL, GRANULE, NO_HASH, SECTORS, ContentIndex, Item, hash_of
from .save_map import SECTOR, ZEROS

UNPLACED: Final = -3
"""In place of a chunk's number, of an item whose content must be stored."""

_AT_ONCE: Final = 64  # granules
_ZERO_GRANULE: Final = bytes(GRANULE)

Found = tuple[Item, bytes]
"""An item; of one that is `UNPLACED` the bytes of its written sectors too, else none."""


def scan(
    snapshot: StoreSnapshot,
    before: ContentIndex,
    changed: RangeSet | None,
    stale: Collection[int] = (),
) -> Iterator[Found]:
    """The items of a snapshot, in order, those of `before` where they are the same.

    Reads only granules that are `changed`, which are all where that is None, that `before` does not
    know, or that are in `stale` chunks. The last are to be stored again. Raises `StorageError`.
    """
    end = -(-snapshot.contents.size // SECTOR)
    for first, count, entry in snapshot.granules():
        if entry == ALL:
            yield from ((item, b"") for item in _zeros(first, count, end))
            continue
        for start in range(first, first + count, _AT_ONCE):
            stop = min(start + _AT_ONCE, first + count)
            yield from _scan_some(snapshot, start, stop, entry & ALL, before, changed, stale, end)


def _scan_some(
    snapshot: StoreSnapshot,
    start: int,
    stop: int,
    mask: int,
    before: ContentIndex,
    changed: RangeSet | None,
    stale: Collection[int],
    end: int,
) -> Iterator[Found]:
    known: dict[int, Item] = {}
    if changed is not None:
        for granule in range(start, stop):
            old = None if granule in changed else before.find(granule)
            if old is not None and old.chunk not in stale:
                known[granule] = _single(old, granule)
        if len(known) == stop - start:
            yield from ((item, b"") for item in known.values())
            return
    data = bytearray((stop - start) * GRANULE)
    snapshot.read_into(start * GRANULE, data)
    for granule in range(start, stop):
        if granule in known:
            yield known[granule], b""
            continue
        at = (granule - start) * GRANULE
        content = bytes(data[at : at + GRANULE])
        yield _compared(granule, _inside(mask, granule, end), content, before, stale)


def _compared(
    granule: int, mask: int, content: bytes, before: ContentIndex, stale: Collection[int]
) -> Found:
    if content == _ZERO_GRANULE and mask == ALL:
        return Item(granule, 1, ALL, NO_HASH, ZEROS, 0), b""
    written = content
    if mask != ALL:
        parts = (content[bit * SECTOR : (bit + 1) * SECTOR] for bit in range(SECTORS))
        written = b"".join(part for bit, part in enumerate(parts) if mask >> bit & 1)
    found = hash_of(written)
    if not any(written):
        return Item(granule, 1, mask, found, ZEROS, 0), b""
    old = before.find(granule)
    if old is not None and (old.mask, old.hash) == (mask, found) and old.chunk not in stale:
        return old, b""
    return Item(granule, 1, mask, found, UNPLACED, 0), written


def _zeros(first: int, count: int, end: int) -> Iterator[Item]:
    """A run of zeros; a granule that the disk ends in is an item of its own."""
    whole = min(count, max(0, end // SECTORS - first))
    if whole:
        yield Item(first, whole, ALL, NO_HASH, ZEROS, 0)
    for granule in range(first + whole, first + count):
        mask = _inside(ALL, granule, end)
        if mask:
            zeros = bytes(mask.bit_count() * SECTOR)
            yield Item(granule, 1, mask, hash_of(zeros), ZEROS, 0)


def _single(item: Item, granule: int) -> Item:
    return item if item.count == 1 else Item(granule, 1, ALL, NO_HASH, ZEROS, 0)


def _inside(mask: int, granule: int, end: int) -> int:
    """The bits of sectors before the disk's end."""
    left = end - granule * SECTORS
    return mask if left >= SECTORS else mask & ((1 << max(0, left)) - 1)
