"""The files of a disk, and paths to them, for code without asyncio. `sync` exports them."""

from __future__ import annotations

import io
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import PurePosixPath
from typing import Literal, Protocol, TypeVar, overload

from ..disk import Disk
from .async_path import AsyncFilePath
from .disk_files import DiskFiles
from .file_io import BUFFER_SIZE, ImageFile
from .pure_path import PureFilePath
from .tree import Entry, Listing

Result = TypeVar("Result")
_LONGEST_WAIT_S = 0.05  # for more of what an iterator gives


class _Run(Protocol):
    """Waits for what a call makes."""

    def __call__(self, call: Callable[[], Awaitable[Result]], /) -> Result: ...


class Files:
    """The files on a disk. `/` has its volumes, `/1/` is the root of the first partition.

    Every call raises what the same call of `DiskFiles` does.
    """

    def __init__(self, disk: Disk, run: _Run) -> None:
        self._files = DiskFiles(disk)
        self.run = run
        """Waits for what a call makes: see `Disk.run`."""

    @property
    def asynchronous(self) -> DiskFiles:
        """The same for code that awaits, inside `run`."""
        return self._files

    def list(self, path: str) -> Listing:
        """What is in a folder."""
        return self.run(lambda: self._files.list(path))

    def stat(self, path: str, *, follow_links: bool = True) -> Entry:
        """What a path leads to. Without `follow_links` a link at its end is the entry itself."""
        return self.run(lambda: self._files.stat(path, follow_links=follow_links))

    def open(self, path: str, buffering: int = BUFFER_SIZE) -> io.BufferedReader:
        """A file of the image, read-only, with a buffer of so many bytes.

        Raises `NoSuchFileError` and `UnreadableFileError`.
        """
        size = self.run(lambda: self._files.open(path)).size
        raw = ImageFile(self._files, path, size, lambda call: self.run(lambda: call))
        return io.BufferedReader(raw, max(buffering, io.DEFAULT_BUFFER_SIZE))

    def path(self, path: str = "/") -> FilePath:
        """A path to walk from, as `pathlib` does."""
        return FilePath(self, path)


class FilePath(PureFilePath[Files]):
    """A path on a disk, with the methods of `pathlib.Path` that read.

        for path in disk.files.path("/1").glob("etc/*.conf"):
            print(path, path.stat().size)

    Each does what the same method of `AsyncFilePath` does.
    """

    __slots__ = ()

    def stat(self, *, follow_symlinks: bool = True) -> Entry:
        """What the path leads to; raises `NoSuchFileError`."""
        return self._files.run(lambda: self._async.stat(follow_symlinks=follow_symlinks))

    def lstat(self) -> Entry:
        """As `stat`, of a symbolic link itself."""
        return self._files.run(self._async.lstat)

    def exists(self, *, follow_symlinks: bool = True) -> bool:
        """Whether there is anything; false for a link that leads nowhere or in a circle."""
        return self._files.run(lambda: self._async.exists(follow_symlinks=follow_symlinks))

    def is_file(self) -> bool:
        """Whether it is a file, links followed."""
        return self._files.run(self._async.is_file)

    def is_dir(self) -> bool:
        """Whether it is a folder or a volume, links followed."""
        return self._files.run(self._async.is_dir)

    def is_symlink(self) -> bool:
        """Whether it is a symbolic link."""
        return self._files.run(self._async.is_symlink)

    def readlink(self) -> PurePosixPath:
        """Where a symbolic link leads; from the root of its volume if that begins with `/`."""
        return self._files.run(self._async.readlink)

    def resolve(self) -> FilePath:
        """The path without links and `..`; raises `NoSuchFileError`."""
        return self._same(self._files.run(self._async.resolve))

    def iterdir(self) -> Iterator[FilePath]:
        """What is in the folder, in the order of the disk."""
        return map(self._same, _iterated(self._files.run, self._async.iterdir()))

    def glob(self, pattern: str) -> Iterator[FilePath]:
        """What fits a relative pattern of names with `*`, `?`, `[…]`, and `**` for any folders."""
        return map(self._same, _iterated(self._files.run, self._async.glob(pattern)))

    def rglob(self, pattern: str) -> Iterator[FilePath]:
        """What fits a pattern in this folder and all below it."""
        return map(self._same, _iterated(self._files.run, self._async.rglob(pattern)))

    def walk(self) -> Iterator[tuple[FilePath, list[str], list[str]]]:
        """This folder and all below it: each with the names of its folders and of all else.

        Names that are taken out of the list of folders are not walked. Links are not followed.
        """
        for folder, folders, files in _iterated(self._files.run, self._async.walk(), at_once=1):
            yield self._same(folder), folders, files

    @overload
    def open(
        self, mode: Literal["rb"] = "rb", buffering: int = BUFFER_SIZE
    ) -> io.BufferedReader: ...
    @overload
    def open(
        self,
        mode: Literal["r", "rt"],
        buffering: int = BUFFER_SIZE,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
    ) -> io.TextIOWrapper: ...
    @overload
    def open(
        self,
        mode: str,
        buffering: int = BUFFER_SIZE,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
    ) -> io.BufferedReader | io.TextIOWrapper: ...
    def open(
        self,
        mode: str = "rb",
        buffering: int = BUFFER_SIZE,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
    ) -> io.BufferedReader | io.TextIOWrapper:
        """The file, as bytes ("rb") or as text ("r", in UTF-8 unless `encoding` names another).

        Other modes raise `io.UnsupportedOperation`.
        """
        if mode not in ("r", "rb", "rt"):
            raise io.UnsupportedOperation("files of an image are read-only")
        file = self._files.open(str(self._path), buffering)
        if mode == "rb":
            return file
        return io.TextIOWrapper(file, encoding or "utf-8", errors, newline)

    def read_bytes(self) -> bytes:
        """The whole file."""
        return self._files.run(self._async.read_bytes)

    def read_text(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """The whole file as text, with `\\n` at the end of lines."""
        return self._files.run(lambda: self._async.read_text(encoding, errors))

    @property
    def _async(self) -> AsyncFilePath:
        return AsyncFilePath(self._files.asynchronous, self._path)

    def _same(self, path: AsyncFilePath) -> FilePath:
        return FilePath(self._files, str(path))


def _iterated(run: _Run, items: AsyncIterator[Result], at_once: int = 256) -> Iterator[Result]:
    """What an asynchronous iterator gives, several of it for each wait if they come quickly."""

    async def some() -> list[Result]:
        found: list[Result] = []
        started = time.monotonic()
        async for item in items:
            found.append(item)
            if len(found) >= at_once or time.monotonic() > started + _LONGEST_WAIT_S:
                break
        return found

    while found := run(some):
        yield from found
