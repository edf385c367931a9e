"""Reads VMware's VMDK disks in one file: sparse, and compressed for streaming as in an OVA.

VMware, "Virtual Disk Format 5.0": a grain directory leads to grain tables, and those to the grains.
"""

from __future__ import annotations

import re
import struct
import zlib
from dataclasses import dataclass, replace

from ..errors import DamagedImageError, UnsupportedImageError
from ..platform.byte_source import ByteSource
from .image_format import VMDK
from .layout import LARGEST_DISK, LARGEST_UNIT, Buffer, Segment, Unpack, raw_segment
from .pages import PageCache

SECTOR = 512
HEADER_LENGTH = 512
_HEADER = struct.Struct("<4sIIQQQQIQQQB4sH")
_MAGIC = b"KDMV"
_LINE_ENDS = b"\n \r\n"  # shows whether the file was transferred as text
_HAS_LINE_ENDS, _HAS_ZERO_GRAINS, _IS_COMPRESSED, _HAS_MARKERS = 1, 1 << 2, 1 << 16, 1 << 17
_DEFLATE = 1
_AT_END = (1 << 64) - 1
_FOOTER_AT = 1024  # from the end of the file
_MAX_ENTRIES = 512  # of a grain table
_LARGEST_DESCRIPTOR = 1 << 20  # bytes
_LARGEST_DIRECTORY = 64 << 20  # bytes
_MARKER = struct.Struct("<QI")
_NO_PARENT = "ffffffff"
_ZEROS = 1
_HOLES_AT_ONCE = 4096


@dataclass(frozen=True, slots=True)
class VmdkHeader:
    """What the beginning of the file says. Sizes are in bytes, offsets are into the file."""

    flags: int
    size: int
    grain: int
    descriptor_offset: int
    descriptor_length: int
    entries: int
    directory_offset: int

    @classmethod
    def parse(cls, data: bytes) -> VmdkHeader:
        """Reads a header; raises `DamagedImageError` where it cannot be."""
        if len(data) < HEADER_LENGTH:
            raise _damaged("its header is cut off")
        (
            magic,
            version,
            flags,
            capacity,
            grain,
            descriptor,
            descriptor_length,
            entries,
            _,
            directory,
            _,
            _,
            line_ends,
            method,
        ) = _HEADER.unpack_from(data)
        if magic != _MAGIC or version not in (1, 2, 3):
            raise _damaged(f"its header is not of version 1 to 3 but {version}")
        if flags & _HAS_LINE_ENDS and line_ends != _LINE_ENDS:
            raise _damaged("its line ends were converted, as if it were text")
        if method != (_DEFLATE if flags & _IS_COMPRESSED else 0):
            raise _damaged(f"its grains are compressed by method {method}")
        if flags & _IS_COMPRESSED and not flags & _HAS_MARKERS:
            raise _damaged("its grains are compressed, and have no markers")
        if not grain or grain & (grain - 1) or grain * SECTOR > LARGEST_UNIT:
            raise _damaged(f"its grains have {grain:,} sectors")
        if not 0 < capacity <= LARGEST_DISK // SECTOR:
            raise _damaged(f"its disk has {capacity:,} sectors")
        if not 0 < entries <= _MAX_ENTRIES:
            raise _damaged(f"its grain tables have {entries:,} entries")
        return cls(
            flags,
            capacity * SECTOR,
            grain * SECTOR,
            descriptor * SECTOR,
            descriptor_length * SECTOR,
            entries,
            _AT_END if directory == _AT_END else directory * SECTOR,
        )

    @property
    def directory_length(self) -> int:
        """Bytes of the grain directory."""
        return -(-self.size // (self.grain * self.entries)) * 4


class VmdkLayout:
    """The layout of a VMDK in one file."""

    format = VMDK

    def __init__(self, pages: PageCache, header: VmdkHeader) -> None:
        self.size = header.size
        self._pages = pages
        self._header = header
        self._covered = header.grain * header.entries  # bytes of the disk that one table is for
        self._is_packed = bool(header.flags & _IS_COMPRESSED)

    @classmethod
    async def open(cls, source: ByteSource) -> VmdkLayout:
        """Reads the header and the description.

        Raises `DamagedImageError`; `UnsupportedImageError` for a disk in several files and for one
        that only holds what differs from another; and what `source` raises.
        """
        pages = PageCache(source, VMDK)
        header = VmdkHeader.parse(await pages.read(0, HEADER_LENGTH, "its header"))
        _check_description(await _description(pages, header))
        if header.directory_offset == _AT_END:
            at = max(0, source.size - _FOOTER_AT)
            footer = VmdkHeader.parse(await pages.read(at, HEADER_LENGTH, "its footer"))
            header = replace(header, directory_offset=footer.directory_offset)
        length = header.directory_length
        if length > _LARGEST_DIRECTORY or header.directory_offset + length > source.size:
            raise _damaged(
                f"its grain directory should have {length:,} bytes at byte "
                f"{header.directory_offset:,}"
            )
        return cls(pages, header)

    async def segment(self, offset: int, stop: int) -> Segment:
        header = self._header
        index = offset // self._covered
        table = (await self._directory(index, 1))[0] * SECTOR
        if not table:
            count = min(-(-stop // self._covered) - index, _HOLES_AT_ONCE)
            entries = await self._directory(index, count)
            missing = next((n for n, entry in enumerate(entries) if entry), count)
            return Segment(offset, min(stop, (index + missing) * self._covered))
        number, within = divmod(offset % self._covered, header.grain)
        base = offset - within
        data = await self._pages.read(table, header.entries * 4, "a grain table")
        if data == bytes(len(data)):
            return Segment(offset, min(stop, (index + 1) * self._covered))
        grains = struct.unpack(f"<{header.entries}I", data)
        wanted = min(-(-(stop - base) // header.grain), header.entries - number)
        first, run = self._stored_at(grains[number]), 1
        if not first:
            while run < wanted and not self._stored_at(grains[number + run]):
                run += 1
            return Segment(offset, min(stop, base + run * header.grain))
        if self._is_packed:
            following = grains[number + 1] if number + 1 < header.entries else 0
            return self._packed(offset, min(stop, base + header.grain), first, following * SECTOR)
        while run < wanted and grains[number + run] * SECTOR == first + run * header.grain:
            run += 1
        end = min(stop, base + run * header.grain)
        return raw_segment(offset, end, self._pages.source, first + within)

    async def check_tables(self) -> None:
        entries = self._header.directory_length // 4
        tables = 0
        for start in range(0, entries, _HOLES_AT_ONCE):
            count = min(_HOLES_AT_ONCE, entries - start)
            tables += sum(1 for entry in await self._directory(start, count) if entry)
        if tables * self._header.entries * 4 > self._pages.source.size:
            raise _damaged("its grain directory leads to the same tables more than once")

    async def _directory(self, index: int, count: int) -> tuple[int, ...]:
        at = self._header.directory_offset + index * 4
        data = await self._pages.read(at, count * 4, "its grain directory")
        return struct.unpack(f"<{count}I", data)

    def _stored_at(self, entry: int) -> int:
        """Where a grain is in the file; 0 for one of zeros."""
        if entry == _ZEROS and self._header.flags & _HAS_ZERO_GRAINS:
            return 0
        return entry * SECTOR

    def _packed(self, offset: int, stop: int, stored_at: int, following: int) -> Segment:
        """A compressed grain. Only its marker says how long it is, which is read along with it.

        Deflate makes data that does not compress a little longer; the next grain, which mostly
        follows, bounds it too.
        """
        grain, source = self._header.grain, self._pages.source
        longest = _MARKER.size + grain + grain // 1000 + 64
        if following > stored_at:
            longest = min(longest, following - stored_at)
        length = min(longest, source.size - stored_at)
        if length <= _MARKER.size:
            raise _damaged(f"a grain is at byte {stored_at:,}, past the file's end")
        skip = offset % grain
        least = min(grain, self.size - (offset - skip))  # the disk may end inside its last grain
        unpack = _unpack_grain((offset - skip) // SECTOR, grain, least)
        return Segment(
            offset, stop, source, stored_at, length, unpack, skip, grain, own_length=SECTOR
        )


def _unpack_grain(sector: int, grain: int, least: int) -> Unpack:
    def unpack(stored: Buffer) -> bytes:
        found, length = _MARKER.unpack_from(stored)
        if found != sector:
            raise ValueError(f"its marker is of sector {found:,} instead of {sector:,}")
        if length > len(stored) - _MARKER.size:
            raise ValueError(f"its marker says {length:,} bytes")
        packed = stored[_MARKER.size : _MARKER.size + length]
        unpacked = zlib.decompressobj().decompress(packed, grain + 1)
        return unpacked.ljust(grain, b"\0") if len(unpacked) >= least else unpacked

    return unpack


async def _description(pages: PageCache, header: VmdkHeader) -> str:
    if not header.descriptor_offset or not 0 < header.descriptor_length <= _LARGEST_DESCRIPTOR:
        return ""
    data = await pages.read(header.descriptor_offset, header.descriptor_length, "its description")
    return data.partition(b"\0")[0].decode("latin-1")


def _check_description(text: str) -> None:
    """Raises `UnsupportedImageError` unless the file has the whole disk."""
    if "createType" not in text:
        raise _refused(
            "It is one of several files of a disk. Make a raw image of all of them: qemu-img "
            "convert -O raw DESCRIPTION.vmdk disk.img"
        )
    parent = re.search(r"^\s*parentCID\s*=\s*([0-9a-fA-F]{1,8})\s*$", text, re.MULTILINE)
    if parent is not None and parent[1].lower() != _NO_PARENT:
        raise _refused(
            "It only holds what differs from another disk, such as a snapshot. Merge both: "
            "qemu-img convert -O raw FILE.vmdk disk.img"
        )
    extents = re.findall(r"^\s*(?:RW|RDONLY|NOACCESS)\s+\d{1,20}\s+(\w+)", text, re.MULTILINE)
    if extents not in ([], ["SPARSE"]):
        raise _refused(
            f"Its disk is in {len(extents)} files ({', '.join(sorted(set(extents)))}). Make a raw "
            "image of all of them: qemu-img convert -O raw FILE.vmdk disk.img"
        )


def _damaged(reason: str) -> DamagedImageError:
    return DamagedImageError(VMDK.title, reason)


def _refused(advice: str) -> UnsupportedImageError:
    return UnsupportedImageError(VMDK.name, VMDK.title, advice)
