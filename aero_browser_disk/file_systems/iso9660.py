"""ISO 9660 with Rock Ridge and Joliet (ECMA-119; IEEE P1282; Joliet 1995)."""

from __future__ import annotations

import calendar
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from typing import Literal

from ..errors import DamagedFileSystemError, UnreadableFileError
from .rock_ridge import RockRidge, starts_rock_ridge
from .tree import (
    Content,
    Extent,
    Kind,
    Metadata,
    Node,
    StoredContent,
    check_folder_length,
    find_folded,
    plain_mode,
    shown_name,
)
from .volume import Volume

SECTOR = 2048
_FIRST_DESCRIPTOR = 16
_MAX_DESCRIPTORS = 64
_MAX_FOLDER_BYTES = 32 << 20
_CHUNK = 64 << 10
_MAX_SECTIONS = 4096  # of one file: each has up to 4 GiB
_PRIMARY, _SUPPLEMENTARY, _TERMINATOR = 1, 2, 255
_UDF = (b"NSR02", b"NSR03")
_IDENTIFIERS = (b"CD001", b"BEA01", b"BOOT2", b"TEA01", *_UDF)
_JOLIET = (b"%/@", b"%/C", b"%/E")
_FOLDER, _GOES_ON = 0x02, 0x80

Names = Literal["plain", "Joliet", "Rock Ridge"]


@dataclass(frozen=True, slots=True)
class _Record:
    """A directory record. `sections` are the (offset, length) of its bytes in the volume."""

    name: bytes
    flags: int
    modified: float | None
    system_use: bytes
    sections: tuple[tuple[int, int], ...]
    interleaved: bool

    @property
    def size(self) -> int:
        return sum(length for _, length in self.sections)


@dataclass(frozen=True, slots=True)
class _Key:
    """A node's key: where its bytes are, and why they cannot be read, if so."""

    sections: tuple[tuple[int, int], ...] = field(default=())
    cannot: str = ""


class Iso9660FileSystem:
    """A disc. Of the names that it has, Rock Ridge's are shown, else Joliet's, else its own."""

    def __init__(
        self,
        volume: Volume,
        block_size: int,
        root: _Record,
        names: Names,
        skipped: int,
        label: str,
        metadata: Metadata,
        has_udf: bool = False,
    ) -> None:
        kind = "ISO 9660" if names == "plain" else f"ISO 9660 ({names})"
        self.kind = f"UDF, of which the {kind} part is shown" if has_udf else kind
        self.label = label
        self.root = Node("", "folder", None, metadata, _Key(root.sections))
        self._volume = volume
        self._block_size = block_size
        self._names = names
        self._skipped = skipped

    @classmethod
    async def open(cls, volume: Volume) -> Iso9660FileSystem | None:
        """The file system of a volume; None when it is no disc."""
        found = await _read_descriptors(volume)
        if found is None:
            return None
        primary, joliet = found.primary, found.joliet
        size = struct.unpack_from("<H", primary, 128)[0]
        if size not in (512, 1024, 2048):
            raise DamagedFileSystemError(f"its blocks are said to have {size} bytes")
        label = primary[40:72].decode("latin-1").strip()
        root = _root(primary, size)
        system_use = await _first_system_use(volume, root)
        skipped = starts_rock_ridge(system_use)
        if skipped is not None:
            rock = await RockRidge.read(volume, system_use[skipped:])
            metadata = _metadata("folder", root, rock)
            return cls(volume, size, root, "Rock Ridge", skipped, label, metadata, found.has_udf)
        names: Names = "plain"
        if joliet is not None:
            names, root = "Joliet", _root(joliet, size)
            label = joliet[40:72].decode("utf-16-be", "replace").strip()
        return cls(volume, size, root, names, 0, label, _metadata("folder", root), found.has_udf)

    async def children(self, folder: Node) -> AsyncIterator[Node]:
        assert isinstance(folder.key, _Key)
        sections: tuple[tuple[int, int], ...] = ()
        async for record in self._records(folder.key.sections):
            if record.name in (b"\0", b"\1"):
                continue
            sections += record.sections
            if len(sections) > _MAX_SECTIONS:
                raise DamagedFileSystemError("a file has more sections than a file can have")
            if record.flags & _GOES_ON:
                continue
            node = await self._node(record, sections)
            sections = ()
            if node is not None:
                yield node

    async def find(self, folder: Node, name: str) -> Node | None:
        return await find_folded(self.children(folder), name)

    async def describe(self, node: Node) -> Node:
        return node

    async def content(self, node: Node) -> Content:
        assert isinstance(node.key, _Key)
        if node.key.cannot:
            raise UnreadableFileError(node.name, node.key.cannot)
        size = sum(length for _, length in node.key.sections)
        return StoredContent(self._volume, size, self._extents(node.key.sections))

    def _extents(self, sections: tuple[tuple[int, int], ...]) -> list[Extent]:
        extents = []
        at = 0
        for offset, length in sections:
            extents.append(Extent(at, length, self._volume.offset + offset))
            at += length
        return extents

    async def _records(self, sections: tuple[tuple[int, int], ...]) -> AsyncIterator[_Record]:
        for offset, length in sections:
            stop = min(length, _MAX_FOLDER_BYTES)
            for start in range(0, stop, _CHUNK):
                data = await self._volume.read(offset + start, min(_CHUNK, stop - start))
                for at in range(0, len(data), SECTOR):
                    for record in _sector_records(data[at : at + SECTOR], self._block_size):
                        yield record
            check_folder_length(length, _MAX_FOLDER_BYTES)

    async def _node(self, record: _Record, sections: tuple[tuple[int, int], ...]) -> Node | None:
        kind: Kind = "folder" if record.flags & _FOLDER else "file"
        name, target, cannot, rock = _own_name(record.name), None, "", None
        if record.interleaved:
            cannot = "it is interleaved with another file"
        if self._names == "Joliet":
            name = record.name.decode("utf-16-be", "replace").removesuffix(";1")
        elif self._names == "Rock Ridge":
            rock = await RockRidge.read(self._volume, record.system_use[self._skipped :])
            if rock.is_relocated:
                return None
            name = rock.name or name
            kind = rock.kind or kind
            target = rock.target
            cannot = cannot or rock.cannot
            if rock.child is not None:  # a folder that was moved here for being too deep
                kind, (sections, rock) = "folder", await self._moved(rock.child)
        size = sum(length for _, length in sections) if kind == "file" else None
        key = _Key(sections, cannot)
        extents = tuple(self._extents(sections)) if kind == "file" else ()
        metadata = _metadata(kind, record, rock)
        return Node(shown_name(name), kind, size, metadata, key, target, extents)

    async def _moved(self, block: int) -> tuple[tuple[tuple[int, int], ...], RockRidge]:
        """Where a folder that lies elsewhere is, and its fields: its first record has both."""
        offset = block * self._block_size
        for record in _sector_records(await self._volume.read(offset, SECTOR), self._block_size):
            rock = await RockRidge.read(self._volume, record.system_use[self._skipped :])
            return ((offset, record.size),), rock
        raise DamagedFileSystemError("a folder was moved to where there is none")


@dataclass(frozen=True, slots=True)
class _Descriptors:
    """A disc's volume descriptors, and whether the disc has UDF too."""

    primary: bytes
    joliet: bytes | None
    has_udf: bool


async def _read_descriptors(volume: Volume) -> _Descriptors | None:
    """What the volume recognition sequence says (ECMA-119 §6.7.1, ECMA-167 2/8.3).

    UDF's descriptors follow those of ISO 9660. None without a primary descriptor.
    """
    primary = joliet = None
    has_udf = is_terminated = False
    for number in range(_FIRST_DESCRIPTOR, _FIRST_DESCRIPTOR + _MAX_DESCRIPTORS):
        descriptor = await volume.read_up_to(number * SECTOR, SECTOR)
        if len(descriptor) < SECTOR or descriptor[1:6] not in _IDENTIFIERS:
            break
        if descriptor[1:6] != b"CD001":
            has_udf = has_udf or descriptor[1:6] in _UDF
        elif descriptor[0] == _TERMINATOR:
            is_terminated = True
        elif descriptor[0] == _PRIMARY and primary is None and not is_terminated:
            primary = descriptor
        elif descriptor[0] == _SUPPLEMENTARY and descriptor[88:91] in _JOLIET and not is_terminated:
            joliet = descriptor
    return _Descriptors(primary, joliet, has_udf) if primary is not None else None


def _metadata(kind: Kind, record: _Record, rock: RockRidge | None = None) -> Metadata:
    """What Rock Ridge says, and the record where it does not."""
    found = Metadata() if rock is None else rock.metadata
    modified = record.modified if found.modified is None else found.modified
    mode = plain_mode(kind, is_read_only=True) if found.mode is None else found.mode
    return replace(found, modified=modified, mode=mode)


def _root(descriptor: bytes, block_size: int) -> _Record:
    return _record(descriptor[156:190], block_size)


async def _first_system_use(volume: Volume, root: _Record) -> bytes:
    """What the root's record of itself has for the system's use."""
    (offset, _), *_ = root.sections
    for record in _sector_records(await volume.read_up_to(offset, SECTOR), SECTOR):
        return record.system_use
    return b""


def _sector_records(sector: bytes, block_size: int) -> list[_Record]:
    """The records of a sector; none crosses its end (ECMA-119, §6.8.1.1)."""
    found = []
    at = 0
    while at < len(sector) and sector[at]:
        length = sector[at]
        if length < 34 or at + length > len(sector):
            raise DamagedFileSystemError("a folder has an entry of an impossible length")
        found.append(_record(sector[at : at + length], block_size))
        at += length
    return found


def _record(data: bytes, block_size: int) -> _Record:
    block, size = struct.unpack_from("<I4xI", data, 2)
    length = data[32]
    if 33 + length > len(data):
        raise DamagedFileSystemError("a folder has an entry with an impossible name")
    return _Record(
        name=data[33 : 33 + length],
        flags=data[25],
        modified=_time(data[18:25]),
        system_use=data[33 + length + (1 - length % 2) :],
        sections=(((block + data[1]) * block_size, size),),
        interleaved=bool(data[26] or data[27]),
    )


def _own_name(raw: bytes) -> str:
    """A plain name, without its version, in small letters as every system shows it."""
    name = raw.decode("latin-1").partition(";")[0].removesuffix(".")
    return name.lower()


def _time(stamp: bytes) -> float | None:
    """Seconds since the epoch of a record's seven bytes (§9.1.5)."""
    year, month, day, hour, minute, second, quarters = struct.unpack("<6Bb", stamp)
    if not 1 <= month <= 12 or not 1 <= day <= 31:
        return None
    local = calendar.timegm((1900 + year, month, day, hour, minute, second))
    return float(local - quarters * 900)
