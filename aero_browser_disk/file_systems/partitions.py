"""Partition tables: MBR with extended partitions, and GPT (UEFI 2.10, §5)."""

from __future__ import annotations

import struct
import uuid
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from .volume import Volume

SECTOR = 512
_GPT_SECTORS = (512, 4096)
_GPT_HEADER = struct.Struct("<8sIIIIQQQQ16sQIII")
_MAX_GPT_ENTRIES = 1024
_MAX_LOGICAL = 256
_EXTENDED = frozenset({0x05, 0x0F, 0x85})
_PROTECTIVE = 0xEE
_MBR_TYPES = {
    0x01: "FAT12",
    0x04: "FAT16",
    0x06: "FAT16",
    0x07: "NTFS or exFAT",
    0x0B: "FAT32",
    0x0C: "FAT32",
    0x0E: "FAT16",
    0x27: "Windows recovery",
    0x82: "Linux swap",
    0x83: "Linux",
    0x8E: "Linux LVM",
    0xA5: "FreeBSD",
    0xA6: "OpenBSD",
    0xA9: "NetBSD",
    0xAF: "Apple HFS",
    0xEF: "EFI system",
    0xFD: "Linux RAID",
}
_GPT_TYPES = {
    "c12a7328-f81f-11d2-ba4b-00a0c93ec93b": "EFI system",
    "21686148-6449-6e6f-744e-656564454649": "BIOS boot",
    "e3c9e316-0b5c-4db8-817d-f92df00215ae": "Microsoft reserved",
    "ebd0a0a2-b9e5-4433-87c0-68b6b72699c7": "Windows data",
    "de94bba4-06d1-4d40-a16a-bfd50179d6ac": "Windows recovery",
    "0fc63daf-8483-4772-8e79-3d69d8477de4": "Linux",
    "0657fd6d-a4ab-43c4-84e5-0933c84b4f4f": "Linux swap",
    "e6d6d379-f507-44c2-a23c-238f2a3df928": "Linux LVM",
    "a19d880f-05fc-4d3b-a006-743f0f84911e": "Linux RAID",
    "44479540-f297-41b2-9af7-d131d5f0458a": "Linux root",
    "4f68bce3-e8cd-4db1-96e7-fbcaf984b709": "Linux root",
    "933ac7e1-2eb4-4f13-b844-0e14e2aef915": "Linux home",
}


@dataclass(frozen=True, slots=True)
class Partition:
    """A partition: its number as Linux counts, where it is (bytes), and what it is said to be."""

    number: int
    offset: int
    length: int
    type: str
    label: str = ""


async def read_partitions(disk: Volume) -> list[Partition]:
    """The partitions of a disk in the order of its table; none when there is no table.

    A broken chain of logical partitions is read up to the break.
    """
    sector = await disk.read_up_to(0, SECTOR)
    entries = _mbr_entries(sector)
    if any(entry.type == _PROTECTIVE for entry in entries):
        found = await _read_gpt(disk)
        if found:
            return found
    if not _is_table(entries):
        return []
    partitions = [
        Partition(entry.number, entry.start, entry.length, _mbr_type(entry.type))
        for entry in entries
        if entry.type not in _EXTENDED
    ]
    for entry in entries:
        if entry.type in _EXTENDED:
            partitions += await _read_logical(disk, entry)
            break
    return [_within(partition, disk.length) for partition in partitions]


# ── MBR ───────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class _MbrEntry:
    number: int
    status: int
    type: int
    start: int  # in bytes, from where the table says
    length: int


def _mbr_entries(sector: bytes) -> list[_MbrEntry]:
    if len(sector) < SECTOR or sector[510:512] != b"\x55\xaa":
        return []
    found = []
    for number in range(4):
        status, kind, start, count = struct.unpack_from("<B3xB3xII", sector, 446 + 16 * number)
        if kind and count:
            found.append(_MbrEntry(number + 1, status, kind, start * SECTOR, count * SECTOR))
    return found


def _is_table(entries: list[_MbrEntry]) -> bool:
    """Whether these may be partitions, rather than code of a boot sector."""
    return bool(entries) and all(entry.status in (0, 0x80) and entry.start for entry in entries)


async def _read_logical(disk: Volume, extended: _MbrEntry) -> list[Partition]:
    found: list[Partition] = []
    seen: set[int] = set()
    table = extended.start
    while table not in seen and len(found) < _MAX_LOGICAL and table + SECTOR <= disk.length:
        seen.add(table)
        following = None
        for entry in _mbr_entries(await disk.read(table, SECTOR)):
            if entry.type in _EXTENDED:
                following = extended.start + entry.start
            else:
                offset, number = table + entry.start, 5 + len(found)
                found.append(Partition(number, offset, entry.length, _mbr_type(entry.type)))
        if following is None:
            break
        table = following
    return found


def _mbr_type(number: int) -> str:
    return _MBR_TYPES.get(number, f"type {number:02x}")


# ── GPT ───────────────────────────────────────────────────────────────────────────────────────────


async def _read_gpt(disk: Volume) -> list[Partition]:
    """The partitions of the primary table, or of the backup if the primary's checksums are
    wrong."""
    for sector in _GPT_SECTORS:
        for offset in (sector, (disk.length // sector - 1) * sector):
            found = await _read_gpt_at(disk, offset, sector)
            if found is not None:
                return found
    return []


async def _read_gpt_at(disk: Volume, offset: int, sector: int) -> list[Partition] | None:
    if offset < sector or offset + sector > disk.length:
        return None
    block = await disk.read(offset, sector)
    magic, _, header_size, checksum, *_, table, count, size, table_checksum = (
        _GPT_HEADER.unpack_from(block)
    )
    if magic != b"EFI PART" or not _GPT_HEADER.size <= header_size <= sector:
        return None
    header = bytearray(block[:header_size])
    header[16:20] = bytes(4)
    shape_is_right = size >= 128 and size % 8 == 0 and size <= 4096 and count <= _MAX_GPT_ENTRIES
    if zlib.crc32(header) != checksum or not shape_is_right:
        return None
    if table * sector + count * size > disk.length:
        return None
    entries = await disk.read(table * sector, count * size)
    if zlib.crc32(entries) != table_checksum:
        return None
    return [_within(p, disk.length) for p in _gpt_partitions(entries, size, sector)]


def _gpt_partitions(entries: bytes, size: int, sector: int) -> Iterator[Partition]:
    for index in range(len(entries) // size):
        kind, _, first, last, _, name = struct.unpack_from("<16s16sQQQ72s", entries, index * size)
        if any(kind) and last >= first:
            guid = str(uuid.UUID(bytes_le=kind))
            label = name.decode("utf-16-le", "replace").split("\0", 1)[0]
            length = (last - first + 1) * sector
            yield Partition(
                index + 1, first * sector, length, _GPT_TYPES.get(guid, f"type {guid}"), label
            )


def _within(partition: Partition, disk_length: int) -> Partition:
    """The partition as far as it lies on the disk."""
    offset = min(partition.offset, disk_length)
    length = min(partition.length, disk_length - offset)
    return Partition(partition.number, offset, length, partition.type, partition.label)
