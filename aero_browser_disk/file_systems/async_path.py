"""Paths on a disk for code that awaits: `pathlib`, as far as it reads."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Sequence
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Protocol

from ..errors import NoSuchFileError, UnreadableFileError
from ..platform.opening import Opening
from .file_io import AsyncImageFile
from .pure_path import PureFilePath, pattern_parts
from .tree import Entry

FOLDERS = ("folder", "volume")
_MAGIC = frozenset("*?[")


class WalkedFiles(Protocol):
    """What paths are walked in: `DiskFiles`, which says what these do."""

    async def stat(self, path: str, *, follow_links: bool = True) -> Entry: ...
    async def resolve(self, path: str) -> str: ...
    def scan(self, path: str) -> AsyncIterator[Entry]: ...
    def open(self, path: str) -> Opening[AsyncImageFile]: ...


class AsyncFilePath(PureFilePath[WalkedFiles]):
    """A path on a disk, with the methods of `pathlib.Path` that read. All of them are awaited.

        async for path in files.path("/1").glob("etc/*.conf"):
            print(path, (await path.stat()).size)

    Symbolic links are followed inside their volume. Methods raise what those of `DiskFiles` do.
    """

    __slots__ = ()

    async def stat(self, *, follow_symlinks: bool = True) -> Entry:
        """What the path leads to; raises `NoSuchFileError`."""
        return await self._files.stat(str(self), follow_links=follow_symlinks)

    async def lstat(self) -> Entry:
        """As `stat`, of a symbolic link itself."""
        return await self.stat(follow_symlinks=False)

    async def exists(self, *, follow_symlinks: bool = True) -> bool:
        """Whether there is anything; false for a link that leads nowhere or in a circle."""
        return await self._kind(follow_symlinks=follow_symlinks) is not None

    async def is_file(self) -> bool:
        """Whether it is a file, links followed."""
        return await self._kind() == "file"

    async def is_dir(self) -> bool:
        """Whether it is a folder or a volume, links followed."""
        return await self._kind() in FOLDERS

    async def is_symlink(self) -> bool:
        """Whether it is a symbolic link."""
        return await self._kind(follow_symlinks=False) == "link"

    async def readlink(self) -> PurePosixPath:
        """Where a symbolic link leads; from the root of its volume if that begins with `/`.

        Raises `UnreadableFileError` for what is no link.
        """
        target = (await self.lstat()).target
        if target is None:
            raise UnreadableFileError(str(self), "it is not a symbolic link")
        return PurePosixPath(target)

    async def resolve(self) -> AsyncFilePath:
        """The path without links and `..`; raises `NoSuchFileError`."""
        return self._at(PurePosixPath(await self._files.resolve(str(self))))

    async def iterdir(self) -> AsyncIterator[AsyncFilePath]:
        """What is in the folder, in the order of the disk."""
        async for entry in self._files.scan(str(self)):
            yield self / entry.name

    async def glob(self, pattern: str) -> AsyncIterator[AsyncFilePath]:
        """What fits a relative pattern of names with `*`, `?`, `[…]`, and `**` for any folders.

        As in `pathlib`, `**` does not follow links, and at the end stands for files too. Volumes
        that cannot be read are passed over. Raises `ValueError` for a pattern that is none.
        """
        parts = pattern_parts(pattern)
        is_ambiguous = parts.count("**") > 1
        seen: set[AsyncFilePath] = set()
        async for path in self._matches(parts):
            if path not in seen:
                yield path
            if is_ambiguous:
                seen.add(path)

    def rglob(self, pattern: str) -> AsyncIterator[AsyncFilePath]:
        """What fits a pattern in this folder and all below it."""
        return self.glob(f"**/{pattern}")

    async def walk(self) -> AsyncIterator[tuple[AsyncFilePath, list[str], list[str]]]:
        """This folder and all below it: each with the names of its folders and of all else.

        Names that are taken out of the list of folders are not walked. Links are not followed.
        """
        ahead = [self]
        while ahead:
            folder = ahead.pop()
            folders: list[str] = []
            files: list[str] = []
            async for entry in self._files.scan(str(folder)):
                (folders if _can_be_entered(entry) else files).append(entry.name)
            yield folder, folders, files
            ahead += [folder / name for name in reversed(folders)]

    def open(self) -> Opening[AsyncImageFile]:
        """The file, to be awaited or entered: see `DiskFiles.open`."""
        return self._files.open(str(self))

    async def read_bytes(self) -> bytes:
        """The whole file."""
        async with self.open() as file:
            return await file.read()

    async def read_text(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """The whole file as text, with `\\n` at the end of lines."""
        return io.TextIOWrapper(io.BytesIO(await self.read_bytes()), encoding, errors).read()

    async def _kind(self, *, follow_symlinks: bool = True) -> str | None:
        try:
            return (await self.stat(follow_symlinks=follow_symlinks)).kind
        except (NoSuchFileError, UnreadableFileError):
            return None

    async def _matches(self, parts: Sequence[str]) -> AsyncIterator[AsyncFilePath]:
        first, rest = parts[0], parts[1:]
        if first == "**":
            found = self._below(parts)
        elif not _MAGIC.intersection(first):
            found = self._named(first, rest)
        else:
            found = self._fitting(first, rest)
        async for path in found:
            yield path

    async def _below(self, parts: Sequence[str]) -> AsyncIterator[AsyncFilePath]:
        """What fits behind `**`, here or further below."""
        rest = parts[1:]
        if not await self.is_dir():
            return
        if rest:
            async for path in self._matches(rest):
                yield path
        else:
            yield self
        async for entry in self._files.scan(str(self)):
            if _can_be_entered(entry):
                async for path in (self / entry.name)._matches(parts):
                    yield path
            elif not rest:
                yield self / entry.name

    async def _named(self, name: str, rest: Sequence[str]) -> AsyncIterator[AsyncFilePath]:
        """What fits below a name that needs no search."""
        child = self / name
        if not rest:
            if await child.exists(follow_symlinks=False):
                yield child
        elif await child.is_dir():
            async for path in child._matches(rest):
                yield path

    async def _fitting(self, pattern: str, rest: Sequence[str]) -> AsyncIterator[AsyncFilePath]:
        """What fits below each name that fits."""
        if not await self.is_dir():
            return
        async for entry in self._files.scan(str(self)):
            if not fnmatchcase(entry.name, pattern):
                continue
            child = self / entry.name
            if not rest:
                yield child
            elif _can_be_entered(entry) or (entry.kind == "link" and await child.is_dir()):
                async for path in child._matches(rest):
                    yield path


def _can_be_entered(entry: Entry) -> bool:
    """Whether it is a folder itself, or a volume whose files can be read."""
    return entry.kind in FOLDERS and entry.cannot is None
