"""Reads QEMU's qcow2 disks, versions 2 and 3 (QEMU's docs/interop/qcow2.txt).

A table of two levels leads from the disk's clusters to the file's: each may be missing (zeros, or
what the backing file has), zero by a flag, stored as it is, or compressed. With extended L2 entries
the same holds for each 32nd part of a cluster. Other features that a file may require are refused
by name.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import Final

from ..errors import DamagedImageError, UnsupportedImageError
from ..platform.byte_source import ByteSource
from .image_format import QCOW2
from .layout import LARGEST_DISK, ImageLayout, Segment, Unpack, raw_segment
from .pages import PageCache
from .zstandard import unpack_frame

_HEADER = struct.Struct(">4sIQIIQIIQQIIQ")
_HEADER_V3 = struct.Struct(">QQQII")
_HEADER_LENGTH_V3 = _HEADER.size + _HEADER_V3.size
_MAGIC = b"QFI\xfb"
_SMALLEST_CLUSTER_BITS, _LARGEST_CLUSTER_BITS = 9, 21
_SMALLEST_EXTENDED_BITS = 14
_LARGEST_L1 = 32 << 20  # bytes, QEMU's limit
_LONGEST_NAME = 1023

# Incompatible features, by bit.
_DIRTY, _CORRUPT, _EXTERNAL_DATA, _COMPRESSION_TYPE, _EXTENDED_L2 = (1 << bit for bit in range(5))

_OFFSET = ((1 << 56) - 1) & ~511  # bits 9 to 55 of a table's entry
_IS_COMPRESSED = 1 << 62
_IS_ZERO = 1
_ENTRIES_AT_ONCE = 64  # units that are looked at for one segment
_HOLES_AT_ONCE = 4096

# States of an entry that is not an offset.
_ZEROS: Final = -1
_MISSING: Final = -2


@dataclass(frozen=True, slots=True)
class Qcow2Header:
    """What the beginning of the file says. Offsets are into the file."""

    version: int
    cluster_bits: int
    size: int
    l1_size: int
    l1_offset: int
    backing_offset: int = 0
    backing_length: int = 0
    encryption: int = 0
    features: int = 0
    uses_zstd: bool = False

    @classmethod
    def parse(cls, data: bytes) -> Qcow2Header:
        """Reads a header; raises `DamagedImageError` where it cannot be."""
        if len(data) < _HEADER.size:
            raise _damaged(f"its header has {len(data)} of at least {_HEADER.size} bytes")
        fields = _HEADER.unpack_from(data)
        magic, version, backing_offset, backing_length, cluster_bits, size = fields[:6]
        if magic != _MAGIC or version not in (2, 3):
            raise _damaged(f"its header is not of version 2 or 3 but {version}")
        features, uses_zstd = _version_3(data) if version > 2 else (0, False)
        header = cls(
            version,
            cluster_bits,
            size,
            l1_size=fields[7],
            l1_offset=fields[8],
            backing_offset=backing_offset,
            backing_length=backing_length,
            encryption=fields[6],
            features=features,
            uses_zstd=uses_zstd,
        )
        header._check()
        return header

    @property
    def is_extended(self) -> bool:
        """Whether each cluster has 32 subclusters."""
        return bool(self.features & _EXTENDED_L2)

    def refuse_what_is_not_read(self) -> None:
        """Raises `UnsupportedImageError` for valid features that are not supported here."""
        if self.encryption:
            raise _refused("It is encrypted. Decrypt it first: qemu-img convert with its secret.")
        if self.features & _CORRUPT:
            raise _refused("It is marked as corrupt. Repair it first: qemu-img check -r all FILE")
        if self.features & _DIRTY:
            raise _refused(
                "It was not closed properly. Repair it first: qemu-img check -r all FILE"
            )
        if self.features & _EXTERNAL_DATA:
            raise _refused(
                "Its data is in another file. Merge both: qemu-img convert -O raw FILE disk.img"
            )
        if unknown := self.features & ~(_COMPRESSION_TYPE | _EXTENDED_L2):
            raise _refused(
                f"It uses a feature that is not known here: {unknown:#x}. Make a raw image of it "
                "first: qemu-img convert -O raw FILE disk.img"
            )

    def _check(self) -> None:
        smallest = _SMALLEST_EXTENDED_BITS if self.is_extended else _SMALLEST_CLUSTER_BITS
        if not smallest <= self.cluster_bits <= _LARGEST_CLUSTER_BITS:
            raise _damaged(f"its clusters have 2^{self.cluster_bits} bytes")
        if self.size % 512 or self.size > LARGEST_DISK:
            raise _damaged(f"its disk has {self.size:,} bytes")
        entry_bits = 4 if self.is_extended else 3
        covered = 1 << (2 * self.cluster_bits - entry_bits)  # by one entry of the first level
        needed = -(-self.size // covered)
        if self.l1_size * 8 > _LARGEST_L1 or self.l1_size < needed:
            raise _damaged(f"its first table has {self.l1_size:,} entries")
        if self.l1_offset % (1 << self.cluster_bits):
            raise _damaged("its first table does not begin with a cluster")
        if self.backing_offset and not 0 < self.backing_length <= _LONGEST_NAME:
            raise _damaged(f"the name of its backing file has {self.backing_length:,} bytes")


def _version_3(data: bytes) -> tuple[int, bool]:
    """The features that version 3 has in the header, and whether clusters are Zstandard's."""
    if len(data) < _HEADER_LENGTH_V3:
        raise _damaged("its header is cut off")
    features, _, _, _, header_length = _HEADER_V3.unpack_from(data, _HEADER.size)
    if header_length < _HEADER_LENGTH_V3 or header_length % 8:
        raise _damaged(f"its header says that it has {header_length} bytes")
    kind = data[104] if header_length > 104 and len(data) > 104 else 0
    if kind not in (0, 1) or bool(kind) != bool(features & _COMPRESSION_TYPE):
        raise _damaged(f"its clusters are compressed by method {kind}")
    return features, kind == 1


class Qcow2Layout:
    """The layout of a qcow2 file.

    Internal snapshots are ignored: it is the disk's current state.
    """

    format = QCOW2

    def __init__(
        self, pages: PageCache, header: Qcow2Header, backing: ImageLayout | None = None
    ) -> None:
        self.size = header.size
        self._pages = pages
        self._header = header
        self._backing = backing
        self._cluster = 1 << header.cluster_bits
        self._entry_length = 16 if header.is_extended else 8
        self._entries = self._cluster // self._entry_length  # of a table of the second level
        self._per_cluster = 32 if header.is_extended else 1
        self._unit = self._cluster // self._per_cluster  # what has a state of its own
        self._unpack = (
            _unpack_zstd(self._cluster) if header.uses_zstd else _unpack_zlib(self._cluster)
        )

    @classmethod
    async def open(cls, source: ByteSource, backing: ImageLayout | None = None) -> Qcow2Layout:
        """Reads the header. `backing` is the disk in the backing file, if the file has one.

        Raises `DamagedImageError`; `UnsupportedImageError` for a file with a backing file that is
        not given, and for what is not read here; and what `source` raises.
        """
        pages = PageCache(source, QCOW2)
        header = Qcow2Header.parse(await pages.read(0, min(4096, source.size), "its header"))
        header.refuse_what_is_not_read()
        if header.backing_offset and backing is None:
            name = await pages.read(header.backing_offset, header.backing_length, "a name")
            raise _refused(
                "It only holds what differs from another file, its backing file "
                f"{name.decode('utf-8', 'replace')!r}. Name that file too, or merge both: "
                "qemu-img convert -O raw FILE disk.img"
            )
        if header.l1_offset + header.l1_size * 8 > source.size:
            raise _damaged(
                f"its first table ends at byte {header.l1_offset + header.l1_size * 8:,}, but the "
                f"file has {source.size:,} bytes"
            )
        return cls(pages, header, backing if header.backing_offset else None)

    async def segment(self, offset: int, stop: int) -> Segment:
        unit, size = offset // self._unit, self._unit
        state, count = await self._run(unit, -(-stop // size))
        if state >= 0 and state & _IS_COMPRESSED:
            return self._compressed(state, offset, stop)
        end = (unit + count) * size
        while end < stop:
            following, more = await self._run(end // size, -(-stop // size))
            if following != (state + end - unit * size if state >= 0 else state):
                break
            end += more * size
        end = min(end, stop)
        if state >= 0:
            return raw_segment(offset, end, self._pages.source, state + offset - unit * size)
        if state == _MISSING and self._backing is not None and offset < self._backing.size:
            return await self._backing.segment(offset, min(end, self._backing.size))
        return Segment(offset, end)

    async def check_tables(self) -> None:
        tables, length = 0, self._header.l1_size * 8
        for start in range(0, length, 65536):
            count = min(65536, length - start) // 8
            entries = await self._l1(start // 8, count)
            tables += sum(1 for (entry,) in struct.iter_unpack(">Q", entries) if entry & _OFFSET)
        if tables * self._cluster > self._pages.source.size:
            raise _damaged("its first table leads to the same second tables more than once")
        if self._backing is not None:
            await self._backing.check_tables()

    async def _run(self, unit: int, stop: int) -> tuple[int, int]:
        """The state of a unit, and how many from it on have it; at most up to unit `stop`.

        States of stored units go on when their offsets do. A compressed cluster is one run.
        """
        cluster, sub = divmod(unit, self._per_cluster)
        index, position = divmod(cluster, self._entries)
        wanted = min(-(-stop // self._per_cluster) - cluster, self._entries - position)
        (entry,) = struct.unpack(">Q", await self._l1(index, 1))
        table = self._host_offset(entry)
        if not table:
            return _MISSING, await self._missing_tables(index, stop) - unit
        count = min(wanted, _HOLES_AT_ONCE)
        width = self._entry_length
        data = await self._pages.read(table + position * width, count * width, "a table")
        if data == bytes(len(data)):
            return _MISSING, count * self._per_cluster - sub
        count = min(count, _ENTRIES_AT_ONCE)
        if self._header.is_extended:
            return self._run_of_subclusters(data, sub, count)
        entries = struct.unpack_from(f">{count}Q", data)
        state = self._state(entries[0])
        run = 1
        if state < 0 or not state & _IS_COMPRESSED:
            step = self._cluster if state >= 0 else 0
            while run < count and self._state(entries[run]) == state + run * step:
                run += 1
        return state, run

    def _run_of_subclusters(self, data: bytes, sub: int, count: int) -> tuple[int, int]:
        found: int | None = None
        run = 0
        for index in range(count):
            entry, bits = struct.unpack_from(">QQ", data, index * 16)
            if entry & _IS_COMPRESSED:
                return (entry, self._per_cluster - sub) if found is None else (found, run)
            host = self._host_offset(entry)
            for number in range(sub, self._per_cluster):
                state = self._subcluster_state(host, bits, number)
                if found is None:
                    found = state
                elif state != (found + run * self._unit if found >= 0 else found):
                    return found, run
                run += 1
            sub = 0
        assert found is not None
        return found, run

    def _subcluster_state(self, host: int, bits: int, number: int) -> int:
        is_stored, is_zero = bits >> number & 1, bits >> 32 + number & 1
        if is_stored and (is_zero or not host):
            raise _damaged("a subcluster is marked as stored, and as zeros or nowhere")
        if is_stored:
            return host + number * self._unit
        return _ZEROS if is_zero else _MISSING

    def _state(self, entry: int) -> int:
        if entry & _IS_COMPRESSED:
            return entry
        if entry & _IS_ZERO:
            if self._header.version < 3:
                raise _damaged("a cluster is marked as zeros, which version 2 does not have")
            return _ZEROS
        return self._host_offset(entry) or _MISSING

    async def _l1(self, index: int, count: int) -> bytes:
        offset = self._header.l1_offset + index * 8
        return await self._pages.read(offset, count * 8, "its first table")

    async def _missing_tables(self, index: int, stop: int) -> int:
        """The first unit from table `index` on that has a table of the second level, at most
        `stop`."""
        covered = self._entries * self._per_cluster
        count = min(-(-stop // covered), self._header.l1_size) - index
        count = min(count, _HOLES_AT_ONCE)
        entries = struct.unpack(f">{count}Q", await self._l1(index, count))
        missing = next((n for n, entry in enumerate(entries) if entry & _OFFSET), count)
        return min((index + missing) * covered, stop)

    def _host_offset(self, entry: int) -> int:
        host = entry & _OFFSET
        if host % self._cluster:
            raise _damaged(f"a table leads to byte {host:,}, where no cluster begins")
        return host

    def _compressed(self, entry: int, offset: int, stop: int) -> Segment:
        """A compressed cluster: it begins at any byte, and ends with one of some sectors."""
        size_bits = self._header.cluster_bits - 8
        shift = 62 - size_bits
        host = entry & ((1 << shift) - 1)
        sectors = ((entry >> shift) & ((1 << size_bits) - 1)) + 1
        source = self._pages.source
        # The last sector may be cut off by the file's end: the cluster need not fill it.
        length = min(sectors * 512 - host % 512, source.size - host)
        if length <= 0:
            raise _damaged(f"a compressed cluster lies at byte {host:,}, past the file's end")
        skip = offset % self._cluster
        return Segment(
            offset,
            min(stop, offset - skip + self._cluster),
            source,
            host,
            length,
            self._unpack,
            skip,
            self._cluster,  # whole, also if the disk ends inside it
            own_length=max(1, length - 1022),  # its first and last sector may be shared
        )


def _unpack_zlib(cluster: int) -> Unpack:
    return lambda stored: zlib.decompressobj(-zlib.MAX_WBITS).decompress(stored, cluster)


def _unpack_zstd(cluster: int) -> Unpack:
    return lambda stored: unpack_frame(stored, cluster, QCOW2)


def _damaged(reason: str) -> DamagedImageError:
    return DamagedImageError(QCOW2.title, reason)


def _refused(advice: str) -> UnsupportedImageError:
    return UnsupportedImageError(QCOW2.name, QCOW2.title, advice)
