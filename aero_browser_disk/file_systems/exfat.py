"""exFAT (Microsoft's exFAT file system specification 1.00)."""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass

from ..errors import DamagedFileSystemError
from .cluster_chain import AllocationTable, ChainedContent, ClusterChain
from .fat import dos_mode, dos_time
from .tree import (
    Content,
    Extent,
    InlineContent,
    Kind,
    Metadata,
    Node,
    StoredContent,
    find_folded,
    plain_mode,
    read_extents,
    shown_name,
)
from .volume import Volume

_ENTRY = 32
_MAX_FOLDER_BYTES = 256 << 20  # §7.4: no folder is longer
_CHUNK = 64 << 10
_LABEL, _FILE, _STREAM, _NAME = 0x83, 0x85, 0xC0, 0xC1
_IN_USE = 0x80
_FOLDER = 0x10
_NO_CHAIN = 2


@dataclass(frozen=True, slots=True)
class _Stream:
    """Where a file's bytes are: in a chain, or one behind the other without one."""

    first: int
    length: int
    valid: int
    has_chain: bool


class ExFatFileSystem:
    """An exFAT volume."""

    kind = "exFAT"

    def __init__(self, table: AllocationTable, root_cluster: int) -> None:
        self._table = table
        self.label = ""
        key = _Stream(root_cluster, -1, -1, has_chain=True)
        self.root = Node("", "folder", None, Metadata(mode=plain_mode("folder")), key)

    @classmethod
    async def open(cls, volume: Volume, start: bytes) -> ExFatFileSystem | None:
        """The file system whose volume begins with `start`; None when it is no exFAT (§3.1)."""
        if start[3:11] != b"EXFAT   " or start[510:512] != b"\x55\xaa":
            return None
        table, table_length, data, clusters, root = struct.unpack_from("<IIIII", start, 80)
        flags, sector_bits, cluster_bits, tables = struct.unpack_from("<HBBB", start, 106)
        if not 9 <= sector_bits <= 12 or sector_bits + cluster_bits > 25:
            raise DamagedFileSystemError("its sectors or clusters have an impossible size")
        active = flags & 1 if tables == 2 else 0
        found = cls(
            AllocationTable(
                volume,
                (table + active * table_length) << sector_bits,
                32,
                data << sector_bits,
                1 << sector_bits + cluster_bits,
                clusters,
            ),
            root,
        )
        await found._read_label()
        return found

    async def children(self, folder: Node) -> AsyncIterator[Node]:
        file: bytes | None = None
        stream: _Stream | None = None
        name, name_length = "", 0
        async for record in self._records(folder):
            kind = record[0]
            if kind == 0:
                return
            if kind == _FILE:
                file, stream, name = record, None, ""
            elif kind == _STREAM and file is not None:
                stream, name_length = _stream(record), record[3]
            elif kind == _NAME and file is not None and stream is not None:
                name += record[2:32].decode("utf-16-le", "replace")
                if len(name) >= name_length:
                    yield _node(file, stream, shown_name(name[:name_length]))
                    file = None
            elif kind & _IN_USE == 0:
                file = None

    async def find(self, folder: Node, name: str) -> Node | None:
        return await find_folded(self.children(folder), name)

    async def describe(self, node: Node) -> Node:
        return node

    async def content(self, node: Node) -> Content:
        assert isinstance(node.key, _Stream)
        stream = node.key
        if not stream.length:
            return InlineContent(b"")
        if stream.has_chain:
            chain = ClusterChain(self._table, stream.first)
            return ChainedContent(self._table.volume, chain, stream.length, stream.valid)
        extents = [self._contiguous(stream)]
        return StoredContent(self._table.volume, stream.length, extents, stream.valid)

    def _contiguous(self, stream: _Stream) -> Extent:
        table = self._table
        clusters = -(-stream.length // table.cluster_size)
        if not 2 <= stream.first <= table.clusters + 2 - clusters:
            raise DamagedFileSystemError(
                f"a file begins in cluster {stream.first} and ends past the last one"
            )
        disk_offset = table.volume.offset + table.data + (stream.first - 2) * table.cluster_size
        return Extent(0, clusters * table.cluster_size, disk_offset)

    async def _records(self, folder: Node) -> AsyncIterator[bytes]:
        assert isinstance(folder.key, _Stream)
        stream = folder.key
        if stream.has_chain:
            async for data in ClusterChain(self._table, stream.first).chunks(_MAX_FOLDER_BYTES):
                for at in range(0, len(data), _ENTRY):
                    yield data[at : at + _ENTRY]
            return
        length = min(stream.length, _MAX_FOLDER_BYTES)
        extents = [self._contiguous(stream)]
        for start in range(0, length, _CHUNK):
            data = await read_extents(
                self._table.volume, extents, start, min(_CHUNK, length - start)
            )
            for at in range(0, len(data), _ENTRY):
                yield data[at : at + _ENTRY]

    async def _read_label(self) -> None:
        """The label is among the root's first entries (§7.3)."""
        async for record in self._records(self.root):
            if record[0] == _LABEL:
                self.label = record[2 : 2 + 2 * min(record[1], 11)].decode("utf-16-le", "replace")
            elif record[0] in (0, _FILE):
                return


def _stream(record: bytes) -> _Stream:
    valid, first, length = struct.unpack_from("<Q4xIQ", record, 8)
    return _Stream(first, length, min(valid, length), has_chain=not record[1] & _NO_CHAIN)


def _node(file: bytes, stream: _Stream, name: str) -> Node:
    attributes = struct.unpack_from("<H", file, 4)[0]
    kind: Kind = "folder" if attributes & _FOLDER else "file"
    metadata = Metadata(
        modified=_time(file, 12, file[21], file[23]),
        accessed=_time(file, 16, 0, file[24]),
        created=_time(file, 8, file[20], file[22]),
        mode=dos_mode(kind, attributes),
    )
    return Node(name, kind, stream.length if kind == "file" else None, metadata, stream)


def _time(file: bytes, at: int, hundredths: int, zone: int) -> float | None:
    """A timestamp (§7.4.8). The zone counts quarters of an hour, with a sign, if it is known."""
    time, date = struct.unpack_from("<HH", file, at)
    found = dos_time(date, time, hundredths)
    if found is None or not zone & 0x80:
        return found
    return found - ((zone & 0x7F) - (128 if zone & 0x40 else 0)) * 900
