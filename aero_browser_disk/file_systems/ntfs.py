"""NTFS (the structures as the Linux kernel's fs/ntfs3 documents them)."""

from __future__ import annotations

import struct
from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

from ..errors import DamagedFileSystemError, UnreadableFileError
from .lznt1 import decompress
from .ntfs_records import (
    ATTRIBUTE_LIST,
    BITMAP,
    COMPRESSED,
    DATA,
    ENCRYPTED,
    INDEX_ALLOCATION,
    INDEX_ROOT,
    REPARSE_POINT,
    STANDARD,
    VOLUME_NAME,
    Attribute,
    FileName,
    IndexEntry,
    attributes,
    file_name,
    index_entries,
    mended,
    metadata_of,
    run_extents,
)
from .tree import (
    Content,
    Extent,
    InlineContent,
    Kind,
    Metadata,
    Node,
    StoredContent,
    check_folder_length,
    find_folded,
    read_extents,
    shown_name,
    within,
)
from .volume import Volume

_MFT, _VOLUME, _ROOT, _FIRST_USER_RECORD = 0, 3, 5, 16
_INDEX = "$I30"
_IN_USE = 0x01
_DOS_NAME = 2
_FOLDER, _REPARSE = 0x10000000, 0x400
_SYMBOLIC_LINK, _MOUNT_POINT = 0xA000000C, 0xA0000003
_PLAIN_TAGS = frozenset({0, 0x80000014})  # none, and NFS's: the usual attribute has the data
_MAX_RECORDS = 4096  # that one file is spread over
_LONGEST_VALUE = 1 << 20  # of an attribute list or a reparse point
_MAX_BUFFERS = 1 << 16  # of one folder's index
_MAX_BUFFERS_FOR_A_NAME = 256  # that a search looks at: some for each level of the tree
_RECORDS_KEPT = 256


class NtfsFileSystem:
    """An NTFS volume. Changes that are only in its log are not seen."""

    kind = "NTFS"

    def __init__(self, volume: Volume, cluster_size: int, record_size: int, clusters: int) -> None:
        self.label = ""
        self.root = Node("", "folder", None, Metadata(), (_ROOT, 0))
        self._volume = volume
        self._cluster_size = cluster_size
        self._record_size = record_size
        self._clusters = clusters
        self._table: Content = InlineContent(b"")
        self._records: OrderedDict[int, list[Attribute]] = OrderedDict()

    @classmethod
    async def open(cls, volume: Volume, start: bytes) -> NtfsFileSystem | None:
        """The file system whose volume begins with `start`; None when it is no NTFS."""
        if start[3:11] != b"NTFS    " or len(start) < 512:
            return None
        sector, per_cluster = struct.unpack_from("<HB", start, 11)
        if per_cluster > 0x80:
            per_cluster = 1 << 256 - per_cluster
        cluster_size = sector * per_cluster
        sectors, table = struct.unpack_from("<QQ", start, 40)
        (per_record,) = struct.unpack_from("<b", start, 64)
        record_size = 1 << -per_record if per_record < 0 else per_record * cluster_size
        sizes = ((sector, 512, 4096), (cluster_size, 512, 2 << 20), (record_size, 512, 1 << 16))
        if any(not low <= size <= high or size & (size - 1) for size, low, high in sizes):
            raise DamagedFileSystemError("its clusters or records have an impossible size")
        found = cls(volume, cluster_size, record_size, max(1, sectors * sector // cluster_size))
        await found._open_table(table * cluster_size)
        found.label = await found._read_label()
        return found

    async def children(self, folder: Node) -> AsyncIterator[Node]:
        root, allocation, bitmap = await self._index_of(folder)
        for entry in index_entries(root[16:]):
            if node := _node(entry):
                yield node
        size = struct.unpack_from("<I", root, 8)[0]
        if allocation is None:
            return
        in_use = await bitmap.read(0, min(bitmap.size, _MAX_BUFFERS // 8))
        for number in range(min(allocation.size // size, len(in_use) * 8)):
            if in_use[number // 8] >> number % 8 & 1:
                for entry in index_entries(await self._buffer(allocation, number * size, size)):
                    if node := _node(entry):
                        yield node
        check_folder_length(allocation.size, len(in_use) * 8 * size)

    async def find(self, folder: Node, name: str) -> Node | None:
        """Goes down the tree of names, which is sorted by their capital letters.

        Names that differ in case only follow one another in that order, in one node or in several.
        """
        root, allocation, _ = await self._index_of(folder)
        size = struct.unpack_from("<I", root, 8)[0]
        unit = self._cluster_size if self._cluster_size <= size else 512
        wanted, folded = _collation_key(name), None
        # A stack of what is left to look at: nodes of the tree and nodes of files.
        ahead: list[int | Node] = _candidates(index_entries(root[16:]), wanted)
        buffers = 0
        while ahead:
            at = ahead.pop()
            if isinstance(at, Node):
                if at.name == name:
                    return at
                folded = folded or at
            elif allocation is not None:
                buffers += 1
                if buffers > _MAX_BUFFERS_FOR_A_NAME:
                    raise DamagedFileSystemError("a folder's index runs in a circle")
                entries = index_entries(await self._buffer(allocation, at * unit, size))
                ahead += _candidates(entries, wanted)
        # Characters may have other capitals here than they have in Python.
        return folded or await find_folded(self.children(folder), name)

    async def content(self, node: Node) -> Content:
        record, tag = _key_of(node)
        if tag not in _PLAIN_TAGS:
            reason = f"its bytes are kept in a way that is not known here (reparse tag {tag:#x})"
            raise UnreadableFileError(node.name, reason)
        parts = await self._parts(record, DATA, "")
        if not parts:
            return InlineContent(b"")
        if parts[0].flags & ENCRYPTED:
            raise UnreadableFileError(node.name, "it is encrypted")
        return self._value(parts)

    async def describe(self, node: Node) -> Node:
        """The node with the size and times that count and, of a link, where it leads.

        A folder's index is only updated for the name through which a file was changed.
        """
        record, tag = _key_of(node)
        node = replace(node, metadata=await self._metadata(record, node))
        if node.kind == "link":
            (point,) = (await self._parts(record, REPARSE_POINT, ""))[:1] or (None,)
            value = await self._value([point]).read(0, point.size) if point else b""
            return replace(node, size=None, target=_target(value))
        if node.kind == "file" and tag in _PLAIN_TAGS:
            parts = await self._parts(record, DATA, "")
            return replace(node, size=parts[0].size if parts else 0)
        return node

    async def _metadata(self, record: int, node: Node) -> Metadata:
        for attribute in await self._own_attributes(record):
            value = attribute.value
            if attribute.type == STANDARD and value is not None and len(value) >= 36:
                return metadata_of(node.kind, value, struct.unpack_from("<I", value, 32)[0])
        return node.metadata

    # ── folders ──────────────────────────────────────────────────────────────────────────────────

    async def _index_of(self, folder: Node) -> tuple[bytes, Content | None, Content]:
        """The root of a folder's index, the buffers below it, and which of them are in use."""
        record, _ = _key_of(folder)
        roots = await self._parts(record, INDEX_ROOT, _INDEX)
        if not roots or roots[0].value is None or len(roots[0].value) < 32:
            raise DamagedFileSystemError("a folder has no index")
        size = struct.unpack_from("<I", roots[0].value, 8)[0]
        if not 512 <= size <= 1 << 16 or size & (size - 1):
            raise DamagedFileSystemError("a folder's index has an impossible shape")
        buffers = await self._parts(record, INDEX_ALLOCATION, _INDEX)
        maps = await self._parts(record, BITMAP, _INDEX)
        allocation = self._value(buffers) if buffers else None
        return roots[0].value, allocation, self._value(maps) if maps else InlineContent(b"")

    async def _buffer(self, allocation: Content, at: int, size: int) -> bytes:
        if at + size > allocation.size:
            raise DamagedFileSystemError("a folder's index leads out of itself")
        return mended(await allocation.read(at, size), b"INDX")[24:]

    # ── records ──────────────────────────────────────────────────────────────────────────────────

    async def _open_table(self, offset: int) -> None:
        """Opens the table of records by its first one, which says where the table is.

        Parts of the table that other records list are in parts that were listed before.
        """
        first = attributes(mended(await self._volume.read(offset, self._record_size), b"FILE"))
        parts = [part for part in first if part.type == DATA and not part.name]
        if not parts:
            raise DamagedFileSystemError("its table of records is missing")
        self._table = self._value(parts)
        for number in await self._listed_records(first, DATA, ""):
            if number != _MFT:
                more = await self._own_attributes(number)
                parts += [part for part in more if part.type == DATA and not part.name]
                parts.sort(key=lambda part: part.first_cluster)
                self._table = self._value(parts)

    async def _read_label(self) -> str:
        for attribute in await self._own_attributes(_VOLUME):
            if attribute.type == VOLUME_NAME and attribute.value:
                return attribute.value.decode("utf-16-le", "replace")
        return ""

    async def _own_attributes(self, number: int) -> list[Attribute]:
        """The attributes in one record."""
        kept = self._records.get(number)
        if kept is None:
            at = number * self._record_size
            if at + self._record_size > self._table.size:
                raise DamagedFileSystemError(
                    f"an entry names record {number}, which does not exist"
                )
            record = mended(await self._table.read(at, self._record_size), b"FILE")
            if not struct.unpack_from("<H", record, 22)[0] & _IN_USE:
                raise DamagedFileSystemError(f"record {number} is of a file that was deleted")
            kept = self._records[number] = attributes(record)
            if len(self._records) > _RECORDS_KEPT:
                self._records.popitem(last=False)
        return kept

    async def _parts(self, number: int, kind: int, name: str) -> list[Attribute]:
        """All parts of one attribute of a file, in order, wherever they are."""
        own = await self._own_attributes(number)
        found = [part for part in own if (part.type, part.name) == (kind, name)]
        for other in await self._listed_records(own, kind, name):
            if other != number:
                more = await self._own_attributes(other)
                found += [part for part in more if (part.type, part.name) == (kind, name)]
        return sorted(found, key=lambda part: part.first_cluster)

    async def _listed_records(self, own: list[Attribute], kind: int, name: str) -> list[int]:
        """The records with parts of an attribute, by the file's attribute list if there is one."""
        lists = [attribute for attribute in own if attribute.type == ATTRIBUTE_LIST]
        if not lists:
            return []
        if lists[0].size > _LONGEST_VALUE:
            raise DamagedFileSystemError("a file has more attributes than any file")
        listed = await self._value(lists).read(0, lists[0].size)
        records: dict[int, None] = {}
        at = 0
        while at + 26 <= len(listed):
            found, length, name_length, name_at = struct.unpack_from("<IHBB", listed, at)
            if length < 26:
                break
            start = at + name_at
            its_name = listed[start : start + 2 * name_length].decode("utf-16-le", "replace")
            if (found, its_name) == (kind, name):
                (reference,) = struct.unpack_from("<Q", listed, at + 16)
                records[reference & 0xFFFFFFFFFFFF] = None
            at += length
        if len(records) > _MAX_RECORDS:
            raise DamagedFileSystemError("a file is spread over more records than any file")
        return list(records)

    def _value(self, parts: list[Attribute]) -> Content:
        """The bytes of an attribute."""
        first = parts[0]
        if first.value is not None:
            return InlineContent(first.value)
        extents = run_extents(parts, self._cluster_size, self._volume.offset, self._clusters)
        if first.flags & COMPRESSED and first.unit_bits:
            unit = self._cluster_size << first.unit_bits
            return CompressedContent(self._volume, first.size, first.valid, extents, unit)
        return StoredContent(self._volume, first.size, extents, first.valid)


class CompressedContent:
    """The bytes of a compressed file: units whose clusters are fewer than they would be."""

    def __init__(
        self, volume: Volume, size: int, valid: int, extents: list[Extent], unit: int
    ) -> None:
        self.size = size
        self._volume = volume
        self._valid = valid
        self._extents = extents
        self._unit = unit

    async def extents(self, offset: int, length: int) -> Sequence[Extent]:
        return within(self._extents, offset, length)

    async def read(self, offset: int, length: int) -> bytes:
        start = offset - offset % self._unit
        stop = min(offset + length, self._valid)
        data = b"".join([await self._read_unit(at) for at in range(start, stop, self._unit)])
        return data[offset - start : max(offset, stop) - start].ljust(length, b"\0")

    async def _read_unit(self, at: int) -> bytes:
        extents = within(self._extents, at, self._unit)
        stored = 0
        for extent in extents:
            if extent.disk_offset is None:
                break
            stored = min(extent.offset + extent.length, at + self._unit) - at
        if not stored:
            return bytes(self._unit)
        data = await read_extents(self._volume, extents, at, stored)
        return data if stored == self._unit else decompress(data, self._unit)


def _node(entry: IndexEntry) -> Node | None:
    """The node of an index entry; None for what is not shown: the volume's own, and DOS names."""
    if entry.is_last or entry.record < _FIRST_USER_RECORD:
        return None
    name = file_name(entry.key)
    if name.namespace == _DOS_NAME:
        return None
    tag = name.reparse_tag if name.flags & _REPARSE else 0
    kind = _kind(name, tag)
    size = name.size if kind == "file" else None
    metadata = metadata_of(kind, name.times, name.flags)
    return Node(shown_name(name.name), kind, size, metadata, (entry.record, tag))


def _kind(name: FileName, tag: int) -> Kind:
    if tag in (_SYMBOLIC_LINK, _MOUNT_POINT):
        return "link"
    return "folder" if name.flags & _FOLDER else "file"


def _key_of(node: Node) -> tuple[int, int]:
    """The number of a node's record, and its reparse tag."""
    assert isinstance(node.key, tuple)
    record, tag = node.key
    return record, tag


def _candidates(entries: list[IndexEntry], wanted: list[str]) -> list[int | Node]:
    """Where a name may be among and below the entries of an index node, the first one last.

    Nodes of the tree are given by their cluster; of files, those whose names collate as `wanted`.
    """
    found: list[int | Node] = []
    for entry in entries:
        key = [] if entry.is_last else _collation_key(file_name(entry.key).name)
        if not entry.is_last and key < wanted:
            continue
        if entry.child is not None:
            found.append(entry.child)
        if entry.is_last or key > wanted:
            break
        if node := _node(entry):
            found.append(node)
    return found[::-1]


def _collation_key(name: str) -> list[str]:
    """What names are sorted by: each character's capital, where that is one character."""
    return [upper if len(upper := letter.upper()) == 1 else letter for letter in name]


def _target(reparse_point: bytes) -> str:
    """Where a link leads: the name that is meant to be shown, else the one that is used."""
    if len(reparse_point) < 20:
        return ""
    tag = struct.unpack_from("<I", reparse_point)[0]
    used_at, used, shown_at, shown = struct.unpack_from("<4H", reparse_point, 8)
    names = reparse_point[20 if tag == _SYMBOLIC_LINK else 16 :]
    raw = names[shown_at : shown_at + shown] or names[used_at : used_at + used]
    return raw.decode("utf-16-le", "replace").removeprefix("\\??\\").replace("\\", "/")
