"""Disks for code without asyncio: the same disks, with plain calls.

    from aero_browser_disk.sync import open_disk

    with open_disk("https://images.example/disk.img", allow_remote=True) as disk:
        sector = disk.read(0, 512)
        with disk.files.open("/1/etc/hostname") as file:
            print(file.read().decode())

Everything runs on one event loop in a thread of its own, which starts with the first call and ends
with the interpreter; any number of threads may use a disk. In Pyodide calls wait by stack
switching, and raise `CannotWaitError` in browsers that have none.
"""

from __future__ import annotations

import atexit
import contextlib
import io
import os
import time
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from functools import cache
from pathlib import PurePosixPath
from types import TracebackType
from typing import Any, Literal, Protocol, Self, TypeVar, Unpack, overload

from . import disk as asynchronous
from .disk import DiskInfo, DiskStats
from .disk_file import DiskFile
from .errors import DiskError
from .file_systems import (
    BUFFER_SIZE,
    AsyncFilePath,
    DiskFiles,
    Entry,
    ImageFile,
    Listing,
    PureFilePath,
)
from .library.catalog import LibraryEntry, LibraryUsage
from .library.library import Library as AsyncLibrary
from .open_disk import open_disk as open_asynchronously
from .platform import current_platform
from .platform.base import Platform
from .platform.waiting import runner
from .streaming.remote_options import RemoteOptions

__all__ = ["Disk", "FilePath", "Files", "Library", "open_disk", "open_library"]

Result = TypeVar("Result")
_LONGEST_WAIT_S = 0.05  # for more of what an iterator gives


class _Run(Protocol):
    """Waits for what a call makes."""

    def __call__(self, call: Callable[[], Awaitable[Result]], /) -> Result: ...


def open_disk(
    url: str | None = None,
    *,
    path: str | os.PathLike[str] | None = None,
    image: str | None = None,
    overlay: str | Sequence[str] | None = None,
    write_base: bool = False,
    platform: Platform | None = None,
    **remote: Unpack[RemoteOptions],
) -> Disk:
    """Opens a disk, as `aero_browser_disk.open_disk` does with the same options and errors."""

    async def opened() -> asynchronous.Disk:
        return await open_asynchronously(
            url,
            path=path,
            image=image,
            overlay=overlay,
            write_base=write_base,
            platform=platform or await _session().platform(),
            **remote,
        )

    return Disk(run(opened))


def open_library(platform: Platform | None = None) -> Library:
    """The local images and overlays of this computer: see `aero_browser_disk.Library`."""

    async def opened() -> AsyncLibrary:
        return await AsyncLibrary.open(platform or await _session().platform())

    return Library(run(opened))


class _Closes:
    """What is closed by `with`."""

    def close(self) -> None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class Disk(_Closes):
    """A disk whose calls return when they are done. Offsets and lengths are in bytes.

    Every call raises what the same call of `aero_browser_disk.Disk` does.
    """

    def __init__(self, disk: asynchronous.Disk) -> None:
        self._disk = disk
        self._session = _session()
        self._files: Files | None = None

    @property
    def info(self) -> DiskInfo:
        """Size, version, block size, and whether it takes writes."""
        return self._disk.info

    @property
    def asynchronous(self) -> asynchronous.Disk:
        """The disk for code that awaits, inside `run`."""
        return self._disk

    @property
    def files(self) -> Files:
        """The partitions and files on it."""
        if self._files is None:
            self._files = Files(self._disk, self.run)
        return self._files

    def read(self, offset: int, length: int) -> bytes:
        """The `length` bytes at `offset`."""
        return self.run(lambda: self._disk.read(offset, length))

    def write(self, offset: int, data: bytes) -> None:
        """Writes `data` at `offset`. Reads see it at once; `flush` makes it durable."""
        self.run(lambda: self._disk.write(offset, data))

    def discard(self, offset: int, length: int) -> None:
        """Makes a range read as zeros and frees its space."""
        self.run(lambda: self._disk.discard(offset, length))

    def flush(self) -> None:
        """Returns once everything written is durable."""
        self.run(self._disk.flush)

    def stats(self) -> DiskStats:
        """The counters as they are now."""

        async def counted() -> DiskStats:
            return self._disk.stats()

        return self.run(counted)

    def open(self, buffering: int = BUFFER_SIZE) -> io.BufferedReader | io.BufferedRandom:
        """The whole disk as a Python file: `DiskFile` with a buffer of so many bytes."""
        file = DiskFile(self._disk, wait=lambda call: self.run(lambda: call))
        if self.info.read_only:
            return io.BufferedReader(file, buffering)
        return io.BufferedRandom(file, buffering)

    def close(self) -> None:
        """Makes what was written durable and frees everything. Idempotent."""
        self.run(self._disk.close)

    def close_at_exit(self) -> None:
        """Has the disk closed when the interpreter ends, for whoever cannot know the last use."""
        self._session.close_at_exit(self)

    def close_in_background(self) -> None:
        """As `close`, without waiting: for what is collected, in whatever thread that is."""
        self._session.start(self._disk.close())

    def run(self, call: Callable[[], Awaitable[Result]]) -> Result:
        """Waits for what `call` makes, on the event loop that the disk belongs to.

        Raises `RuntimeError` on that loop, and in a process that was forked since.
        """
        return self._session.run(call)


class Files:
    """The files on a disk. `/` has its volumes, `/1/` is the root of the first partition.

    Every call raises what the same call of `DiskFiles` does.
    """

    def __init__(self, disk: asynchronous.Disk, run: _Run) -> None:
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


class Library(_Closes):
    """The local images, overlays and caches of this computer."""

    def __init__(self, library: AsyncLibrary) -> None:
        self._library = library
        self._run = _session().run

    def list(self) -> list[LibraryEntry]:
        """All of them, the most recently used first."""
        return self._run(self._library.list)

    def usage(self) -> LibraryUsage:
        """How much space is used, by what, and how much there is."""
        return self._run(self._library.usage)

    def create(self, name: str, size: int) -> LibraryEntry:
        """Makes a blank image of `size` bytes."""
        return self._run(lambda: self._library.create(name, size))

    def import_path(
        self,
        path: str | os.PathLike[str],
        *,
        name: str | None = None,
        format: str = "auto",  # noqa: A002
    ) -> LibraryEntry:
        """Imports a file, as the disk of that format: see `aero_browser_disk.Library`."""
        return self._run(
            lambda: self._library.import_path(os.fspath(path), name=name, format=format)
        )

    def export_to_path(
        self, name: str, path: str | os.PathLike[str], overlays: Sequence[str] = ()
    ) -> int:
        """Writes an image as a raw file; returns its size in bytes."""
        return self._run(lambda: self._library.export_to_path(name, os.fspath(path), overlays))

    def open_image(
        self, name: str, overlays: Sequence[str] = (), *, write_base: bool = False
    ) -> Disk:
        """Opens an image, or overlays over it."""
        return Disk(
            self._run(lambda: self._library.open_image(name, overlays, write_base=write_base))
        )

    def remove(self, name: str, *, drop_overlays: bool = False) -> None:
        """Removes an image, or by its id an overlay or a cache."""
        self._run(lambda: self._library.remove(name, drop_overlays=drop_overlays))

    def close(self) -> None:
        """Frees what the library itself holds; open disks stay open."""
        self._library.close()


class _Session:
    """What all disks of a process share: the event loop, and the platform with its connections."""

    def __init__(self) -> None:
        self._process = os.getpid()
        self._runner = runner()
        self._platform: Platform | None = None
        self._closed_at_exit: weakref.WeakSet[Disk] = weakref.WeakSet()
        atexit.register(self._end)

    def run(self, call: Callable[[], Awaitable[Result]]) -> Result:
        async def waited() -> Result:
            return await call()

        return self._runner.run(waited())

    def start(self, call: Coroutine[Any, Any, None]) -> None:
        self._runner.start(call)

    async def platform(self) -> Platform:
        if self._platform is None:
            self._platform = await current_platform()
        return self._platform

    def close_at_exit(self, disk: Disk) -> None:
        self._closed_at_exit.add(disk)

    def close(self) -> None:
        atexit.unregister(self._end)
        if self._platform is not None:
            self.run(self._platform.http.close)
            self._platform = None
        self._runner.close()

    def _end(self) -> None:
        if self._process != os.getpid():
            return  # a forked process has no thread of this loop
        self._runner.end(self._close_all())
        self._platform = None

    async def _close_all(self) -> None:
        for disk in list(self._closed_at_exit):
            with contextlib.suppress(DiskError, OSError):  # there is nobody to tell
                await disk.asynchronous.close()
        if self._platform is not None:
            await self._platform.http.close()


@cache
def _session_of(process: int) -> _Session:  # noqa: ARG001 - a thread does not survive a fork
    return _Session()


def _session() -> _Session:
    return _session_of(os.getpid())


def run(call: Callable[[], Awaitable[Result]]) -> Result:
    """Waits for what `call` makes, on the event loop that new disks of this module use."""
    return _session().run(call)
