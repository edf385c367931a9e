"""Reads gzip files made of blocks at any offset (BGZF; SAM specification §4.1).

Each block is a gzip member of at most 64 KiB that says how long it is, as `bgzip` writes them. The
index of `bgzip -i` (`.gzi`) says where they are. Without it the head of each block is read, one
after the other, which suits a local file only.
"""

from __future__ import annotations

import struct
import zlib
from array import array
from bisect import bisect_right
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from ..errors import DamagedImageError, UnsupportedImageError
from ..platform.byte_source import ByteSource
from .image_format import BGZF
from .layout import LARGEST_DISK, Buffer, Segment, read_exactly
from .pages import PageCache

HEAD_LENGTH = 18
_HEAD = struct.Struct("<4s6xH2sHH")
_BEGIN = b"\x1f\x8b\x08\x04"  # deflate, with an extra field (RFC 1952 §2.3)
_TRAILER_LENGTH = 8
_LONGEST_BLOCK = 1 << 16  # unpacked
_MAX_BLOCKS = 1 << 22  # blocks that are found without an index: some 256 GiB in 64 MiB of memory


def begins_bgzf(head: bytes) -> bool:
    """Whether a file begins with a block of BGZF."""
    return _block_length(head) is not None


@dataclass(frozen=True, slots=True)
class _Block:
    """Where a block begins, in the file and in what is unpacked, and where the next one does."""

    offset: int
    start: int
    next_offset: int
    next_start: int


class _Blocks(Protocol):
    """Finds blocks."""

    @property
    def size(self) -> int:
        """Bytes of all of them, unpacked."""

    async def find(self, offset: int) -> _Block:
        """The block that has this byte."""


class BgzfLayout:
    """The layout of a gzip file in blocks."""

    format = BGZF

    def __init__(self, source: ByteSource, blocks: _Blocks) -> None:
        self.size = blocks.size
        self._source = source
        self._blocks = blocks

    @classmethod
    async def open(cls, source: ByteSource, index: ByteSource | None = None) -> BgzfLayout:
        """Finds the blocks: through the index, or by reading the head of each.

        Raises `DamagedImageError`, `UnsupportedImageError` where there are too many blocks to find
        without an index, and what the sources raise.
        """
        if index is None:
            return cls(source, await _FoundBlocks.find_all(source))
        return cls(source, await _IndexedBlocks.open(source, index))

    async def segment(self, offset: int, stop: int) -> Segment:
        block = await self._blocks.find(offset)
        length = block.next_start - block.start
        packed = block.next_offset - block.offset
        if not 0 < length <= _LONGEST_BLOCK or not HEAD_LENGTH < packed <= 2 * _LONGEST_BLOCK:
            raise _damaged(f"its index has {length:,} bytes of the disk at byte {block.offset:,}")
        return Segment(
            offset,
            min(stop, block.next_start),
            self._source,
            block.offset,
            packed,
            _unpack,
            offset - block.start,
            length,
        )

    async def check_tables(self) -> None:
        """Does nothing: blocks follow one another, so none is used twice."""


class _FoundBlocks:
    """The blocks of a file whose heads were all read."""

    def __init__(self, offsets: array[int], starts: array[int]) -> None:
        self._offsets = offsets
        self._starts = starts
        self.size = starts[-1]

    @classmethod
    async def find_all(cls, source: ByteSource) -> _FoundBlocks:
        offsets, starts = array("Q", [0]), array("Q", [0])
        async for offset, start in _walk(source, 0, 0):
            if len(offsets) > _MAX_BLOCKS:
                raise UnsupportedImageError(
                    BGZF.name,
                    BGZF.title,
                    "It has too many blocks to find them without an index. Make one: bgzip -r FILE",
                )
            if start == starts[-1]:  # an empty block, which the next one goes on from
                offsets[-1] = offset
                continue
            offsets.append(offset)
            starts.append(start)
        return cls(offsets, starts)

    async def find(self, offset: int) -> _Block:
        index = bisect_right(self._starts, offset)
        return _Block(
            self._offsets[index - 1],
            self._starts[index - 1],
            self._offsets[index],
            self._starts[index],
        )


class _IndexedBlocks:
    """The blocks of a file with an index, which is searched page by page."""

    def __init__(self, index: PageCache, count: int, end: tuple[int, int]) -> None:
        self._index = index
        self._count = count  # of entries; the first block has none
        self._end = end
        self.size = end[1]

    @classmethod
    async def open(cls, source: ByteSource, index: ByteSource) -> _IndexedBlocks:
        pages = PageCache(index, BGZF)
        (count,) = struct.unpack("<Q", await pages.read(0, 8, "its index"))
        if 8 + count * 16 != index.size:
            raise _damaged(f"its index has {index.size:,} bytes for {count:,} blocks")
        found = cls(pages, count, (source.size, LARGEST_DISK))
        end = offset, start = await found._entry(count)
        async for after in _walk(source, offset, start):
            end = after
        return cls(pages, count, end)

    async def find(self, offset: int) -> _Block:
        low, high = 0, self._count + 1  # entry `low` begins at `offset` or before, `high` behind
        while high - low > 1:
            middle = (low + high) // 2
            if (await self._entry(middle))[1] <= offset:
                low = middle
            else:
                high = middle
        begin, following = await self._entry(low), await self._entry(high)
        return _Block(*begin, *following)

    async def _entry(self, number: int) -> tuple[int, int]:
        """Where a block begins; the one after the last is the end."""
        if not number:
            return 0, 0
        if number > self._count:
            return self._end
        offset, start = struct.unpack(
            "<QQ", await self._index.read(8 + (number - 1) * 16, 16, "its index")
        )
        return offset, start


async def _walk(source: ByteSource, offset: int, start: int) -> AsyncIterator[tuple[int, int]]:
    """Where each block ends, in the file and unpacked, from a block on."""
    head = await read_exactly(source, offset, min(HEAD_LENGTH, source.size - offset), BGZF)
    while head:
        packed = _block_length(head)
        if packed is None or packed < HEAD_LENGTH + _TRAILER_LENGTH:
            raise _damaged(f"no block begins at byte {offset:,}")
        offset += packed
        # The end of a block and the head of the next in one read.
        more = max(0, min(HEAD_LENGTH, source.size - offset))
        data = await read_exactly(source, offset - 4, 4 + more, BGZF, "a block")
        (length,) = struct.unpack_from("<I", data)
        if length > _LONGEST_BLOCK:
            raise _damaged(f"a block before byte {offset:,} has {length:,} bytes")
        start += length
        yield offset, start
        head = data[4:]


def _block_length(head: bytes) -> int | None:
    """Bytes of the block that begins so; None when it is none."""
    if len(head) < HEAD_LENGTH:
        return None
    begin, extra, field, field_length, length = _HEAD.unpack_from(head)
    if (begin, extra, field, field_length) != (_BEGIN, 6, b"BC", 2):
        return None
    return int(length) + 1


def _unpack(stored: Buffer) -> bytes:
    raw = zlib.decompressobj(zlib.MAX_WBITS | 16)
    data = raw.decompress(stored, _LONGEST_BLOCK + 1)
    if not raw.eof:
        raise ValueError("the block breaks off")
    return data


def _damaged(reason: str) -> DamagedImageError:
    return DamagedImageError(BGZF.title, reason)
