"""Reads fixed and dynamic VHDs (Microsoft, "Virtual Hard Disk Image Format Specification", 1.0)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from ..errors import DamagedImageError, UnsupportedImageError
from ..platform.byte_source import ByteSource
from .image_format import VHD_DIFFERENCING, VHD_DYNAMIC, VHD_FIXED, ImageFormat
from .layout import LARGEST_DISK, ImageLayout, Segment, raw_segment
from .pages import PageCache

SECTOR: Final = 512

_FOOTER = struct.Struct(">8sIIQI4sI4sQQHBBII")
_FOOTER_LENGTH = 512
_OLD_FOOTER_LENGTH = 511  # of Virtual PC before 2004
_COOKIE = b"conectix"
_CHECKSUM_AT = 64
_FIXED, _DYNAMIC, _DIFFERENCING = 2, 3, 4
_LARGEST_GEOMETRY = 65535 * 16 * 255  # sectors: above, the geometry has no meaning
# For these creators the size is that of the geometry, for all others the size field, as in QEMU.
_SIZED_BY_GEOMETRY = (b"vpc ", b"qemu")

_DYNAMIC_HEADER = struct.Struct(">8sQQIIII")
_DYNAMIC_HEADER_LENGTH = 1024
_DYNAMIC_COOKIE = b"cxsparse"
_DYNAMIC_CHECKSUM_AT = 36
_LARGEST_BLOCK = 256 << 20  # bytes
_UNUSED = 0xFFFFFFFF
_ENTRIES_AT_ONCE = 4096
_SECTORS_AT_ONCE = 1 << 15


@dataclass(frozen=True, slots=True)
class VhdFooter:
    """What the end of the file says, and for a dynamic disk its beginning too."""

    kind: int
    size: int
    data_offset: int

    @classmethod
    def parse(cls, data: bytes) -> VhdFooter | None:
        """Reads a footer; None when it is none, or not as it was written."""
        if len(data) < _OLD_FOOTER_LENGTH or not data.startswith(_COOKIE):
            return None
        (
            _,
            _,
            _,
            data_offset,
            _,
            creator,
            _,
            _,
            _,
            noted_size,
            cylinders,
            heads,
            sectors,
            kind,
            checksum,
        ) = _FOOTER.unpack_from(data)
        if checksum != _checksum(data[:_FOOTER_LENGTH], _CHECKSUM_AT):
            return None
        geometry = cylinders * heads * sectors
        by_geometry = creator in _SIZED_BY_GEOMETRY and 0 < geometry < _LARGEST_GEOMETRY
        return cls(kind, geometry * SECTOR if by_geometry else noted_size, data_offset)

    @property
    def format(self) -> ImageFormat | None:
        """The kind of VHD; None for one that is not known."""
        kinds = {_FIXED: VHD_FIXED, _DYNAMIC: VHD_DYNAMIC, _DIFFERENCING: VHD_DIFFERENCING}
        return kinds.get(self.kind)


async def open_vhd(source: ByteSource) -> ImageLayout:
    """The layout of a VHD.

    Raises `DamagedImageError`, `UnsupportedImageError` for a differencing one, and what `source`
    raises.
    """
    end = await source.read(max(0, source.size - _FOOTER_LENGTH), _FOOTER_LENGTH)
    start = await source.read(0, _FOOTER_LENGTH)
    footer = VhdFooter.parse(end) or VhdFooter.parse(end[1:]) or VhdFooter.parse(start)
    if footer is None:
        raise _damaged(VHD_FIXED, "its footer is missing or has a wrong checksum")
    kind = footer.format
    if kind is VHD_DIFFERENCING:
        raise UnsupportedImageError(kind.name, kind.title, kind.advice)
    if kind is None:
        raise _damaged(VHD_FIXED, f"its kind is {footer.kind}")
    if footer.size % SECTOR or not 0 < footer.size <= LARGEST_DISK:
        raise _damaged(kind, f"its disk has {footer.size:,} bytes")
    if kind is VHD_FIXED:
        return FixedVhd(source, footer)
    return await DynamicVhd.open(source, footer)


class FixedVhd:
    """A raw disk with a footer: an `ImageLayout`."""

    format = VHD_FIXED

    def __init__(self, source: ByteSource, footer: VhdFooter) -> None:
        if source.size < footer.size + _OLD_FOOTER_LENGTH:
            found = f"it has {source.size:,} bytes for a disk of {footer.size:,}"
            raise _damaged(VHD_FIXED, found)
        self.size = footer.size
        self._source = source

    async def segment(self, offset: int, stop: int) -> Segment:
        return raw_segment(offset, stop, self._source, offset)

    async def check_tables(self) -> None:
        """Does nothing: a fixed VHD has no tables."""


class DynamicVhd:
    """An `ImageLayout` of blocks, each behind a bitmap of its sectors that were ever written."""

    format = VHD_DYNAMIC

    def __init__(self, pages: PageCache, size: int, block_size: int, table: int) -> None:
        self.size = size
        self._pages = pages
        self._block_size = block_size
        self._table = table
        self._bitmap_length = -(-block_size // SECTOR // 8 // SECTOR) * SECTOR

    @classmethod
    async def open(cls, source: ByteSource, footer: VhdFooter) -> DynamicVhd:
        """Reads the second header; raises as `open_vhd` does."""
        pages = PageCache(source, VHD_DYNAMIC)
        data = await pages.read(footer.data_offset, _DYNAMIC_HEADER_LENGTH, "its second header")
        cookie, _, table_offset, _, blocks, block_size, checksum = _DYNAMIC_HEADER.unpack_from(data)
        if cookie != _DYNAMIC_COOKIE or checksum != _checksum(data, _DYNAMIC_CHECKSUM_AT):
            raise _damaged(VHD_DYNAMIC, "its second header has a wrong checksum")
        power_of_two = block_size & (block_size - 1) == 0
        if not power_of_two or not SECTOR <= block_size <= _LARGEST_BLOCK:
            raise _damaged(VHD_DYNAMIC, f"its blocks have {block_size:,} bytes")
        needed = -(-footer.size // block_size)
        if not needed <= blocks or table_offset + needed * 4 > source.size:
            raise _damaged(VHD_DYNAMIC, f"its table has {blocks:,} of {needed:,} blocks")
        return cls(pages, footer.size, block_size, table_offset)

    async def segment(self, offset: int, stop: int) -> Segment:
        block, within = divmod(offset, self._block_size)
        count = min(-(-stop // self._block_size) - block, _ENTRIES_AT_ONCE)
        data = await self._pages.read(self._table + block * 4, 4, "its table of blocks")
        (sector,) = struct.unpack(">I", data)
        if sector == _UNUSED:
            data = await self._pages.read(self._table + block * 4, count * 4, "its table of blocks")
            unused = _unused_entries(data)
            return Segment(offset, min((block + unused) * self._block_size, stop))
        start, stop = sector * SECTOR, min(stop, (block + 1) * self._block_size)
        bitmap = await self._pages.read(start, self._bitmap_length, "the bitmap of a block")
        first = within // SECTOR
        last = min((within + stop - offset - 1) // SECTOR, first + _SECTORS_AT_ONCE - 1)
        is_written, sectors = _same_bits(bitmap, first, last)
        stop = min(stop, block * self._block_size + (first + sectors) * SECTOR)
        if not is_written:
            return Segment(offset, stop)
        return raw_segment(offset, stop, self._pages.source, start + self._bitmap_length + within)

    async def check_tables(self) -> None:
        """Does nothing: the file's size bounds the table."""


def _unused_entries(data: bytes) -> int:
    """How many entries of the table are unused, from the first on."""
    if data == b"\xff" * len(data):
        return len(data) // 4
    entries = struct.unpack(f">{len(data) // 4}I", data)
    return next(n for n, entry in enumerate(entries) if entry != _UNUSED)


def _same_bits(bitmap: bytes, first: int, last: int) -> tuple[bool, int]:
    """The bit of sector `first`, and how many sectors have the same, at most up to `last`.

    The first bit of a bitmap is the highest of its first byte.
    """
    count = last - first + 1
    bits = int.from_bytes(bitmap[first // 8 : last // 8 + 1], "big") >> (7 - last % 8)
    bits &= (1 << count) - 1
    is_set = bits >> (count - 1) & 1
    others = bits ^ ((1 << count) - 1) if is_set else bits
    return bool(is_set), count - others.bit_length()


def _checksum(data: bytes, at: int) -> int:
    """The complement of the sum of all bytes but those of the checksum itself."""
    return ~(sum(data) - sum(data[at : at + 4])) & 0xFFFFFFFF


def _damaged(kind: ImageFormat, reason: str) -> DamagedImageError:
    return DamagedImageError(kind.title, reason)
