"""The interface of every file system: nodes in folders, and contents made of extents."""

from __future__ import annotations

import stat
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from ..errors import DamagedFileSystemError
from .volume import Volume

Kind = Literal["volume", "folder", "file", "link", "other"]

MAX_ENTRIES = 100_000
"""Entries of one folder that are listed."""
MAX_EXTENTS = 1 << 18
"""Extents of one file that are kept in memory."""
LARGEST_FILE = (1 << 53) - 1
"""Bytes of a file: no real one is larger, and up to here JavaScript's numbers are exact too."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of a listing.

    `size` is in bytes; times are in seconds since the epoch; None where it is not known. File
    systems without time zones (FAT) are taken to be in UTC. `target` is where a link leads. A
    volume has a `label`, a `description` for a person, and says why it `cannot` be read, if so;
    its times, mode and owner are those of its root folder.
    """

    name: str
    kind: Kind
    size: int | None = None
    modified: float | None = None
    target: str | None = None
    label: str = ""
    description: str = ""
    offset: int | None = None
    """Where a volume begins on the disk, in bytes."""
    cannot: str | None = None
    accessed: float | None = None
    changed: float | None = None
    """When its metadata changed: `st_ctime` of Unix."""
    created: float | None = None
    mode: int | None = None
    """Type and permissions, as `st_mode` of `os.stat`; made up from the attributes on FAT, exFAT
    and NTFS, and from the type on discs without Rock Ridge."""
    uid: int | None = None
    gid: int | None = None
    """User and group, on file systems of Unix."""


@dataclass(frozen=True, slots=True)
class Metadata:
    """What a file system says of a file besides its bytes, in the units of `Entry`."""

    modified: float | None = None
    accessed: float | None = None
    changed: float | None = None
    created: float | None = None
    mode: int | None = None
    uid: int | None = None
    gid: int | None = None


@dataclass(frozen=True, slots=True)
class Listing:
    """What is in a folder. `complete` is false when there is more than is listed."""

    entries: tuple[Entry, ...]
    complete: bool = True


@dataclass(frozen=True, slots=True)
class Extent:
    """`length` bytes from `offset` of a file are at `disk_offset` of the disk.

    Where that is None they are zeros, or are stored among the file system's own records.
    """

    offset: int
    length: int
    disk_offset: int | None


@dataclass(frozen=True, slots=True)
class Node:
    """A file or folder as its file system knows it.

    `key` is the file system's own. `extents` is where its bytes are, if that took no further read.
    """

    name: str
    kind: Kind
    size: int | None
    metadata: Metadata
    key: object
    target: str | None = None
    extents: tuple[Extent, ...] = ()


class Content(Protocol):
    """The bytes of a file."""

    @property
    def size(self) -> int:
        """How many there are."""

    async def extents(self, offset: int, length: int) -> Sequence[Extent]:
        """Where those bytes are, in order and without gaps; the last may reach further."""

    async def read(self, offset: int, length: int) -> bytes:
        """Those bytes, all inside the file."""


class FileSystem(Protocol):
    """A file system that was recognised and opened."""

    @property
    def kind(self) -> str:
        """Its name, for a person."""

    @property
    def label(self) -> str:
        """The volume's own name; empty without one."""

    @property
    def root(self) -> Node:
        """The folder that all is in."""

    def children(self, folder: Node) -> AsyncIterator[Node]:
        """What is in a folder, in the order of the disk, without `.` and `..`."""

    async def find(self, folder: Node, name: str) -> Node | None:
        """The child of that name.

        Where case does not count, a child whose name differs in case only is found too, but the
        child of exactly that name comes first: other systems may have made both.
        """

    async def describe(self, node: Node) -> Node:
        """The node with all that its folder entry lacks or has unreliably."""

    async def content(self, node: Node) -> Content:
        """The bytes of a file."""


class StoredContent:
    """Bytes that lie in extents which are all known. Past `valid` bytes they are zeros."""

    def __init__(
        self, volume: Volume, size: int, extents: Sequence[Extent], valid: int | None = None
    ) -> None:
        self.size = size
        self._volume = volume
        self._extents = extents
        self._valid = size if valid is None else valid

    async def extents(self, offset: int, length: int) -> Sequence[Extent]:
        return [
            e for e in self._extents if e.offset < offset + length and e.offset + e.length > offset
        ]

    async def read(self, offset: int, length: int) -> bytes:
        valid = max(0, min(length, self._valid - offset))
        found = await self.extents(offset, valid) if valid else []
        return await read_extents(self._volume, found, offset, valid) + bytes(length - valid)


class InlineContent:
    """Bytes that lie among the file system's own records."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    @property
    def size(self) -> int:
        return len(self._data)

    async def extents(self, offset: int, length: int) -> Sequence[Extent]:
        return [Extent(0, self.size, None)] if self._data else []

    async def read(self, offset: int, length: int) -> bytes:
        return self._data[offset : offset + length]


def plain_mode(kind: Kind, *, is_read_only: bool = False) -> int:
    """The mode of a file where the file system has none: as a careful system would show it."""
    if kind == "link":
        return stat.S_IFLNK | 0o777
    if kind == "folder":
        return stat.S_IFDIR | (0o555 if is_read_only else 0o755)
    return stat.S_IFREG | (0o444 if is_read_only else 0o644)


def within(extents: Sequence[Extent], offset: int, length: int) -> list[Extent]:
    """Those extents that the `length` bytes at `offset` touch."""
    stop = offset + length
    return [e for e in extents if e.offset < stop and e.offset + e.length > offset]


async def read_extents(
    volume: Volume, extents: Sequence[Extent], offset: int, length: int
) -> bytes:
    """The `length` bytes at `offset` of a file whose extents there are these.

    Raises `DamagedFileSystemError` when they leave a part of them out.
    """
    data = bytearray(length)
    at = offset
    for extent in extents:
        stop = min(offset + length, extent.offset + extent.length)
        if stop <= at:
            continue
        if extent.offset > at:
            break
        if extent.disk_offset is not None:
            start = extent.disk_offset - volume.offset + at - extent.offset
            data[at - offset : stop - offset] = await volume.read(start, stop - at)
        at = stop
    if at < offset + length:
        raise DamagedFileSystemError(f"a file ends at {at} bytes, before its size is reached")
    return bytes(data)


def joined(extents: list[Extent], extent: Extent) -> None:
    """Appends an extent, as part of the last one where it goes on from there.

    Raises `DamagedFileSystemError` when there are too many to keep.
    """
    if extents:
        last = extents[-1]
        goes_on = (
            extent.disk_offset is None
            if last.disk_offset is None
            else extent.disk_offset == last.disk_offset + last.length
        )
        if goes_on:
            extents[-1] = Extent(last.offset, last.length + extent.length, last.disk_offset)
            return
    if len(extents) >= MAX_EXTENTS:
        raise DamagedFileSystemError(f"a file is in more than {MAX_EXTENTS} extents")
    extents.append(extent)


async def find_folded(children: AsyncIterator[Node], name: str) -> Node | None:
    """The child of exactly that name, else the first whose name differs in case only."""
    folded, wanted = None, name.casefold()
    async for child in children:
        if child.name == name:
            return child
        if folded is None and child.name.casefold() == wanted:
            folded = child
    return folded


def check_folder_length(length: int, limit: int) -> None:
    """Raises `DamagedFileSystemError` for a folder of which only a part was read.

    After that part: what was not found there may be in the rest, so it is not missing.
    """
    if length > limit:
        raise DamagedFileSystemError(f"a folder has {length:,} bytes; {limit:,} are read")


def shown_name(raw: str) -> str:
    """A name as it is shown and looked up: a slash in it, which no path could hold, is replaced."""
    return raw.replace("/", "\u2215").replace("\0", "\ufffd")
