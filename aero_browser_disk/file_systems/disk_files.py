"""The files of a disk by path: `/` has its volumes, `/1/` is the root of the first partition."""

from __future__ import annotations

import stat
from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, dataclass

from ..disk import Disk
from ..errors import (
    DamagedFileSystemError,
    InvalidOptionError,
    NoSuchFileError,
    UnknownFileSystemError,
    UnreadableFileError,
)
from ..platform.opening import opening
from .async_path import AsyncFilePath
from .file_io import MAX_READ_AT_ONCE, AsyncImageFile
from .known_extents import KnownExtents, Location
from .partitions import Partition, read_partitions
from .recognition import begins_file_system, is_disc, open_file_system
from .tree import (
    LARGEST_FILE,
    MAX_ENTRIES,
    Content,
    Entry,
    Extent,
    FileSystem,
    Listing,
    Metadata,
    Node,
)
from .volume import Volume

NOT_A_FILE = "it is not a file"
"""The reason of an `UnreadableFileError` for a folder or a volume."""
_WHOLE_DISK = 0
_MAX_LINKS = 40
_MAX_STEPS = 256
_FILES_KEPT = 64


@dataclass(frozen=True, slots=True)
class _Found:
    """What a path leads to, its links followed."""

    path: str
    node: Node
    file_system: FileSystem


class DiskFiles:
    """What is on a disk. Paths have `/` between names; the first name is a volume's number.

    Partitions have the numbers that Linux gives them. A disk without a partition table is volume 1,
    and a disc that also has one is volume 0. A writable disk is read again by each call.

    Names that would not fit in a path or in Unicode are shown, and found, with other characters
    instead. Besides what the disk raises, every method raises `NoSuchFileError`,
    `UnknownFileSystemError` and `DamagedFileSystemError`.
    """

    def __init__(self, disk: Disk) -> None:
        self._disk = Volume(disk)
        self._partitions: tuple[Partition, ...] | None = None
        self._file_systems: dict[int, FileSystem] = {}
        self._opened: OrderedDict[str, Content] = OrderedDict()
        self._extents = KnownExtents()

    async def list(self, path: str) -> Listing:
        """What is in a folder, at most `MAX_ENTRIES` of it; of a link, what is where it leads."""
        self._forget_what_may_change()
        parts = _parts(path)
        if not parts:
            return Listing(tuple([await self._volume_entry(p) for p in await self._volumes()]))
        entries: list[Entry] = []
        async for entry in self._children(path):
            if len(entries) >= MAX_ENTRIES:
                return Listing(tuple(entries), complete=False)
            entries.append(entry)
        return Listing(tuple(entries))

    async def scan(self, path: str) -> AsyncIterator[Entry]:
        """What is in a folder, one after another, however much there is."""
        if not _parts(path):
            for entry in (await self.list(path)).entries:
                yield entry
            return
        self._forget_what_may_change()
        async for entry in self._children(path):
            yield entry

    def path(self, path: str = "/") -> AsyncFilePath:
        """A path to walk from, as `pathlib` does."""
        return AsyncFilePath(self, path)

    async def resolve(self, path: str) -> str:
        """The path of what a path leads to, without links and `..`."""
        self._forget_what_may_change()
        parts = _parts(path)
        if len(parts) < 2:
            return "/" + "".join([str((await self._partition(part)).number) for part in parts])
        return (await self._find(path)).path

    async def stat(self, path: str, *, follow_links: bool = True) -> Entry:
        """What a path leads to. Without `follow_links` a link at its end is the entry itself."""
        self._forget_what_may_change()
        parts = _parts(path)
        if not parts:
            return Entry("", "folder", mode=stat.S_IFDIR | 0o555)
        if len(parts) == 1:
            return await self._volume_entry(await self._partition(parts[0]))
        return _entry((await self._find(path, follow_last=follow_links)).node)

    @opening
    async def open(self, path: str) -> AsyncImageFile:
        """A file to read and seek in, as `await files.open(…)` or `async with files.open(…)`.

        `aero_browser_disk.sync` has files for code that does not await. Raises
        `UnreadableFileError`.
        """
        self._forget_what_may_change()
        return AsyncImageFile(self, path, (await self._open(path)).size)

    async def read(self, path: str, offset: int, length: int) -> bytes:
        """The `length` bytes at `offset` of a file; fewer where it ends, none behind its end.

        Raises `UnreadableFileError`, and `InvalidOptionError` for more than `MAX_READ_AT_ONCE`.
        """
        if offset < 0:
            raise InvalidOptionError("offset", offset, "0 or more")
        if not 0 <= length <= MAX_READ_AT_ONCE:
            raise InvalidOptionError("length", length, f"from 0 to {MAX_READ_AT_ONCE}")
        self._forget_what_may_change()
        content = await self._open(path)
        length = max(0, min(length, content.size - offset))
        return await content.read(offset, length) if length else b""

    async def read_all(self, path: str, chunk_length: int = 2 << 20) -> AsyncIterator[bytes]:
        """The bytes of a file, from the first to the last, at most `chunk_length` at a time."""
        at = 0
        while data := await self.read(path, at, chunk_length):
            yield data
            at += len(data)

    async def extents(self, path: str) -> Sequence[Extent]:
        """Where the bytes of a file are on the disk, in order. Raises `UnreadableFileError`."""
        self._forget_what_may_change()
        content = await self._open(path)
        found = await content.extents(0, content.size) if content.size else []
        self._extents.note(path, found)
        return found

    async def where(self, offset: int) -> Location:
        """What is known, without searching, of what lies at a byte of the disk.

        The volume always; the file when it was in a listing or was read, and its extents are known.
        """
        for partition in await self._volumes():
            if partition.offset <= offset < partition.offset + partition.length:
                known = self._file_systems.get(partition.number)
                kind = known.kind if known else partition.type
                path = self._extents.path_at(offset)
                return Location(str(partition.number), kind, path)
        return Location(None, "", None)

    async def _children(self, path: str) -> AsyncIterator[Entry]:
        found = await self._find(path)
        if found.node.kind != "folder":
            raise UnreadableFileError(path, "it is not a folder")
        async for node in found.file_system.children(found.node):
            self._extents.note(f"{found.path}/{node.name}", node.extents)
            yield _entry(node)

    # ── volumes ──────────────────────────────────────────────────────────────────────────────────

    async def _volumes(self) -> tuple[Partition, ...]:
        if self._partitions is None:
            self._partitions = await self._find_volumes()
        return self._partitions

    async def _find_volumes(self) -> tuple[Partition, ...]:
        disk = self._disk
        if begins_file_system(await disk.read_up_to(0, 512)):
            return (Partition(1, 0, disk.length, "the whole disk"),)
        partitions = tuple(await read_partitions(disk))
        if not partitions:
            return (Partition(1, 0, disk.length, "the whole disk"),)
        if await is_disc(disk):
            return (Partition(_WHOLE_DISK, 0, disk.length, "the whole disk"), *partitions)
        return partitions

    async def _partition(self, name: str) -> Partition:
        for partition in await self._volumes():
            if str(partition.number) == name:
                return partition
        raise NoSuchFileError(f"/{name}")

    async def _volume_entry(self, partition: Partition) -> Entry:
        """A volume with what it holds; why it cannot be read is no error here."""
        label, kind, cannot = partition.label, partition.type, None
        metadata = Metadata()
        try:
            file_system = await self._file_system(partition)
            label, kind = file_system.label or label, file_system.kind
            metadata = (await file_system.describe(file_system.root)).metadata
        except UnknownFileSystemError as error:
            kind, cannot = error.found, str(error)
        except DamagedFileSystemError as error:
            cannot = str(error)
        return Entry(
            str(partition.number),
            "volume",
            partition.length,
            label=label,
            description=kind,
            offset=partition.offset,
            cannot=cannot,
            **asdict(metadata),
        )

    async def _file_system(self, partition: Partition) -> FileSystem:
        found = self._file_systems.get(partition.number)
        if found is None:
            volume = Volume(self._disk.disk, partition.offset, partition.length)
            found = self._file_systems[partition.number] = await open_file_system(volume)
        return found

    # ── paths ────────────────────────────────────────────────────────────────────────────────────

    async def _open(self, path: str) -> Content:
        kept = self._opened.get(path)
        if kept is not None:
            self._opened.move_to_end(path)
            return kept
        found = await self._find(path)
        if found.node.kind != "file":
            raise UnreadableFileError(path, NOT_A_FILE)
        content = await _content(found, path)
        self._opened[path] = content
        if len(self._opened) > _FILES_KEPT:
            self._opened.popitem(last=False)
        return content

    async def _find(self, path: str, *, follow_last: bool = True) -> _Found:
        """Walks down a path; links are followed, at most so many of them.

        `follow_last` says whether one at the end of the path is too.
        """
        volume, *steps = _parts(path)
        file_system = await self._file_system(await self._partition(volume))
        walked = [_Found(f"/{volume}", file_system.root, file_system)]
        links = 0
        steps.reverse()
        while steps:
            step = steps.pop()
            if step == ".":
                continue
            if step == "..":
                walked = walked[:-1] or walked
                continue
            node = await _child(walked[-1], step, path)
            if node.kind != "link" or not (steps or follow_last):
                walked.append(_Found(f"{walked[-1].path}/{node.name}", node, file_system))
                continue
            links += 1
            target = (node.target or "").split("/")
            if links > _MAX_LINKS or len(target) + len(steps) > _MAX_STEPS:
                raise UnreadableFileError(path, "its symbolic links run in a circle")
            if not node.target:
                raise UnreadableFileError(path, "a symbolic link in it is empty")
            if not target[0] or target[0].endswith(":"):  # from the root, or a drive's
                walked, target = walked[:1], target[1:]
            steps += [part for part in reversed(target) if part]
        return walked[-1]

    def _forget_what_may_change(self) -> None:
        if not self._disk.disk.info.read_only:
            self._partitions = None
            self._file_systems.clear()
            self._opened.clear()


async def _child(folder: _Found, name: str, path: str) -> Node:
    if folder.node.kind != "folder":
        raise NoSuchFileError(path)
    node = await folder.file_system.find(folder.node, name)
    if node is None:
        raise NoSuchFileError(path)
    return await folder.file_system.describe(node)


async def _content(found: _Found, path: str) -> Content:
    try:
        content = await found.file_system.content(found.node)
    except UnreadableFileError as error:
        raise UnreadableFileError(path, error.reason) from error
    if content.size > LARGEST_FILE:
        raise DamagedFileSystemError(f"a file is said to have {content.size:,} bytes")
    return content


def _entry(node: Node) -> Entry:
    size = node.size if (node.size or 0) <= LARGEST_FILE else None
    return Entry(node.name, node.kind, size, target=node.target, **asdict(node.metadata))


def _parts(path: str) -> list[str]:
    parts = [part for part in path.split("/") if part]
    if not path.startswith("/") or len(parts) > _MAX_STEPS:
        raise InvalidOptionError("path", path[:200], "a path that begins with /")
    return parts
