"""What of an overlay is in which chunk of its save, with a hash of each granule.

An item is a granule (4 KiB) or a run of granules that are all zeros. A granule has the mask of its
written sectors, a hash of their bytes, and the place of these bytes in a chunk.
"""

from __future__ import annotations

import hashlib
import struct
from array import array
from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from ..writable.range_set import RangeSet
from .save_map import SECTOR, ZEROS, SaveMap

GRANULE: Final = 4096
SECTORS: Final = 8
ALL: Final = 0xFF
HASH: Final = 16
NO_HASH: Final = bytes(HASH)

LOST: Final = -2
"""In place of a chunk's number: the content is not on the server, or not in one piece."""

_DIGESTED: Final = struct.Struct("<QQB")
_CHUNK: Final = struct.Struct("<32sIH")
_HEAD: Final = struct.Struct("<II")


def hash_of(data: bytes) -> bytes:
    """The hash of a granule's written sectors."""
    return hashlib.blake2b(data, digest_size=HASH).digest()


@dataclass(frozen=True, slots=True)
class IndexedChunk:
    """A chunk: the SHA-256 of its stored bytes, their number, and the sectors of its content."""

    sha256: bytes
    length: int
    sectors: int


GONE: Final = IndexedChunk(bytes(32), 0, 0)
"""In place of a chunk that is not on the server, or not yet."""


@dataclass(frozen=True, slots=True)
class Item:
    """A granule, or a run of zeros. `offset` is a sector of the chunk's content."""

    granule: int
    count: int
    mask: int
    hash: bytes
    chunk: int
    offset: int


class ContentIndex:
    """Items in order, in columns: 45 bytes each."""

    def __init__(self, chunks: Iterable[IndexedChunk] = ()) -> None:
        self.chunks = list(chunks)
        self._granules = array("Q")
        self._counts = array("Q")
        self._masks = bytearray()
        self._hashes = bytearray()
        self._chunks = array("q")
        self._offsets = array("H")

    def __len__(self) -> int:
        return len(self._granules)

    def __getitem__(self, index: int) -> Item:
        return Item(
            self._granules[index],
            self._counts[index],
            self._masks[index],
            bytes(self._hashes[index * HASH : index * HASH + HASH]),
            self._chunks[index],
            self._offsets[index],
        )

    def __iter__(self) -> Iterator[Item]:
        return (self[index] for index in range(len(self)))

    @property
    def end(self) -> int:
        """The granule behind the last item."""
        return self._granules[-1] + self._counts[-1] if self._granules else 0

    def find(self, granule: int) -> Item | None:
        """The item that a granule belongs to; None if it is not known, or its chunk is lost."""
        index = bisect_right(self._granules, granule) - 1
        if index < 0 or granule >= self._granules[index] + self._counts[index]:
            return None
        return None if self._chunks[index] == LOST else self[index]

    def add(self, item: Item) -> None:
        """Appends an item; runs of zeros are joined."""
        if (
            item.mask == ALL
            and item.chunk == ZEROS
            and self._granules
            and (self._masks[-1], self._chunks[-1]) == (ALL, ZEROS)
            and self._granules[-1] + self._counts[-1] == item.granule
        ):
            self._counts[-1] += item.count
            return
        self._granules.append(item.granule)
        self._counts.append(item.count)
        self._masks.append(item.mask)
        self._hashes += item.hash
        self._chunks.append(item.chunk)
        self._offsets.append(item.offset)

    def extend(self, other: ContentIndex) -> None:
        """Appends the items of another index with the same chunks that come after its own."""
        start = bisect_right(other._granules, self.end - 1) if self.end else 0
        for index in range(start, len(other)):
            self.add(other[index])

    def lose(self, chunks: set[int]) -> None:
        """Notes that chunks are not on the server."""
        for chunk in chunks:
            self.chunks[chunk] = GONE
        for index, chunk in enumerate(self._chunks):
            if chunk in chunks:
                self._chunks[index] = LOST

    def live_sectors(self, changed: RangeSet) -> list[int]:
        """How many sectors of each chunk are in use, without those of `changed` granules."""
        live = [0] * len(self.chunks)
        for granule, mask, chunk in zip(self._granules, self._masks, self._chunks, strict=True):
            if chunk >= 0 and granule not in changed:
                live[chunk] += mask.bit_count()
        return live

    def compacted(self, before: Sequence[bytes] = ()) -> ContentIndex:
        """The same with only the chunks that are in use, each of them once.

        Those that were in use `before`, by the SHA-256 of each, keep their numbers if they can.
        """
        used = sorted({chunk for chunk in self._chunks if chunk >= 0})
        distinct = {self.chunks[chunk].sha256: self.chunks[chunk] for chunk in used}
        order = _numbered(distinct, before)
        numbers = {sha256: index for index, sha256 in enumerate(order)}
        number = {chunk: numbers[self.chunks[chunk].sha256] for chunk in used}
        found = ContentIndex(distinct[sha256] for sha256 in order)
        found._granules, found._counts = self._granules, self._counts
        found._masks, found._hashes, found._offsets = self._masks, self._hashes, self._offsets
        found._chunks = array("q", [number.get(chunk, chunk) for chunk in self._chunks])
        return found

    def digest(self, version: str, size: int) -> str:
        """SHA-256 in hex of the base and of what was written, wherever it is stored."""
        digest = hashlib.sha256(f"aero-disk-save content\n{version}\n{size}\n".encode())
        for item in self:
            is_zeros = item.mask == ALL and item.chunk == ZEROS
            digest.update(_DIGESTED.pack(item.granule, item.count, item.mask))
            digest.update(NO_HASH if is_zeros else item.hash)
        return digest.hexdigest()

    def map(self, size: int) -> SaveMap:
        """The map of a disk of `size` bytes."""
        end = -(-size // SECTOR)
        found = SaveMap()
        for item in self:
            first = item.granule * SECTORS
            if item.count > 1 or item.mask == ALL:
                count = min(item.count * SECTORS, end - first)
                found.add(first, count, item.chunk, item.offset)
                continue
            offset = item.offset
            for start, count in runs_of(item.mask):
                found.add(first + start, count, item.chunk, offset)
                offset += count if item.chunk >= 0 else 0
        return found

    # ── as bytes ─────────────────────────────────────────────────────────────────────────────────

    def encode(self) -> bytes:
        """Its bytes, for this machine only."""
        parts = [_HEAD.pack(len(self.chunks), len(self))]
        parts += [_CHUNK.pack(one.sha256, one.length, one.sectors) for one in self.chunks]
        columns = self._granules, self._counts, self._masks, self._hashes, self._chunks
        parts += [bytes(column) for column in (*columns, self._offsets)]
        return b"".join(parts)

    @classmethod
    def decode(cls, data: bytes) -> ContentIndex:
        """Reads what `encode` wrote; raises `ValueError` for anything else."""
        try:
            chunks, items = _HEAD.unpack_from(data)
            at = _HEAD.size + chunks * _CHUNK.size
            found = cls(
                IndexedChunk(*fields) for fields in _CHUNK.iter_unpack(data[_HEAD.size : at])
            )
            for column in (found._granules, found._counts):
                column.frombytes(data[at : at + 8 * items])
                at += 8 * items
            found._masks += data[at : at + items]
            at += items
            found._hashes += data[at : at + HASH * items]
            at += HASH * items
            found._chunks.frombytes(data[at : at + 8 * items])
            at += 8 * items
            found._offsets.frombytes(data[at:])
        except struct.error as error:
            raise ValueError(str(error)) from error
        if len(found._offsets) != items or len(found.chunks) != chunks:
            raise ValueError("it breaks off")
        return found


def _numbered(chunks: Collection[bytes], before: Sequence[bytes]) -> list[bytes]:
    """The chunks in an order that keeps the places of those before; the others fill the gaps."""
    order = [sha256 if sha256 in chunks else b"" for sha256 in before]
    known = set(order)
    new = [sha256 for sha256 in chunks if sha256 not in known]
    for place, sha256 in enumerate(order):
        if not sha256 and new:
            order[place] = new.pop(0)
    order += new
    place = 0
    while place < len(order):
        if order[place]:
            place += 1
        elif last := order.pop():
            order[place] = last
    return order


def runs_of(mask: int) -> Iterator[tuple[int, int]]:
    """The runs of bits that are set: the first, and how many."""
    start = 0
    while mask >> start:
        while not mask >> start & 1:
            start += 1
        stop = start
        while mask >> stop & 1:
            stop += 1
        yield start, stop - start
        start = stop
