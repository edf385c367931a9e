"""ext2, ext3 and ext4 (the kernel's Documentation/filesystems/ext4)."""

from __future__ import annotations

import stat
import struct
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass

from ..errors import DamagedFileSystemError, UnknownFileSystemError, UnreadableFileError
from .ext_content import MappedContent, inline_data, own_extents
from .tree import (
    Content,
    Extent,
    InlineContent,
    Kind,
    Metadata,
    Node,
    check_folder_length,
    shown_name,
)
from .volume import Volume

_SUPERBLOCK, _SUPERBLOCK_LENGTH = 1024, 1024
_ROOT = 2
_MAX_FOLDER_BYTES = 64 << 20
_CHUNK = 64 << 10
_LONGEST_LINK = 4096
# What is between two inodes that are read in one chunk; a block of the cache is not less.
_BRIDGED = 16 << 10
_LONGEST_RUN = 256 << 10

# s_feature_incompat. What is not here would be read wrong.
_FILE_TYPE, _META_BG, _WIDE = 0x2, 0x10, 0x80
_KNOWN_FEATURES = 0x2 | 0x4 | 0x10 | 0x40 | 0x80 | 0x100 | 0x200 | 0x400 | 0x2000 | 0x4000
_KNOWN_FEATURES |= 0x8000 | 0x10000 | 0x20000
_SPARSE_SUPER, _SPARSE_SUPER_2 = 0x1, 0x200  # of s_feature_ro_compat and s_feature_compat

# i_flags
_COMPRESSED, _ENCRYPTED, _EXTENTS, _INLINE = 0x4, 0x800, 0x80000, 0x10000000
_CASE_FOLDED = 0x40000000  # a folder in which case does not count (chattr +F)

_KINDS: dict[int, Kind] = {stat.S_IFREG: "file", stat.S_IFDIR: "folder", stat.S_IFLNK: "link"}


@dataclass(frozen=True, slots=True)
class Inode:
    """What an inode says. `body` is all of it."""

    number: int
    size: int
    metadata: Metadata
    flags: int
    body: bytes

    @property
    def kind(self) -> Kind:
        """What it is of."""
        return _KINDS.get(stat.S_IFMT(self.metadata.mode or 0), "other")


class ExtFileSystem:
    """A volume of the ext family. Its journal is not replayed."""

    def __init__(self, volume: Volume, superblock: bytes) -> None:
        self._volume = volume
        self._inodes, blocks = _numbers("<II", superblock, 0)
        self._first_block, log_size = _numbers("<II", superblock, 20)
        self._group_blocks, self._group_inodes = _numbers("<I4xI", superblock, 32)
        (revision,) = _numbers("<I", superblock, 76)
        self._inode_size = _numbers("<H", superblock, 88)[0] if revision else 128
        self._compatible, self._incompatible, self._read_compatible = _numbers(
            "<III", superblock, 92
        )
        (stated,) = _numbers("<H", superblock, 254)
        self._descriptor_size = max(32, stated) if self._incompatible & _WIDE else 32
        (self._first_meta,) = _numbers("<I", superblock, 260)
        self._backups = _numbers("<II", superblock, 588)
        if log_size > 6:
            raise DamagedFileSystemError("its blocks have an impossible size")
        self.block_size = 1024 << log_size
        self._check(blocks)
        self.kind = self._name()
        self.label = superblock[120:136].split(b"\0", 1)[0].decode("utf-8", "replace")
        self.root = Node("", "folder", None, Metadata(), _ROOT)
        self._descriptors: dict[int, bytes] = {}

    @classmethod
    async def open(cls, volume: Volume, start: bytes) -> ExtFileSystem | None:
        """The file system whose volume begins with `start`; None when it is no ext."""
        superblock = start[_SUPERBLOCK : _SUPERBLOCK + _SUPERBLOCK_LENGTH]
        if superblock[56:58] != b"\x53\xef":
            return None
        features = struct.unpack_from("<I", superblock, 96)[0]
        if features & ~_KNOWN_FEATURES:
            unknown = features & ~_KNOWN_FEATURES
            raise UnknownFileSystemError(f"an ext4 with features that are unknown ({unknown:#x})")
        return cls(volume, superblock)

    async def children(self, folder: Node) -> AsyncIterator[Node]:
        inode = await self._folder_inode(folder)
        async for chunk in self._folder_chunks(inode):
            names = [(n, name) for n, name in chunk if name not in (".", "..")]
            inodes = await self._read_inodes([number for number, _ in names])
            for number, name in names:
                yield await self._node(inodes[number], name)

    async def find(self, folder: Node, name: str) -> Node | None:
        inode = await self._folder_inode(folder)
        folded, wanted = None, name.casefold() if inode.flags & _CASE_FOLDED else None
        async for chunk in self._folder_chunks(inode):
            for number, found in chunk:
                if found in (".", ".."):
                    continue
                if found == name:
                    return await self._node_of(number, found)
                if folded is None and wanted is not None and found.casefold() == wanted:
                    folded = number, found
        return await self._node_of(*folded) if folded is not None else None

    async def describe(self, node: Node) -> Node:
        return await self._node_of(_ROOT, "") if node is self.root else node

    async def content(self, node: Node) -> Content:
        assert isinstance(node.key, int)
        return self._content_of((await self._read_inodes([node.key]))[node.key], node.name)

    # ── folders ──────────────────────────────────────────────────────────────────────────────────

    async def _folder_inode(self, folder: Node) -> Inode:
        assert isinstance(folder.key, int)
        inode = (await self._read_inodes([folder.key]))[folder.key]
        if inode.kind != "folder":
            raise DamagedFileSystemError(f"inode {inode.number} is not a folder")
        return inode

    async def _folder_chunks(self, inode: Inode) -> AsyncIterator[list[tuple[int, str]]]:
        """The entries of a folder, as (inode, name), a chunk of it at a time."""
        if inode.flags & _INLINE:
            data = inline_data(inode.body, inode.size)
            yield [*self._entries(data[4:60]), *self._entries(data[60:])]
            return
        content = self._content_of(inode, "a folder")
        size = min(content.size, _MAX_FOLDER_BYTES)
        for start in range(0, size, _CHUNK):
            data = await content.read(start, min(_CHUNK, size - start))
            found: list[tuple[int, str]] = []
            for at in range(0, len(data), self.block_size):
                found += self._entries(data[at : at + self.block_size])
            yield found
        check_folder_length(content.size, _MAX_FOLDER_BYTES)

    def _entries(self, block: bytes) -> Iterator[tuple[int, str]]:
        at = 0
        while at + 8 <= len(block):
            number, length, name_length = struct.unpack_from("<IHB", block, at)
            if length in (0, 0xFFFF) and self.block_size == 1 << 16:
                length = 1 << 16
            if length < 8 or at + length > len(block) or 8 + name_length > length:
                raise DamagedFileSystemError("a folder has an entry of an impossible length")
            if number:
                raw = block[at + 8 : at + 8 + name_length]
                yield number, shown_name(raw.decode("utf-8", "backslashreplace"))
            at += length

    async def _node_of(self, number: int, name: str) -> Node:
        return await self._node((await self._read_inodes([number]))[number], name)

    async def _node(self, inode: Inode, name: str) -> Node:
        target = None
        if inode.kind == "link":
            target = await self._target(inode)
        if inode.kind != "file":
            return Node(name, inode.kind, None, inode.metadata, inode.number, target)
        extents: tuple[Extent, ...] = ()
        if inode.flags & (_EXTENTS | _INLINE) == _EXTENTS:
            extents = own_extents(inode.body[40:100], self._volume.offset, self.block_size)
        return Node(name, "file", inode.size, inode.metadata, inode.number, None, extents)

    async def _target(self, inode: Inode) -> str:
        content = self._content_of(inode, "a link")
        raw = await content.read(0, min(content.size, _LONGEST_LINK))
        return raw.decode("utf-8", "backslashreplace")

    # ── inodes ───────────────────────────────────────────────────────────────────────────────────

    async def _read_inodes(self, numbers: Sequence[int]) -> dict[int, Inode]:
        """The inodes of those numbers; those that lie near one another are read together."""
        offsets = sorted({(await self._inode_offset(number), number) for number in numbers})
        runs: list[list[tuple[int, int]]] = []
        for offset, number in offsets:
            near = runs and offset - runs[-1][-1][0] <= _BRIDGED + self._inode_size
            if near and offset - runs[-1][0][0] < _LONGEST_RUN:
                runs[-1].append((offset, number))
            else:
                runs.append([(offset, number)])
        ranges = [(run[0][0], run[-1][0] - run[0][0] + self._inode_size) for run in runs]
        inodes = {}
        for run, data in zip(runs, await self._volume.read_each(ranges), strict=True):
            for offset, number in run:
                start = offset - run[0][0]
                inodes[number] = _inode(number, data[start : start + self._inode_size])
        return inodes

    async def _inode_offset(self, number: int) -> int:
        if not 1 <= number <= self._inodes:
            raise DamagedFileSystemError(f"an entry names inode {number}, which does not exist")
        group, index = divmod(number - 1, self._group_inodes)
        descriptor = await self._descriptor(group)
        (low,) = _numbers("<I", descriptor, 8)
        (high,) = _numbers("<I", descriptor, 40) if len(descriptor) >= 64 else (0,)
        table = high << 32 | low
        return table * self.block_size + index * self._inode_size

    async def _descriptor(self, group: int) -> bytes:
        """A group's descriptor; a block of them is kept."""
        in_block = self.block_size // self._descriptor_size
        block_number, index = divmod(group, in_block)
        block = self._descriptors.get(block_number)
        if block is None:
            offset = self._descriptor_block(block_number, in_block) * self.block_size
            block = await self._volume.read(offset, self.block_size)
            if len(self._descriptors) >= 256:
                self._descriptors.clear()
            self._descriptors[block_number] = block
        return block[index * self._descriptor_size : (index + 1) * self._descriptor_size]

    def _descriptor_block(self, number: int, in_block: int) -> int:
        if not self._incompatible & _META_BG or number < self._first_meta:
            # With clusters the first block may be 0 though it is too small for the superblock.
            superblock = 1 if self.block_size == 1024 else self._first_block
            return superblock + 1 + number
        group = number * in_block
        return self._first_block + group * self._group_blocks + self._has_superblock(group)

    def _has_superblock(self, group: int) -> bool:
        if self._compatible & _SPARSE_SUPER_2:
            return group == 0 or group in self._backups
        if not self._read_compatible & _SPARSE_SUPER or group <= 1:
            return True
        for base in (3, 5, 7):
            power = base
            while power < group:
                power *= base
            if power == group:
                return True
        return False

    def _content_of(self, inode: Inode, name: str) -> Content:
        if inode.flags & _ENCRYPTED:
            raise UnreadableFileError(name, "it is encrypted")
        if inode.flags & _COMPRESSED:
            raise UnreadableFileError(name, "it is compressed in a way that is not known here")
        if inode.flags & _INLINE:
            return InlineContent(inline_data(inode.body, inode.size))
        is_mapped = inode.flags & _EXTENTS
        if inode.kind == "link" and inode.size < 60 and not is_mapped:
            return InlineContent(inode.body[40 : 40 + inode.size])
        return MappedContent(
            self._volume, inode.body[40:100], inode.size, self.block_size, is_tree=bool(is_mapped)
        )

    # ── the superblock ───────────────────────────────────────────────────────────────────────────

    def _check(self, blocks: int) -> None:
        sizes_are_right = self._inode_size >= 128 and self._inode_size & (self._inode_size - 1) == 0
        if not sizes_are_right or self._inode_size > self.block_size:
            raise DamagedFileSystemError("its inodes have an impossible size")
        if not self._group_blocks or not self._group_inodes or not blocks:
            raise DamagedFileSystemError("its groups of blocks are empty")
        if self._descriptor_size > self.block_size:
            raise DamagedFileSystemError("its group descriptors have an impossible size")

    def _name(self) -> str:
        if self._incompatible & ~(_FILE_TYPE | 0x4) or self._read_compatible & ~0x7:
            return "ext4"
        return "ext3" if self._compatible & 0x4 else "ext2"


def _numbers(form: str, data: bytes, at: int) -> tuple[int, ...]:
    """Whole numbers in a structure."""
    return struct.unpack_from(form, data, at)


def _inode(number: int, body: bytes) -> Inode:
    mode, uid, low = struct.unpack_from("<HHI", body, 0)
    gid = struct.unpack_from("<H", body, 24)[0]
    flags = struct.unpack_from("<I", body, 32)[0]
    high = struct.unpack_from("<I", body, 108)[0]
    uid_high, gid_high = struct.unpack_from("<HH", body, 120)
    metadata = Metadata(
        modified=_time(body, 16, 136),
        accessed=_time(body, 8, 140),
        changed=_time(body, 12, 132),
        created=_time(body, 144, 148) if _has(body, 144) and any(body[144:152]) else None,
        mode=mode,
        uid=uid_high << 16 | uid,
        gid=gid_high << 16 | gid,
    )
    size = low if stat.S_ISLNK(mode) else high << 32 | low
    return Inode(number, size, metadata, flags, body)


def _has(body: bytes, at: int) -> bool:
    """Whether an inode is long enough for the four bytes at `at`, behind the first 128."""
    return len(body) >= 132 and at + 4 <= 128 + struct.unpack_from("<H", body, 128)[0] <= len(body)


def _time(body: bytes, seconds_at: int, extra_at: int) -> float:
    """A time: 32 bits of seconds, and two more beside the nanoseconds (§ Inode Timestamps)."""
    seconds: int = struct.unpack_from("<i", body, seconds_at)[0]
    if not _has(body, extra_at):
        return float(seconds)
    extra: int = struct.unpack_from("<I", body, extra_at)[0]
    return float(seconds + ((extra & 3) << 32)) + (extra >> 2) / 1e9
