"""Where ext keeps a file's bytes: extent trees, indirect blocks, or the inode itself."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import DamagedFileSystemError
from .tree import MAX_EXTENTS, Extent, joined, read_extents
from .volume import Volume

_MAGIC = 0xF30A
_DEEPEST = 5
_LONGEST_WRITTEN = 0x8000  # a longer extent is allocated and not written: it reads as zeros
_DIRECT = 12
_MAX_MAP_BLOCKS = 1 << 14
_ATTRIBUTES_MAGIC = 0xEA020000
_SYSTEM = 7


class MappedContent:
    """Bytes found through the 60 bytes of `i_block`; only the part of the map in use is read."""

    def __init__(
        self, volume: Volume, map_root: bytes, size: int, block_size: int, *, is_tree: bool
    ) -> None:
        self.size = size
        self._volume = volume
        self._root = map_root
        self._block_size = block_size
        self._is_tree = is_tree

    async def extents(self, offset: int, length: int) -> Sequence[Extent]:
        size = self._block_size
        first, stop = offset // size, -(-(offset + length) // size)
        walk = _Walk(self._volume, size)
        if self._is_tree:
            await walk.tree(self._root, None, first, stop)
        else:
            await walk.pointers(self._root, first, stop)
        found: list[Extent] = []
        at = first
        for run in [*walk.runs, _Run(stop, 0, 0)]:
            if run.block < at:
                raise DamagedFileSystemError("the extents of a file overlap")
            if run.block > at:
                joined(found, Extent(at * size, (run.block - at) * size, None))
            if run.count:
                disk_offset = self._volume.offset + run.volume_block * size
                joined(found, Extent(run.block * size, run.count * size, disk_offset))
            at = run.block + run.count
        return found

    async def read(self, offset: int, length: int) -> bytes:
        found = await self.extents(offset, length)
        return await read_extents(self._volume, found, offset, length)


@dataclass(slots=True)
class _Run:
    """`count` blocks of a file from `block` are at `volume_block` of the volume."""

    block: int
    count: int
    volume_block: int


class _Walk:
    """Collects, through a file's map, the runs of blocks that are wanted, in order."""

    def __init__(self, volume: Volume, block_size: int) -> None:
        self.runs: list[_Run] = []
        self._volume = volume
        self._block_size = block_size
        self._blocks_left = _MAX_MAP_BLOCKS

    async def tree(self, node: bytes, expected_depth: int | None, first: int, stop: int) -> None:
        """The extents of a node and below it, of the file's blocks from `first` to `stop`."""
        magic, count, _, depth = struct.unpack_from("<HHHH", node)
        is_deep = depth > _DEEPEST if expected_depth is None else depth != expected_depth
        if magic != _MAGIC or is_deep or 12 + 12 * count > len(node):
            raise DamagedFileSystemError("the extents of a file are no tree")
        records = [node[12 + 12 * n : 24 + 12 * n] for n in range(count)]
        if depth == 0:
            for record in records:
                block, length, high, low = struct.unpack("<IHHI", record)
                begin, end = max(block, first), min(block + length, stop)
                if length <= _LONGEST_WRITTEN and begin < end:
                    self._add(_Run(begin, end - begin, (high << 32 | low) + begin - block))
            return
        starts = [struct.unpack_from("<I", record)[0] for record in records] + [stop]
        for index, record in enumerate(records):
            begin, end = max(starts[index], first), min(starts[index + 1], stop)
            if begin < end:
                low, high = struct.unpack_from("<IH", record, 4)
                await self.tree(await self._block(high << 32 | low), depth - 1, begin, end)

    async def pointers(self, root: bytes, first: int, stop: int) -> None:
        """The blocks that the pointers in an inode lead to, directly and through others."""
        pointers = struct.unpack("<15I", root)
        self._add_each(pointers[:_DIRECT], 0, first, stop)
        begin, covered = _DIRECT, self._block_size // 4
        for level, pointer in enumerate(pointers[_DIRECT:], 1):
            if begin < stop and begin + covered > first and pointer:
                await self._indirect(pointer, level, begin, first, stop)
            begin, covered = begin + covered, covered * (self._block_size // 4)

    async def _indirect(self, pointer: int, level: int, begin: int, first: int, stop: int) -> None:
        """The same of an indirect block, the first block that it leads to being `begin`."""
        in_block = self._block_size // 4
        pointers = struct.unpack(f"<{in_block}I", await self._block(pointer))
        if level == 1:
            self._add_each(pointers, begin, first, stop)
            return
        covered = in_block ** (level - 1)
        low = max(0, (first - begin) // covered)
        for index in range(low, min(in_block, -(-(stop - begin) // covered))):
            if pointers[index]:
                start = begin + index * covered
                await self._indirect(pointers[index], level - 1, start, first, stop)

    def _add_each(self, pointers: Sequence[int], begin: int, first: int, stop: int) -> None:
        for block in range(max(begin, first), min(begin + len(pointers), stop)):
            if pointers[block - begin]:
                self._add(_Run(block, 1, pointers[block - begin]))

    def _add(self, run: _Run) -> None:
        last = self.runs[-1] if self.runs else None
        follows = last is not None and last.block + last.count == run.block
        if last is not None and follows and last.volume_block + last.count == run.volume_block:
            last.count += run.count
            return
        if len(self.runs) >= MAX_EXTENTS:
            raise DamagedFileSystemError(f"a file is in more than {MAX_EXTENTS} extents")
        self.runs.append(run)

    async def _block(self, number: int) -> bytes:
        self._blocks_left -= 1
        if self._blocks_left < 0:
            raise DamagedFileSystemError("the map of a file is longer than any file's")
        return await self._volume.read(number * self._block_size, self._block_size)


def own_extents(map_root: bytes, volume_offset: int, block_size: int) -> tuple[Extent, ...]:
    """The extents that an inode itself has, which are all of most files; none of a deeper tree."""
    magic, count, _, depth = struct.unpack_from("<HHHH", map_root)
    if magic != _MAGIC or depth or count > 4:
        return ()
    found = []
    for at in range(12, 12 + 12 * count, 12):
        block, length, high, low = struct.unpack_from("<IHHI", map_root, at)
        if length <= _LONGEST_WRITTEN:
            disk_offset = volume_offset + (high << 32 | low) * block_size
            found.append(Extent(block * block_size, length * block_size, disk_offset))
    return tuple(found)


def inline_data(inode: bytes, size: int) -> bytes:
    """The `size` bytes that are kept in the inode: 60, and the rest in its `system.data`."""
    if size <= 60:
        return inode[40 : 40 + size]
    data = inode[40:100] + _system_data(inode)
    if len(data) < size:
        raise DamagedFileSystemError("an inode keeps less of its file than the file's size")
    return data[:size]


def _system_data(inode: bytes) -> bytes:
    if len(inode) < 132:
        return b""
    base = 128 + struct.unpack_from("<H", inode, 128)[0]
    if base + 4 > len(inode) or struct.unpack_from("<I", inode, base)[0] != _ATTRIBUTES_MAGIC:
        return b""
    at = first = base + 4
    while at + 16 <= len(inode) and inode[at : at + 4] != bytes(4):
        name_length, index, offset, _, size = struct.unpack_from("<BBHII", inode, at)
        if index == _SYSTEM and inode[at + 16 : at + 16 + name_length] == b"data":
            return inode[first + offset : first + offset + size]
        at += 16 + (name_length + 3 & ~3)
    return b""
