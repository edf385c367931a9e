"""Reads VirtualBox's VDI disks, dynamic and fixed (VirtualBox's Storage/VDICore.h)."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from ..errors import DamagedImageError, UnsupportedImageError
from ..platform.byte_source import ByteSource
from .image_format import VDI
from .layout import LARGEST_DISK, LARGEST_UNIT, Segment, raw_segment
from .pages import PageCache

HEADER_LENGTH = 512
_HEADER = struct.Struct("<IIIII256sII12xI4xQIIII")
_HEADER_AT = 64
_SIGNATURE = 0xBEDA107F
_VERSION = 0x00010001
_DYNAMIC, _FIXED, _UNDO, _DIFFERENCING = 1, 2, 3, 4
_SMALLEST_HEADER = 0x180  # bytes that the header says it has at least, in version 1.1
_UNALLOCATED, _ZEROS = 0xFFFFFFFF, 0xFFFFFFFE
_ENTRIES_AT_ONCE = 64
_HOLES_AT_ONCE = 4096


@dataclass(frozen=True, slots=True)
class VdiHeader:
    """What the beginning of the file says. Offsets are into the file."""

    kind: int
    map_offset: int
    data_offset: int
    size: int
    block_size: int
    block_extra: int
    blocks: int

    @classmethod
    def parse(cls, data: bytes) -> VdiHeader:
        """Reads a header; raises `DamagedImageError` where it cannot be."""
        if len(data) < HEADER_LENGTH:
            raise _damaged("its header is cut off")
        (
            signature,
            version,
            header_size,
            kind,
            _,
            _,
            map_offset,
            data_offset,
            sector_size,
            size,
            block_size,
            block_extra,
            blocks,
            allocated,
        ) = _HEADER.unpack_from(data, _HEADER_AT)
        if signature != _SIGNATURE or version != _VERSION:
            raise _damaged(f"its header is not of version 1.1 but {version:#x}")
        if header_size < _SMALLEST_HEADER or kind not in (1, 2, 3, 4) or sector_size != 512:
            raise _damaged(f"its header has {header_size} bytes, kind {kind}, {sector_size=}")
        if block_size & (block_size - 1) or not 512 <= block_size <= LARGEST_UNIT:
            raise _damaged(f"its blocks have {block_size:,} bytes")
        if block_extra % 512 or block_extra > LARGEST_UNIT:
            raise _damaged(f"its blocks have {block_extra:,} bytes more")
        if not 0 < size <= LARGEST_DISK or blocks * block_size < size or allocated > blocks:
            raise _damaged(f"its disk has {size:,} bytes in {blocks:,} blocks")
        if map_offset % 512 or data_offset % 512 or map_offset < HEADER_LENGTH:
            raise _damaged("its map or its blocks begin inside a sector")
        if map_offset + blocks * 4 > data_offset:
            raise _damaged("its map reaches into its blocks")
        return cls(
            kind, map_offset, data_offset, -(-size // 512) * 512, block_size, block_extra, blocks
        )


class VdiLayout:
    """The layout of a VDI file."""

    format = VDI

    def __init__(self, pages: PageCache, header: VdiHeader) -> None:
        self.size = header.size
        self._pages = pages
        self._header = header

    @classmethod
    async def open(cls, source: ByteSource) -> VdiLayout:
        """Reads the header.

        Raises `DamagedImageError`, `UnsupportedImageError` for a disk that only holds what differs
        from another, and what `source` raises.
        """
        pages = PageCache(source, VDI)
        header = VdiHeader.parse(await pages.read(0, HEADER_LENGTH, "its header"))
        if header.kind in (_UNDO, _DIFFERENCING):
            raise UnsupportedImageError(
                VDI.name,
                VDI.title,
                "It only holds what differs from another disk. Merge it into that one in "
                "VirtualBox first, or clone the virtual machine's disk.",
            )
        if header.map_offset + header.blocks * 4 > source.size:
            raise _damaged(f"its map has {header.blocks:,} blocks, and is cut off")
        return cls(pages, header)

    async def segment(self, offset: int, stop: int) -> Segment:
        header = self._header
        block, within = divmod(offset, header.block_size)
        wanted = -(-stop // header.block_size) - block
        entries = await self._entries(block, min(wanted, _ENTRIES_AT_ONCE))
        run = 1
        if entries[0] >= _ZEROS:
            if min(entries) >= _ZEROS:  # likely a large hole: look further
                entries = await self._entries(block, min(wanted, _HOLES_AT_ONCE))
            while run < len(entries) and entries[run] >= _ZEROS:
                run += 1
            return Segment(offset, min(stop, (block + run) * header.block_size))
        if not header.block_extra:
            while run < len(entries) and entries[run] == entries[0] + run:
                run += 1
        stored = header.block_size + header.block_extra
        start = header.data_offset + entries[0] * stored + header.block_extra
        return raw_segment(
            offset,
            min(stop, (block + run) * header.block_size),
            self._pages.source,
            start + within,
        )

    async def check_tables(self) -> None:
        """Does nothing: the file's size bounds the map."""

    async def _entries(self, block: int, count: int) -> tuple[int, ...]:
        offset = self._header.map_offset + block * 4
        return struct.unpack(f"<{count}I", await self._pages.read(offset, count * 4, "its map"))


def _damaged(reason: str) -> DamagedImageError:
    return DamagedImageError(VDI.title, reason)
