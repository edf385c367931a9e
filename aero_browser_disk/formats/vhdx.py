"""Reads Hyper-V's VHDX disks, dynamic and fixed (Microsoft, [MS-VHDX])."""

from __future__ import annotations

import struct
import uuid
from dataclasses import dataclass

from ..errors import DamagedImageError, UnsupportedImageError
from ..platform.byte_source import ByteSource
from .crc32c import crc32c
from .image_format import VHDX
from .layout import LARGEST_DISK, Segment, raw_segment
from .pages import PageCache

MIB = 1 << 20
_IDENTIFIER = b"vhdxfile"
_CREATOR_END = 520
_HEADERS = (64 << 10, 128 << 10)
_HEADER = struct.Struct("<4sIQ16s16s16sHHIQ")
_HEADER_LENGTH = 4096
_REGION_TABLES = (192 << 10, 256 << 10)
_REGION_TABLE_LENGTH = 64 << 10
_MAX_REGIONS = 2047
_METADATA_TABLE_LENGTH = 64 << 10
_MAX_ITEMS = 2047
_LARGEST_METADATA = 64 << 20
_CHECKSUM_AT = 4

_BAT = uuid.UUID("2dc27766-f623-4200-9d64-115e9bfd4a08").bytes_le
_METADATA = uuid.UUID("8b7ca206-4790-4b9a-b8fe-575f050f886e").bytes_le
_FILE_PARAMETERS = uuid.UUID("caa16737-fa36-4d43-b3b6-33f0aa44e76b").bytes_le
_DISK_SIZE = uuid.UUID("2fa54224-cd1b-4876-b211-5dbed83bf4b8").bytes_le
_LOGICAL_SECTOR = uuid.UUID("8141bf1d-a96f-4709-ba47-f233a8faab5f").bytes_le
_PHYSICAL_SECTOR = uuid.UUID("cda348c7-445d-4471-9cc9-e9885251c556").bytes_le
_DISK_ID = uuid.UUID("beca12ab-b2e6-4523-93ef-c309e000c746").bytes_le
_PARENT_LOCATOR = uuid.UUID("a8d35f2d-b30b-454d-abf7-d3d84834ab0c").bytes_le
_KNOWN_ITEMS = frozenset(
    {_FILE_PARAMETERS, _DISK_SIZE, _LOGICAL_SECTOR, _PHYSICAL_SECTOR, _DISK_ID, _PARENT_LOCATOR}
)
_IS_REQUIRED = 4
_HAS_PARENT = 2

# States of a block (§2.5.1.1).
_NOT_PRESENT, _UNDEFINED, _ZEROS, _UNMAPPED, _PRESENT = 0, 1, 2, 3, 6
_HOLES = (_NOT_PRESENT, _UNDEFINED, _ZEROS, _UNMAPPED)
_ENTRIES_AT_ONCE = 512


def begins_vhdx(head: bytes) -> bool:
    """Whether a file begins as a VHDX does (§2.2.1): the identifier, zeros, and a header."""
    rest = head[_CREATOR_END : _HEADERS[0]]
    is_blank = rest == bytes(len(rest))
    signature = head[_HEADERS[0] : _HEADERS[0] + 4]
    return head.startswith(_IDENTIFIER) and is_blank and b"head".startswith(signature)


@dataclass(frozen=True, slots=True)
class _Region:
    offset: int
    length: int


class VhdxLayout:
    """The layout of a VHDX file."""

    format = VHDX

    def __init__(
        self, pages: PageCache, size: int, block_size: int, chunk_ratio: int, table: int
    ) -> None:
        self.size = size
        self._pages = pages
        self._block_size = block_size
        self._chunk_ratio = chunk_ratio  # blocks of the disk for each entry of a bitmap
        self._table = table

    @classmethod
    async def open(cls, source: ByteSource) -> VhdxLayout:
        """Reads the headers and the metadata.

        Raises `DamagedImageError`; `UnsupportedImageError` for a differencing disk and for one that
        was not closed properly; and what `source` raises.
        """
        pages = PageCache(source, VHDX)
        if await pages.read(0, len(_IDENTIFIER), "its identifier") != _IDENTIFIER:
            raise _damaged("its identifier is missing")
        await _check_headers(pages)
        regions = await _read_regions(pages)
        items = await _read_metadata(pages, regions[_METADATA])
        block_size, flags = struct.unpack("<II", _item(items, _FILE_PARAMETERS, 8))
        (size,) = struct.unpack("<Q", _item(items, _DISK_SIZE, 8))
        (sector,) = struct.unpack("<I", _item(items, _LOGICAL_SECTOR, 4))
        if flags & _HAS_PARENT:
            raise _refused(
                "It only holds what differs from another disk. Merge it into that one in Hyper-V "
                "first."
            )
        if block_size & (block_size - 1) or not MIB <= block_size <= 256 * MIB:
            raise _damaged(f"its blocks have {block_size:,} bytes")
        if sector not in (512, 4096) or size % sector or not 0 < size <= LARGEST_DISK:
            raise _damaged(f"its disk has {size:,} bytes in sectors of {sector:,}")
        ratio = (sector << 23) // block_size
        blocks = -(-size // block_size)
        entries = blocks + (blocks - 1) // ratio
        table = regions[_BAT]
        if entries * 8 > table.length:
            raise _damaged(f"its table of blocks has {table.length:,} bytes for {blocks:,} blocks")
        return cls(pages, size, block_size, ratio, table.offset)

    async def segment(self, offset: int, stop: int) -> Segment:
        block, within = divmod(offset, self._block_size)
        # Behind the entries of as many blocks comes one for a bitmap, which only parents need.
        last = min(
            -(-stop // self._block_size), block - block % self._chunk_ratio + self._chunk_ratio
        )
        count = min(last - block, _ENTRIES_AT_ONCE)
        at = self._table + (block + block // self._chunk_ratio) * 8
        entries = struct.unpack(
            f"<{count}Q", await self._pages.read(at, count * 8, "its table of blocks")
        )
        state, start = _entry(entries[0])
        run = 1
        if state in _HOLES:
            while run < count and _entry(entries[run])[0] in _HOLES:
                run += 1
            return Segment(offset, min(stop, (block + run) * self._block_size))
        while run < count and entries[run] == entries[0] + run * self._block_size:
            run += 1
        end = min(stop, (block + run) * self._block_size)
        return raw_segment(offset, end, self._pages.source, start + within)

    async def check_tables(self) -> None:
        """Does nothing: the file's size bounds the table."""


def _entry(entry: int) -> tuple[int, int]:
    """The state of a block and its offset in the file."""
    state = entry & 7
    if state not in (*_HOLES, _PRESENT):
        raise _damaged(f"a block is in state {state}")
    start = entry & ~(MIB - 1)
    if state == _PRESENT and not start:
        raise _damaged("a block is marked as present, and is nowhere")
    return state, start


async def _check_headers(pages: PageCache) -> None:
    """Uses the newer valid one of the two headers (§2.2.2)."""
    newest: tuple[int, bytes] | None = None
    for header_offset in _HEADERS:
        data = await pages.read(header_offset, _HEADER_LENGTH, "a header")
        signature, checksum, sequence, _, _, log, _, version, _, _ = _HEADER.unpack_from(data)
        if signature != b"head" or checksum != _checksum(data) or version != 1:
            continue
        if newest is None or sequence > newest[0]:
            newest = sequence, log
    if newest is None:
        raise _damaged("both of its headers have a wrong checksum or another version")
    if any(newest[1]):
        raise _refused(
            "It was not closed properly: its log has changes that are not in the disk yet. Open it "
            "in Hyper-V, or repair it: qemu-img check -r all FILE"
        )


async def _read_regions(pages: PageCache) -> dict[bytes, _Region]:
    """The regions of the file by their ids (§2.2.3)."""
    for table_offset in _REGION_TABLES:
        data = await pages.read(table_offset, _REGION_TABLE_LENGTH, "a table of regions")
        signature, checksum, count = struct.unpack_from("<4sII", data)
        if signature != b"regi" or checksum != _checksum(data) or count > _MAX_REGIONS:
            continue
        found = {}
        for number in range(count):
            key, offset, length, required = struct.unpack_from("<16sQII", data, 16 + number * 32)
            if key in (_BAT, _METADATA):
                if offset + length > pages.source.size:
                    raise _damaged(
                        f"a region ends at byte {offset + length:,}, past the file's end"
                    )
                found[key] = _Region(offset, length)
            elif required & 1:
                raise _refused("It has a region that is not known here, and that it requires.")
        if len(found) == 2:
            return found
        raise _damaged("its table of blocks or its metadata are missing")
    raise _damaged("both of its tables of regions have a wrong checksum")


async def _read_metadata(pages: PageCache, region: _Region) -> dict[bytes, bytes]:
    """The items of the metadata that are known here (§2.6)."""
    if region.length > _LARGEST_METADATA or region.length < _METADATA_TABLE_LENGTH:
        raise _damaged(f"its metadata have {region.length:,} bytes")
    data = await pages.read(region.offset, _METADATA_TABLE_LENGTH, "its metadata")
    signature, count = struct.unpack_from("<8s2xH", data)
    if signature != b"metadata" or count > _MAX_ITEMS:
        raise _damaged("its metadata have no table")
    items = {}
    for number in range(count):
        key, offset, length, flags = struct.unpack_from("<16sIII", data, 32 + number * 32)
        if key not in _KNOWN_ITEMS:
            if flags & _IS_REQUIRED:
                raise _refused("It has metadata that are not known here, and that it requires.")
            continue
        if key == _PARENT_LOCATOR:
            continue
        if length > 1024 or offset + length > region.length:
            raise _damaged("an item of its metadata is outside of them")
        items[key] = await pages.read(region.offset + offset, length, "its metadata")
    return items


def _item(items: dict[bytes, bytes], key: bytes, length: int) -> bytes:
    value = items.get(key, b"")
    if len(value) != length:
        raise _damaged("its metadata say nothing of the disk's size or blocks")
    return value


def _checksum(data: bytes) -> int:
    """The checksum of a structure, for which the field of the checksum counts as zero."""
    return crc32c(data[:_CHECKSUM_AT] + bytes(4) + data[_CHECKSUM_AT + 4 :])


def _damaged(reason: str) -> DamagedImageError:
    return DamagedImageError(VHDX.title, reason)


def _refused(advice: str) -> UnsupportedImageError:
    return UnsupportedImageError(VHDX.name, VHDX.title, advice)
