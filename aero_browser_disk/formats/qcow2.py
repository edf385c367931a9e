"""Reads QEMU's qcow2 disks, versions 2 and 3 (QEMU's docs/interop/qcow2.txt).

A table of two levels leads from the disk's clusters to the file's: each may be missing (zeros),
zero by a flag, stored as it is, or compressed. Whatever else a file may ask for is refused by name.
"""

from __future__ import annotations

import struct
import zlib
from collections import OrderedDict
from collections.abc import AsyncIterator
from dataclasses import dataclass

from ..errors import DamagedImageError, UnsupportedImageError
from ..platform.byte_range import ByteRange
from ..platform.byte_source import ByteSource
from .recognition import QCOW2, ZSTD
from .unpacking import decompressor_of
from .virtual_disk import LARGEST_DISK, SourceWindow

_HEADER = struct.Struct(">4sIQIIQIIQQIIQ")
_HEADER_V3 = struct.Struct(">QQQII")
_HEADER_LENGTH_V3 = _HEADER.size + _HEADER_V3.size
_MAGIC = b"QFI\xfb"
_SMALLEST_CLUSTER_BITS, _LARGEST_CLUSTER_BITS = 9, 21
_LARGEST_L1 = 32 << 20  # bytes, as QEMU has it
_TABLES_HELD = 16 << 20  # bytes

# Incompatible features, by bit.
_DIRTY, _CORRUPT, _EXTERNAL_DATA, _COMPRESSION_TYPE, _EXTENDED_L2 = (1 << bit for bit in range(5))

_OFFSET = ((1 << 56) - 1) & ~511  # bits 9 to 55 of a table's entry
_IS_COMPRESSED = 1 << 62
_IS_ZERO = 1


@dataclass(frozen=True, slots=True)
class Qcow2Header:
    """What the beginning of the file says. Offsets are into the file."""

    version: int
    cluster_bits: int
    size: int
    l1_size: int
    l1_offset: int
    uses_zstd: bool

    @classmethod
    def parse(cls, data: bytes) -> Qcow2Header:
        """Reads a header; raises `DamagedImageError` and `UnsupportedImageError`."""
        if len(data) < _HEADER.size:
            raise _damaged(f"its header has {len(data)} of at least {_HEADER.size} bytes")
        (
            magic,
            version,
            backing_offset,
            _,
            cluster_bits,
            size,
            encryption,
            l1_size,
            l1_offset,
            _,
            _,
            _,
            _,
        ) = _HEADER.unpack_from(data)
        if magic != _MAGIC or version not in (2, 3):
            raise _damaged(f"its header is not of version 2 or 3 but {version}")
        if backing_offset:
            raise _refused(
                "It only holds what differs from another file, its backing file. Merge both: "
                "qemu-img convert -O raw FILE disk.img"
            )
        if encryption:
            raise _refused("It is encrypted. Decrypt it first: qemu-img convert with its secret.")
        header = cls(
            version,
            cluster_bits,
            size,
            l1_size,
            l1_offset,
            _uses_zstd(data) if version > 2 else False,
        )
        header._check()
        return header

    def _check(self) -> None:
        if not _SMALLEST_CLUSTER_BITS <= self.cluster_bits <= _LARGEST_CLUSTER_BITS:
            raise _damaged(f"its clusters have 2^{self.cluster_bits} bytes")
        if self.size % 512 or self.size > LARGEST_DISK:
            raise _damaged(f"its disk has {self.size:,} bytes")
        covered = 1 << (2 * self.cluster_bits - 3)  # by one entry of the first level
        needed = -(-self.size // covered)
        if self.l1_size * 8 > _LARGEST_L1 or self.l1_size < needed:
            raise _damaged(f"its first table has {self.l1_size:,} entries")
        if self.l1_offset % (1 << self.cluster_bits):
            raise _damaged("its first table does not begin with a cluster")


def _uses_zstd(data: bytes) -> bool:
    """Checks what version 3 adds to the header; returns whether clusters are Zstandard's."""
    if len(data) < _HEADER_LENGTH_V3:
        raise _damaged("its header is cut off")
    features, _, _, _, header_length = _HEADER_V3.unpack_from(data, _HEADER.size)
    if features & _CORRUPT:
        raise _refused("It is marked as corrupt. Mend it first: qemu-img check -r all FILE")
    if features & _DIRTY:
        raise _refused("It was not closed in order. Mend it first: qemu-img check -r all FILE")
    if features & _EXTERNAL_DATA:
        raise _refused(
            "Its data is in another file. Merge both: qemu-img convert -O raw FILE disk.img"
        )
    if unknown := features & ~_COMPRESSION_TYPE:
        what = "subclusters (extended L2 entries)" if unknown & _EXTENDED_L2 else f"{unknown:#x}"
        raise _refused(
            f"It uses a feature that is not known here: {what}. Make a raw image of it first: "
            "qemu-img convert -O raw FILE disk.img"
        )
    if header_length < _HEADER_LENGTH_V3 or header_length % 8:
        raise _damaged(f"its header says that it has {header_length} bytes")
    kind = data[104] if header_length > 104 and len(data) > 104 else 0
    if kind not in (0, 1) or bool(kind) != bool(features & _COMPRESSION_TYPE):
        raise _damaged(f"its clusters are compressed by method {kind}")
    return kind == 1


class Qcow2Disk:
    """The disk that a qcow2 file holds: a `VirtualDisk`.

    Snapshots inside the file are passed over: it is the disk as it was left.
    """

    format = QCOW2

    def __init__(self, source: SourceWindow, header: Qcow2Header, l1: tuple[int, ...]) -> None:
        self.size = header.size
        self._source = source
        self._header = header
        self._cluster = 1 << header.cluster_bits
        self._entries = self._cluster // 8  # of a table of the second level
        self._l1 = l1
        self._tables: OrderedDict[int, tuple[int, ...]] = OrderedDict()

    @classmethod
    async def open(cls, source: ByteSource) -> Qcow2Disk:
        """Reads the header and the first table.

        Raises `DamagedImageError`, `UnsupportedImageError`, and what `source` raises.
        """
        window = SourceWindow(source, QCOW2)
        header = Qcow2Header.parse(await source.read(0, 4096))
        data = await window.read(header.l1_offset, header.l1_size * 8, "its first table")
        return cls(window, header, struct.unpack(f">{header.l1_size}Q", data))

    async def data_ranges(self) -> AsyncIterator[ByteRange]:
        cluster, covered = self._cluster, self._cluster * self._entries
        start = stop = 0
        for index in range(-(-self.size // covered)):
            if not self._l1[index] & _OFFSET:
                continue
            table = await self._table(index)
            for position, entry in enumerate(table):
                if _is_hole(entry):
                    self._check_hole(entry)
                    continue
                at = index * covered + position * cluster
                if at >= self.size:
                    break
                if at != stop:
                    if stop > start:
                        yield ByteRange(start, stop)
                    start = at
                stop = min(at + cluster, self.size)
        if stop > start:
            yield ByteRange(start, stop)

    async def read(self, offset: int, length: int) -> bytes:
        parts = []
        stop = offset + length
        while offset < stop:
            entry, run = await self._run(offset, stop)
            within = offset % self._cluster
            if _is_hole(entry):
                self._check_hole(entry)
                parts.append(bytes(run))
            elif entry & _IS_COMPRESSED:
                cluster = await self._decompress(entry)
                parts.append(cluster[within : within + run])
            else:
                host = self._host_offset(entry)
                parts.append(await self._source.read(host + within, run, "a cluster"))
            offset += run
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def _run(self, offset: int, stop: int) -> tuple[int, int]:
        """The entry for the cluster at `offset`, and how many bytes can be read in one go there.

        That is more than a cluster where clusters lie one behind the other in the file too, or are
        holes; it never reaches past `stop`.
        """
        index, position = divmod(offset // self._cluster, self._entries)
        first, run = 0, self._entries - position
        if self._l1[index] & _OFFSET:
            table = await self._table(index)
            first, run = table[position], 1
            wanted = -(-(stop - offset // self._cluster * self._cluster) // self._cluster)
            most = min(wanted, self._entries - position)
            if _is_hole(first):
                while run < most and _is_hole(table[position + run]):
                    run += 1
            elif not first & _IS_COMPRESSED:
                base = first & _OFFSET
                while run < most and _follows(table[position + run], base + run * self._cluster):
                    run += 1
        return first, min(run * self._cluster - offset % self._cluster, stop - offset)

    async def _table(self, index: int) -> tuple[int, ...]:
        """The table of the second level that an entry of the first leads to."""
        table = self._tables.get(index)
        if table is not None:
            self._tables.move_to_end(index)
            return table
        host = self._host_offset(self._l1[index])
        data = await self._source.read(host, self._cluster, "a table")
        table = self._tables[index] = struct.unpack(f">{self._entries}Q", data)
        while len(self._tables) > max(2, _TABLES_HELD // (self._cluster * 4)):
            self._tables.popitem(last=False)
        return table

    def _host_offset(self, entry: int) -> int:
        host = entry & _OFFSET
        if host % self._cluster:
            raise _damaged(f"a table leads to byte {host:,}, where no cluster begins")
        return host

    def _check_hole(self, entry: int) -> None:
        if entry & _IS_ZERO and self._header.version < 3:
            raise _damaged("a cluster is marked as zeros, which version 2 does not have")

    async def _decompress(self, entry: int) -> bytes:
        """A compressed cluster: its place counts in sectors of 512 bytes from any byte on."""
        size_bits = self._header.cluster_bits - 8
        shift = 62 - size_bits
        host = entry & ((1 << shift) - 1)
        sectors = ((entry >> shift) & ((1 << size_bits) - 1)) + 1
        # The last sector may be cut off by the file's end: the cluster need not fill it.
        length = min(sectors * 512 - host % 512, self._source.size - host)
        if length <= 0:
            raise _damaged(f"a compressed cluster lies at byte {host:,}, past the file's end")
        packed = await self._source.read(host, length, "a compressed cluster")
        try:
            data = self._unpack(packed)
        except (ValueError, zlib.error) as error:
            raise _damaged(f"the compressed cluster at byte {host:,} is not whole") from error
        if len(data) != self._cluster:
            raise _damaged(f"the compressed cluster at byte {host:,} has {len(data):,} bytes")
        return data

    def _unpack(self, packed: bytes) -> bytes:
        if self._header.uses_zstd:
            return decompressor_of(ZSTD)().decompress(packed, self._cluster)
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, self._cluster)


def _is_hole(entry: int) -> bool:
    """Whether an entry of the second level says zeros: by its flag, or by leading nowhere."""
    return not entry & _IS_COMPRESSED and (entry & _IS_ZERO != 0 or not entry & _OFFSET)


def _follows(entry: int, host: int) -> bool:
    """Whether an entry leads to a cluster as it is, at `host`."""
    return entry & (_IS_COMPRESSED | _IS_ZERO) == 0 and entry & _OFFSET == host


def _damaged(reason: str) -> DamagedImageError:
    return DamagedImageError(QCOW2.title, reason)


def _refused(advice: str) -> UnsupportedImageError:
    return UnsupportedImageError(QCOW2.name, QCOW2.title, advice)
