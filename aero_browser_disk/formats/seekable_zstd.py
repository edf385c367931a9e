"""Reads Zstandard files with a seek table at any offset (zstd's contrib/seekable_format)."""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_right

from ..errors import DamagedImageError, UnsupportedImageError
from ..platform.byte_source import ByteSource
from .image_format import ZSTD_SEEKABLE
from .layout import LARGEST_DISK, LARGEST_UNIT, Segment, Unpack, read_exactly
from .pages import PageCache
from .zstandard import unpack_frame

_FOOTER = struct.Struct("<IBI")
_MAGIC = 0x8F92EAB1
_SKIPPABLE = struct.Struct("<II")
_SKIPPABLE_MAGIC = 0x184D2A5E
_HAS_CHECKSUMS, _RESERVED = 0x80, 0x7C
_MAX_FRAMES = 1 << 24
_STEP = 1024  # frames from one whose offsets are kept in memory to the next


def ends_with_seek_table(tail: bytes) -> bool:
    """Whether a file ends with the footer of a seek table."""
    if len(tail) < _FOOTER.size:
        return False
    _, descriptor, magic = _FOOTER.unpack(tail[-_FOOTER.size :])
    return bool(magic == _MAGIC and not descriptor & _RESERVED)


_Frame = tuple[int, int, int, int]
"""Where a frame is, in the file and unpacked, and its lengths there."""


class SeekableZstdLayout:
    """The layout of a Zstandard file in frames.

    The table has the sizes of the frames, not their offsets: it is read once when the file is
    opened, and the offsets of every 1,024th frame are kept.
    """

    format = ZSTD_SEEKABLE

    def __init__(
        self, pages: PageCache, table: int, entry: int, offsets: array[int], starts: array[int]
    ) -> None:
        self.size = starts[-1]
        self._pages = pages
        self._table = table
        self._entry = entry
        self._offsets = offsets
        self._starts = starts
        self._frames = 0
        self._cached_group: tuple[int, list[_Frame]] = -1, []

    @classmethod
    async def open(cls, source: ByteSource) -> SeekableZstdLayout:
        """Reads the seek table.

        Raises `DamagedImageError`; `UnsupportedImageError` for frames that are too large to be
        unpacked as a whole; and what the source raises.
        """
        end = source.size - _FOOTER.size
        footer = await read_exactly(source, max(0, end), _FOOTER.size, ZSTD_SEEKABLE, "its footer")
        if not ends_with_seek_table(footer):
            raise _damaged("its seek table has no footer")
        frames, descriptor, _ = _FOOTER.unpack(footer)
        entry = 12 if descriptor & _HAS_CHECKSUMS else 8
        table = end - frames * entry
        if frames > _MAX_FRAMES or table < _SKIPPABLE.size:
            raise _damaged(f"its seek table has {frames:,} frames")
        head = await read_exactly(source, table - _SKIPPABLE.size, _SKIPPABLE.size, ZSTD_SEEKABLE)
        expected = _SKIPPABLE_MAGIC, frames * entry + _FOOTER.size
        if _SKIPPABLE.unpack(head) != expected:
            raise _damaged("its seek table does not begin where it should")
        pages = PageCache(source, ZSTD_SEEKABLE)
        offsets, starts = array("Q"), array("Q")
        offset = start = 0
        for first in range(0, frames, _STEP):
            offsets.append(offset)
            starts.append(start)
            sizes = await _sizes(pages, table, entry, first, min(_STEP, frames - first))
            for packed, length in sizes:
                if length > LARGEST_UNIT:
                    raise UnsupportedImageError(
                        ZSTD_SEEKABLE.name,
                        ZSTD_SEEKABLE.title,
                        f"A frame of it has {length:,} bytes, which is too large to read a part of "
                        f"it. Compress it again in frames of at most {LARGEST_UNIT:,} bytes.",
                    )
                offset += packed
                start += length
        if offset > table - _SKIPPABLE.size or start > LARGEST_DISK:
            raise _damaged(f"its frames should have {offset:,} bytes")
        offsets.append(offset)
        starts.append(start)
        found = cls(pages, table, entry, offsets, starts)
        found._frames = frames
        return found

    async def segment(self, offset: int, stop: int) -> Segment:
        index = bisect_right(self._starts, offset, hi=len(self._starts) - 1) - 1
        frames = await self._group(index)
        stored_at, start, packed, length = frames[bisect_right(frames, offset, key=_start_of) - 1]
        return Segment(
            offset,
            min(stop, start + length),
            self._pages.source,
            stored_at,
            packed,
            _unpack(length),
            offset - start,
            length,
        )

    async def _group(self, index: int) -> list[_Frame]:
        """The frames from one whose offset is kept to the next; those asked for last are cached."""
        if self._cached_group[0] != index:
            first = index * _STEP
            count = min(_STEP, self._frames - first)
            stored_at, start = self._offsets[index], self._starts[index]
            frames = []
            for packed, length in await _sizes(self._pages, self._table, self._entry, first, count):
                frames.append((stored_at, start, packed, length))
                stored_at, start = stored_at + packed, start + length
            self._cached_group = index, frames
        return self._cached_group[1]

    async def check_tables(self) -> None:
        """Does nothing: frames follow one another, so none is used twice."""


async def _sizes(
    pages: PageCache, table: int, entry: int, first: int, count: int
) -> list[tuple[int, int]]:
    """How long some frames are, packed and unpacked."""
    data = await pages.read(table + first * entry, count * entry, "its seek table")
    return [struct.unpack_from("<II", data, at) for at in range(0, len(data), entry)]


def _start_of(frame: _Frame) -> int:
    return frame[1]


def _unpack(length: int) -> Unpack:
    return lambda stored: unpack_frame(stored, length, ZSTD_SEEKABLE)


def _damaged(reason: str) -> DamagedImageError:
    return DamagedImageError(ZSTD_SEEKABLE.title, reason)
