"""Chains of clusters through a file allocation table, followed only as far as they are needed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from ..errors import DamagedFileSystemError
from .tree import Extent, joined, read_extents, within
from .volume import Volume

_TABLE_CHUNK = 4096
_FOLDER_CHUNK = 64 << 10


@dataclass(frozen=True, slots=True)
class AllocationTable:
    """Where the table, of entries of `bits` each (28 are FAT32's), and cluster 2 begin.

    In bytes from the volume's begin. There are `clusters` clusters of `cluster_size` bytes.
    """

    volume: Volume
    table: int
    bits: int
    data: int
    cluster_size: int
    clusters: int


class ClusterChain:
    """The clusters of one file or folder, in order.

    Whatever is not a chain of the table's clusters, each at most once, raises
    `DamagedFileSystemError`.
    """

    def __init__(self, table: AllocationTable, first: int) -> None:
        self._table = table
        self._extents: list[Extent] = []
        self._length = 0
        self._next: int | None = first
        self._mark = 0  # a cluster that was passed: reaching it again means a loop
        self._until_mark = self._stride = 1
        self._chunk_at, self._chunk = 0, b""

    async def extents(self, length: int) -> Sequence[Extent]:
        """Where the first `length` bytes are, or as many as there are."""
        while self._length < length and self._next is not None:
            await self._follow()
        return self._extents

    async def chunks(self, max_length: int) -> AsyncIterator[bytes]:
        """The first `max_length` bytes of a folder, whose length only its chain knows."""
        at = 0
        while at < max_length:
            await self.extents(at + _FOLDER_CHUNK)
            length = min(_FOLDER_CHUNK, self._length - at)
            if length <= 0:
                return
            yield await read_extents(self._table.volume, self._extents, at, length)
            at += length

    async def _follow(self) -> None:
        table, cluster = self._table, self._next
        assert cluster is not None
        if not 2 <= cluster < table.clusters + 2:
            raise DamagedFileSystemError(
                f"a chain leads to cluster {cluster}, which does not exist"
            )
        if cluster == self._mark:
            raise DamagedFileSystemError("a chain of clusters runs in a circle")
        self._until_mark -= 1
        if not self._until_mark:  # Brent's way to find a circle: marks ever further apart
            self._mark, self._stride = cluster, self._stride * 2
            self._until_mark = self._stride
        disk_offset = table.volume.offset + table.data + (cluster - 2) * table.cluster_size
        joined(self._extents, Extent(self._length, table.cluster_size, disk_offset))
        self._length += table.cluster_size
        entry = await self._entry(cluster)
        self._next = None if entry >= (1 << table.bits) - 8 else entry

    async def _entry(self, cluster: int) -> int:
        """What the table says of a cluster: the next one, or that it is the last."""
        bits = self._table.bits
        if bits == 12:
            pair = int.from_bytes(await self._bytes(cluster * 3 // 2, 2), "little")
            return pair >> 4 if cluster & 1 else pair & 0xFFF
        width = 2 if bits == 16 else 4
        entry = int.from_bytes(await self._bytes(cluster * width, width), "little")
        return entry & ((1 << bits) - 1)

    async def _bytes(self, at: int, length: int) -> bytes:
        """Bytes of the table, which is read a chunk at a time."""
        if not self._chunk_at <= at or at + length > self._chunk_at + len(self._chunk):
            self._chunk_at = at
            self._chunk = await self._table.volume.read_up_to(self._table.table + at, _TABLE_CHUNK)
        start = at - self._chunk_at
        return self._chunk[start : start + length]


class ChainedContent:
    """The bytes of a file in a chain. Past `valid` bytes they are zeros."""

    def __init__(self, volume: Volume, chain: ClusterChain, size: int, valid: int) -> None:
        self.size = size
        self._volume = volume
        self._chain = chain
        self._valid = valid

    async def extents(self, offset: int, length: int) -> Sequence[Extent]:
        return within(await self._chain.extents(offset + length), offset, length)

    async def read(self, offset: int, length: int) -> bytes:
        valid = max(0, min(length, self._valid - offset))
        found = await self.extents(offset, valid) if valid else []
        return await read_extents(self._volume, found, offset, valid) + bytes(length - valid)
