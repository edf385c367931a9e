"""Reads fixed and dynamic VHDs (Microsoft, "Virtual Hard Disk Image Format Specification", 1.0)."""

from __future__ import annotations

import struct
import sys
from array import array
from collections import OrderedDict
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

from ..errors import DamagedImageError, UnsupportedImageError
from ..platform.byte_range import ByteRange
from ..platform.byte_source import ByteSource
from .recognition import VHD_DIFFERENCING, VHD_DYNAMIC, VHD_FIXED, ImageFormat
from .virtual_disk import LARGEST_DISK, SourceWindow, VirtualDisk

SECTOR: Final = 512

_FOOTER = struct.Struct(">8sIIQI4sI4sQQHBBII")
_FOOTER_LENGTH = 512
_OLD_FOOTER_LENGTH = 511  # of Virtual PC before 2004
_COOKIE = b"conectix"
_CHECKSUM_AT = 64
_FIXED, _DYNAMIC, _DIFFERENCING = 2, 3, 4
_LARGEST_GEOMETRY = 65535 * 16 * 255  # sectors: beyond, the geometry says nothing
# These have the size of the disk's geometry, all others the one that they note beside it; so QEMU.
_SIZED_BY_GEOMETRY = (b"vpc ", b"qemu")

_DYNAMIC_HEADER = struct.Struct(">8sQQIIII")
_DYNAMIC_HEADER_LENGTH = 1024
_DYNAMIC_COOKIE = b"cxsparse"
_DYNAMIC_CHECKSUM_AT = 36
_LARGEST_BLOCK = 256 << 20  # bytes
_MOST_BLOCKS = 1 << 24  # the table then has 64 MiB
_UNUSED = 0xFFFFFFFF
_BITMAPS_HELD = 256


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
        if checksum != _checksum(data, _CHECKSUM_AT):
            return None
        geometry = cylinders * heads * sectors
        by_geometry = creator in _SIZED_BY_GEOMETRY and 0 < geometry < _LARGEST_GEOMETRY
        return cls(kind, geometry * SECTOR if by_geometry else noted_size, data_offset)


async def open_vhd(source: ByteSource) -> VirtualDisk:
    """The disk that a VHD holds.

    Raises `DamagedImageError`, `UnsupportedImageError` for a differencing one, and what `source`
    raises.
    """
    end = await source.read(max(0, source.size - _FOOTER_LENGTH), _FOOTER_LENGTH)
    start = await source.read(0, _FOOTER_LENGTH)
    footer = VhdFooter.parse(end) or VhdFooter.parse(end[1:]) or VhdFooter.parse(start)
    if footer is None:
        raise _damaged(VHD_FIXED, "its footer is missing or has a wrong checksum")
    if footer.kind == _DIFFERENCING:
        raise UnsupportedImageError(
            VHD_DIFFERENCING.name, VHD_DIFFERENCING.title, VHD_DIFFERENCING.advice
        )
    kind = VHD_DYNAMIC if footer.kind == _DYNAMIC else VHD_FIXED
    if footer.kind not in (_FIXED, _DYNAMIC):
        raise _damaged(kind, f"its kind is {footer.kind}")
    if footer.size % SECTOR or not 0 < footer.size <= LARGEST_DISK:
        raise _damaged(kind, f"its disk has {footer.size:,} bytes")
    if footer.kind == _FIXED:
        return FixedVhd(source, footer)
    return await DynamicVhd.open(source, footer)


class FixedVhd:
    """A raw disk with a footer: a `VirtualDisk`."""

    format = VHD_FIXED

    def __init__(self, source: ByteSource, footer: VhdFooter) -> None:
        if source.size < footer.size + _OLD_FOOTER_LENGTH:
            found = f"it has {source.size:,} bytes for a disk of {footer.size:,}"
            raise _damaged(VHD_FIXED, found)
        self.size = footer.size
        self._source = source

    async def data_ranges(self) -> AsyncIterator[ByteRange]:
        yield ByteRange(0, self.size)

    async def read(self, offset: int, length: int) -> bytes:
        return await self._source.read(offset, length)


class DynamicVhd:
    """A `VirtualDisk` in blocks, each behind a bitmap of its sectors that were ever written."""

    format = VHD_DYNAMIC

    def __init__(self, source: SourceWindow, size: int, block_size: int, table: array[int]) -> None:
        self.size = size
        self._source = source
        self._block_size = block_size
        self._table = table
        self._bitmap_length = -(-block_size // SECTOR // 8 // SECTOR) * SECTOR
        self._bitmaps: OrderedDict[int, bytes] = OrderedDict()

    @classmethod
    async def open(cls, source: ByteSource, footer: VhdFooter) -> DynamicVhd:
        """Reads the header and the table of blocks; raises as `open_vhd` does."""
        window = SourceWindow(source, VHD_DYNAMIC)
        data = await window.read(footer.data_offset, _DYNAMIC_HEADER_LENGTH, "its second header")
        cookie, _, table_offset, _, blocks, block_size, checksum = _DYNAMIC_HEADER.unpack_from(data)
        if cookie != _DYNAMIC_COOKIE or checksum != _checksum(data, _DYNAMIC_CHECKSUM_AT):
            raise _damaged(VHD_DYNAMIC, "its second header has a wrong checksum")
        power_of_two = block_size & (block_size - 1) == 0
        if not power_of_two or not SECTOR <= block_size <= _LARGEST_BLOCK:
            raise _damaged(VHD_DYNAMIC, f"its blocks have {block_size:,} bytes")
        needed = -(-footer.size // block_size)
        if not needed <= blocks or needed > _MOST_BLOCKS:
            raise _damaged(VHD_DYNAMIC, f"its table has {blocks:,} of {needed:,} blocks")
        table = array("I", await window.read(table_offset, needed * 4, "its table of blocks"))
        if sys.byteorder == "little":
            table.byteswap()
        return cls(window, footer.size, block_size, table)

    async def data_ranges(self) -> AsyncIterator[ByteRange]:
        start = stop = 0
        for block, sector in enumerate(self._table):
            if sector == _UNUSED:
                continue
            at = block * self._block_size
            if at != stop:
                if stop > start:
                    yield ByteRange(start, stop)
                start = at
            stop = min(at + self._block_size, self.size)
        if stop > start:
            yield ByteRange(start, stop)

    async def read(self, offset: int, length: int) -> bytes:
        parts, stop = [], offset + length
        while offset < stop:
            block, within = divmod(offset, self._block_size)
            run = min(self._block_size - within, stop - offset)
            parts.append(await self._read_block(block, within, run))
            offset += run
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def _read_block(self, block: int, within: int, length: int) -> bytes:
        sector = self._table[block]
        if sector == _UNUSED:
            return bytes(length)
        start = sector * SECTOR
        bitmap = await self._bitmap(block, start)
        data = await self._source.read(start + self._bitmap_length + within, length, "a block")
        first, last = within // SECTOR, (within + length - 1) // SECTOR
        if _all_set(bitmap, first, last):
            return data
        kept = bytearray(data)
        for number in range(first, last + 1):
            if not bitmap[number // 8] >> (7 - number % 8) & 1:
                begin = max(0, number * SECTOR - within)
                end = min(length, (number + 1) * SECTOR - within)
                kept[begin:end] = bytes(end - begin)
        return bytes(kept)

    async def _bitmap(self, block: int, start: int) -> bytes:
        bitmap = self._bitmaps.get(block)
        if bitmap is None:
            bitmap = await self._source.read(start, self._bitmap_length, "the bitmap of a block")
            self._bitmaps[block] = bitmap
            if len(self._bitmaps) > _BITMAPS_HELD:
                self._bitmaps.popitem(last=False)
        return bitmap


def _all_set(bitmap: bytes, first: int, last: int) -> bool:
    """Whether the bits of all those sectors are set; a bitmap's first bit is a byte's highest."""
    count = last - first + 1
    bits = int.from_bytes(bitmap[first // 8 : last // 8 + 1], "big") >> (7 - last % 8)
    return bits & ((1 << count) - 1) == (1 << count) - 1


def _checksum(data: bytes, at: int) -> int:
    """The complement of the sum of all bytes but those of the checksum itself."""
    return ~(sum(data) - sum(data[at : at + 4])) & 0xFFFFFFFF


def _damaged(kind: ImageFormat, reason: str) -> DamagedImageError:
    return DamagedImageError(kind.title, reason)
