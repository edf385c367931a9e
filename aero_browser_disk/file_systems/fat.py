"""FAT12, FAT16 and FAT32 with long names (Microsoft's FAT32 File System Specification 1.03)."""

from __future__ import annotations

import calendar
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass

from ..errors import UnreadableFileError
from .cluster_chain import AllocationTable, ChainedContent, ClusterChain
from .tree import (
    Content,
    Extent,
    Kind,
    Metadata,
    Node,
    StoredContent,
    find_folded,
    plain_mode,
    shown_name,
)
from .volume import Volume

_ENTRY = 32
_MAX_FOLDER_BYTES = 65536 * _ENTRY  # §6.7: no folder is longer
_JUMPS = (0xE9, 0xEB)  # what a boot sector of DOS begins with
# Floppies by their size and media byte: sectors of a cluster, entries of the root, sectors of a
# table. Linux's fs/fat has the first four, for disks that were formatted without a description.
_FLOPPIES = {
    (160 << 10, 0xFE): (1, 64, 1),
    (180 << 10, 0xFC): (1, 64, 2),
    (320 << 10, 0xFF): (2, 112, 1),
    (360 << 10, 0xFD): (2, 112, 2),
    (720 << 10, 0xF9): (2, 112, 3),
    (1200 << 10, 0xF9): (1, 224, 7),
    (1440 << 10, 0xF0): (1, 224, 9),
    (2880 << 10, 0xF0): (2, 240, 9),
}
_READ_ONLY, _HIDDEN, _SYSTEM, _LABEL, _FOLDER, _ARCHIVE = 1, 2, 4, 8, 16, 32
_LONG_NAME = _READ_ONLY | _HIDDEN | _SYSTEM | _LABEL


@dataclass(frozen=True, slots=True)
class _Shape:
    """Where things are, in bytes from the volume's begin."""

    bits: int
    cluster_size: int
    clusters: int
    table: int
    data: int
    root: int  # where the root folder begins, when it is not in clusters
    root_length: int
    root_cluster: int
    label: bytes


class FatFileSystem:
    """A FAT volume, read through its table sector by sector."""

    def __init__(self, volume: Volume, shape: _Shape) -> None:
        self._volume = volume
        self._shape = shape
        self.kind = f"FAT{shape.bits}"
        label = shape.label.decode("cp437").strip()
        self.label = "" if label == "NO NAME" else label
        self.root = Node("", "folder", None, Metadata(mode=plain_mode("folder")), None)
        self._table = AllocationTable(
            volume,
            shape.table,
            28 if shape.bits == 32 else shape.bits,
            shape.data,
            shape.cluster_size,
            shape.clusters,
        )

    @classmethod
    async def open(cls, volume: Volume, start: bytes) -> FatFileSystem | None:
        """The file system whose volume begins with `start`; None when it is no FAT."""
        shape = _shape(start)
        if shape is not None and start[0] not in _JUMPS:
            # Such as a disk of an Atari: only its table is proof that this is no other sector.
            table = await volume.read_up_to(shape.table, 3)
            if shape.bits > 16 or not _begins_table(table, start[21]):
                return None
        shape = shape or _floppy_shape(start, volume.length)
        return None if shape is None else cls(volume, shape)

    async def children(self, folder: Node) -> AsyncIterator[Node]:
        names = _LongName()
        async for record in self._records(folder):
            if record[0] == 0:
                return
            if record[0] == 0xE5:
                names.forget()
            elif record[11] & 0x3F == _LONG_NAME:
                names.add(record)
            elif record[11] & _LABEL or record[:2] in (b". ", b".."):
                names.forget()
            else:
                yield _node(record, names.take(record) or _short_name(record))

    async def find(self, folder: Node, name: str) -> Node | None:
        return await find_folded(self.children(folder), name)

    async def describe(self, node: Node) -> Node:
        return node

    async def content(self, node: Node) -> Content:
        assert isinstance(node.key, int)
        size = node.size or 0
        if size and node.key < 2:
            raise UnreadableFileError(node.name, "it has a size and no cluster")
        return ChainedContent(self._volume, self._chain(node.key), size, size)

    def _chain(self, first: int) -> ClusterChain:
        return ClusterChain(self._table, first)

    async def _records(self, folder: Node) -> AsyncIterator[bytes]:
        shape = self._shape
        if folder.key is None and shape.bits < 32:
            extent = Extent(0, shape.root_length, self._volume.offset + shape.root)
            stored = StoredContent(self._volume, shape.root_length, [extent])
            data = await stored.read(0, shape.root_length)
            for at in range(0, len(data), _ENTRY):
                yield data[at : at + _ENTRY]
            return
        first = shape.root_cluster if folder.key is None else folder.key
        assert isinstance(first, int)
        async for data in self._chain(first).chunks(_MAX_FOLDER_BYTES):
            for at in range(0, len(data), _ENTRY):
                yield data[at : at + _ENTRY]


def _shape(start: bytes) -> _Shape | None:
    """What the boot sector says; None when it is none of FAT's (§3)."""
    if len(start) < 512:
        return None
    sector, per_cluster, reserved, tables, root_entries, total16, media, fat16 = struct.unpack_from(
        "<HBHBHHBH", start, 11
    )
    total32, fat32, flags, _, root_cluster = struct.unpack_from("<IIHHI", start, 32)
    is_power = per_cluster and per_cluster & (per_cluster - 1) == 0
    if sector not in (512, 1024, 2048, 4096) or not is_power or not reserved:
        return None
    if tables not in (1, 2) or not (media == 0xF0 or media >= 0xF8):
        return None
    per_table, total = fat16 or fat32, total16 or total32
    root_sectors = -(-root_entries * _ENTRY // sector)
    data = reserved + tables * per_table + root_sectors
    clusters = (total - data) // per_cluster
    if not per_table or clusters < 1:
        return None
    # By the number of clusters, says the specification; but small volumes are made with tables of
    # 32 bits too, and every system takes them for what the size of their table says.
    bits = 32 if not fat16 else 12 if clusters < 4085 else 16
    if bits == 16 and clusters >= 65525:
        return None
    active = flags & 0xF if bits == 32 and flags & 0x80 and flags & 0xF < tables else 0
    return _Shape(
        bits=bits,
        cluster_size=per_cluster * sector,
        clusters=min(clusters, per_table * sector * 8 // bits - 2),
        table=(reserved + active * per_table) * sector,
        data=data * sector,
        root=(reserved + tables * per_table) * sector,
        root_length=root_entries * _ENTRY,
        root_cluster=root_cluster,
        label=start[71:82] if bits == 32 else start[43:54],
    )


def _floppy_shape(start: bytes, length: int) -> _Shape | None:
    """The shape of a floppy whose boot sector says nothing, by its size and its table's first byte.

    DOS 1 did not describe its disks, and some boot loaders overwrite the description.
    """
    if len(start) < 1024 or not _begins_table(start[512:], start[512]):
        return None
    known = _FLOPPIES.get((length, start[512]))
    if known is None:
        return None
    per_cluster, root_entries, per_table = known
    root = 1 + 2 * per_table
    data = root + root_entries * _ENTRY // 512
    return _Shape(
        bits=12,
        cluster_size=per_cluster * 512,
        clusters=(length // 512 - data) // per_cluster,
        table=512,
        data=data * 512,
        root=root * 512,
        root_length=root_entries * _ENTRY,
        root_cluster=0,
        label=b"",
    )


def _begins_table(table: bytes, media: int) -> bool:
    """Whether a table of 12 or 16 bits begins here, which a medium of that byte has (§4)."""
    return table[:3] == bytes((media, 0xFF, 0xFF)) and (media == 0xF0 or media >= 0xF8)


class _LongName:
    """The parts of a long name, which come before their entry, the last part first (§7)."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._next = 0
        self._checksum = 0

    def add(self, record: bytes) -> None:
        order = record[0]
        if order & 0x40:
            self._parts, self._checksum = [], record[13]
        elif order != self._next or record[13] != self._checksum:
            self.forget()
            return
        self._parts.append(record[1:11] + record[14:26] + record[28:32])
        self._next = (order & 0x3F) - 1

    def take(self, record: bytes) -> str | None:
        """The name, if it is whole and belongs to this entry."""
        parts, is_whole = self._parts, self._next == 0
        is_of_it = self._checksum == _checksum(record[:11])
        self.forget()
        if not parts or not is_whole or not is_of_it:
            return None
        name = b"".join(reversed(parts)).decode("utf-16-le", "replace").split("\0", 1)[0]
        return shown_name(name) or None

    def forget(self) -> None:
        self._parts, self._next = [], 0


def _checksum(short: bytes) -> int:
    total = 0
    for byte in short:
        total = ((total & 1) << 7) + (total >> 1) + byte & 0xFF
    return total


def _short_name(record: bytes) -> str:
    raw = bytes([0xE5 if record[0] == 5 else record[0]]) + record[1:11]
    base, ending = raw[:8].decode("cp437").rstrip(), raw[8:].decode("cp437").rstrip()
    if record[12] & 0x08:
        base = base.lower()
    if record[12] & 0x10:
        ending = ending.lower()
    return shown_name(f"{base}.{ending}" if ending else base)


def _node(record: bytes, name: str) -> Node:
    tenths, created_time, created_date, accessed_date, high = struct.unpack_from(
        "<BHHHH", record, 13
    )
    time, date, low, size = struct.unpack_from("<HHHI", record, 22)
    kind: Kind = "folder" if record[11] & _FOLDER else "file"
    metadata = Metadata(
        modified=dos_time(date, time),
        accessed=dos_time(accessed_date, 0),
        created=dos_time(created_date, created_time, tenths),
        mode=dos_mode(kind, record[11]),
    )
    return Node(name, kind, size if kind == "file" else None, metadata, high << 16 | low)


def dos_mode(kind: Kind, attributes: int) -> int:
    """The mode that DOS's attributes stand for; a folder's read-only has no such meaning."""
    return plain_mode(kind, is_read_only=kind == "file" and bool(attributes & _READ_ONLY))


def dos_time(date: int, time: int, hundredths: int = 0) -> float | None:
    """Seconds since the epoch of a DOS date and time, taken as UTC; None when it is no date."""
    year, month, day = 1980 + (date >> 9), date >> 5 & 15, date & 31
    hour, minute, second = time >> 11, time >> 5 & 63, (time & 31) * 2
    if not (1 <= month <= 12 and 1 <= day <= 31 and hour < 24 and minute < 60 and second < 60):
        return None
    return calendar.timegm((year, month, day, hour, minute, second)) + hundredths / 100
