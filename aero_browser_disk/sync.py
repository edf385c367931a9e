"""Disks for code without asyncio: the same, with plain calls.

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
import io
import os
from collections.abc import Awaitable, Callable, Iterator, Sequence
from fnmatch import fnmatchcase
from functools import cache
from pathlib import PurePosixPath
from types import TracebackType
from typing import Self, TypeVar, Unpack

from . import disk as asynchronous
from .disk import DiskInfo, DiskStats
from .disk_file import DiskFile
from .errors import NoSuchFileError
from .file_systems import BUFFER_SIZE, DiskFiles, Entry, ImageFile, Listing
from .library.catalog import LibraryEntry, LibraryUsage
from .library.library import Library as AsyncLibrary
from .open_disk import open_disk as open_asynchronously
from .platform import current_platform
from .platform.base import Platform
from .platform.waiting import runner
from .streaming.remote_options import RemoteOptions

__all__ = ["Disk", "FilePath", "Files", "Library", "open_disk", "open_library"]

Result = TypeVar("Result")
AnyDisk = TypeVar("AnyDisk", bound=asynchronous.Disk)


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
        self._files: Files | None = None

    @property
    def info(self) -> DiskInfo:
        """Size, version, block size, and whether it takes writes."""
        return self._disk.info

    @property
    def files(self) -> Files:
        """The partitions and files on it."""
        if self._files is None:
            self._files = Files(self._disk)
        return self._files

    def read(self, offset: int, length: int) -> bytes:
        """The `length` bytes at `offset`."""
        return run(lambda: self._disk.read(offset, length))

    def write(self, offset: int, data: bytes) -> None:
        """Writes `data` at `offset`; reads see it at once, `flush` makes it last."""
        run(lambda: self._disk.write(offset, data))

    def discard(self, offset: int, length: int) -> None:
        """Makes a range read as zeros and gives its space back."""
        run(lambda: self._disk.discard(offset, length))

    def flush(self) -> None:
        """Returns once everything written is durable."""
        run(self._disk.flush)

    def stats(self) -> DiskStats:
        """The counters as they are now."""

        async def counted() -> DiskStats:
            return self._disk.stats()

        return run(counted)

    def open(self, buffering: int = BUFFER_SIZE) -> io.BufferedReader | io.BufferedRandom:
        """The whole disk as a Python file: `DiskFile` with a buffer of so many bytes."""
        file = DiskFile(self._disk, wait=lambda call: run(lambda: call))
        if self.info.read_only:
            return io.BufferedReader(file, buffering)
        return io.BufferedRandom(file, buffering)

    def close(self) -> None:
        """Makes what was written durable and frees everything. Idempotent."""
        run(self._disk.close)


class Files:
    """The files on a disk. `/` has its volumes, `/1/` is the root of the first partition.

    Every call raises what the same call of `DiskFiles` does.
    """

    def __init__(self, disk: asynchronous.Disk) -> None:
        self._files = DiskFiles(disk)

    @property
    def asynchronous(self) -> DiskFiles:
        """The same for code that awaits, inside `run`."""
        return self._files

    def list(self, path: str) -> Listing:
        """What is in a folder."""
        return run(lambda: self._files.list(path))

    def stat(self, path: str) -> Entry:
        """What a path leads to, its links followed."""
        return run(lambda: self._files.stat(path))

    def open(self, path: str, buffering: int = BUFFER_SIZE) -> io.BufferedReader:
        """A file of the image, read-only, with a buffer of so many bytes.

        Raises `NoSuchFileError` and `UnreadableFileError`.
        """
        entry = self.stat(path)
        run(lambda: self._files.read(path, 0, 0))  # so that a folder is an error at once
        raw = ImageFile(self._files, path, entry.size or 0, lambda call: run(lambda: call))
        return io.BufferedReader(raw, max(buffering, io.DEFAULT_BUFFER_SIZE))

    def path(self, path: str = "/") -> FilePath:
        """A path to walk from, as `pathlib` does."""
        return FilePath(self, path)


class FilePath:
    """A path on a disk, with the methods of `pathlib.Path` that read."""

    def __init__(self, files: Files, path: str | PurePosixPath) -> None:
        self._files = files
        self._path = PurePosixPath("/", path)

    def __str__(self) -> str:
        return str(self._path)

    def __repr__(self) -> str:
        return f"FilePath({str(self._path)!r})"

    def __fspath__(self) -> str:
        raise TypeError("a path on a disk is no path of the operating system: use open()")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, FilePath):
            return NotImplemented
        return self._files is other._files and self._path == other._path

    def __hash__(self) -> int:
        return hash(self._path)

    def __truediv__(self, name: str) -> FilePath:
        return FilePath(self._files, self._path / name)

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self._path.name

    @property
    def stem(self) -> str:
        """The name without its last suffix."""
        return self._path.stem

    @property
    def suffix(self) -> str:
        """The last suffix of the name, with its dot."""
        return self._path.suffix

    @property
    def parts(self) -> tuple[str, ...]:
        """The names from the root."""
        return self._path.parts

    @property
    def parent(self) -> FilePath:
        """The folder that it is in."""
        return FilePath(self._files, self._path.parent)

    def stat(self) -> Entry:
        """Size, kind and time of what the path leads to; raises `NoSuchFileError`."""
        return self._files.stat(str(self._path))

    def exists(self) -> bool:
        """Whether there is anything."""
        try:
            self.stat()
        except NoSuchFileError:
            return False
        return True

    def is_file(self) -> bool:
        """Whether it is a file, links followed."""
        return self.exists() and self.stat().kind == "file"

    def is_dir(self) -> bool:
        """Whether it is a folder or a volume, links followed."""
        return str(self._path) == "/" or (
            self.exists() and self.stat().kind in ("folder", "volume")
        )

    def iterdir(self) -> Iterator[FilePath]:
        """What is in the folder, in the order of the disk."""
        for entry in self._files.list(str(self._path)).entries:
            yield self / entry.name

    def glob(self, pattern: str) -> Iterator[FilePath]:
        """What fits a relative pattern of names with `*`, `?`, `[…]`, and `**` for any folders."""
        yield from self._matches(PurePosixPath(pattern).parts)

    def rglob(self, pattern: str) -> Iterator[FilePath]:
        """What fits a pattern in this folder and all below it."""
        yield from self.glob(f"**/{pattern}")

    def open(
        self, mode: str = "rb", encoding: str | None = None, errors: str | None = None
    ) -> io.BufferedReader | io.TextIOWrapper:
        """The file, as bytes ("rb") or as text ("r")."""
        if mode not in ("r", "rb", "rt"):
            raise io.UnsupportedOperation("files of an image are read-only")
        file = self._files.open(str(self._path))
        if mode == "rb":
            return file
        return io.TextIOWrapper(file, io.text_encoding(encoding), errors)

    def read_bytes(self) -> bytes:
        """The whole file."""
        with self._files.open(str(self._path)) as file:
            return file.read()

    def read_text(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """The whole file as text."""
        return self.read_bytes().decode(encoding, errors)

    def _matches(self, parts: Sequence[str]) -> Iterator[FilePath]:
        if not parts:
            yield self
            return
        first, *rest = parts
        if first == "**":
            yield from self._matches(rest)
        for entry in self._files.list(str(self._path)).entries:
            is_folder = entry.kind in ("folder", "volume")  # a link could lead in a circle
            child = self / entry.name
            if first == "**" and is_folder:
                yield from child._matches(parts)
            elif first != "**" and fnmatchcase(entry.name, first) and (is_folder or not rest):
                yield from child._matches(rest)


class Library(_Closes):
    """The local images, overlays and caches of this computer."""

    def __init__(self, library: AsyncLibrary) -> None:
        self._library = library

    def list(self) -> list[LibraryEntry]:
        """All of them, the most recently used first."""
        return run(self._library.list)

    def usage(self) -> LibraryUsage:
        """How much space is used, by what, and how much there is."""
        return run(self._library.usage)

    def create(self, name: str, size: int) -> LibraryEntry:
        """Makes a blank image of `size` bytes."""
        return run(lambda: self._library.create(name, size))

    def import_path(self, path: str | os.PathLike[str], *, name: str | None = None) -> LibraryEntry:
        """Imports a file of any known format."""
        return run(lambda: self._library.import_path(os.fspath(path), name=name))

    def export_to_path(
        self, name: str, path: str | os.PathLike[str], overlays: Sequence[str] = ()
    ) -> int:
        """Writes an image as a raw file; returns its size in bytes."""
        return run(lambda: self._library.export_to_path(name, os.fspath(path), overlays))

    def open_image(
        self, name: str, overlays: Sequence[str] = (), *, write_base: bool = False
    ) -> Disk:
        """Opens an image, or overlays over it."""
        return Disk(run(lambda: self._library.open_image(name, overlays, write_base=write_base)))

    def remove(self, name: str, *, drop_overlays: bool = False) -> None:
        """Removes an image, or by its id an overlay or a cache."""
        run(lambda: self._library.remove(name, drop_overlays=drop_overlays))

    def close(self) -> None:
        """Frees what the library itself holds; open disks stay open."""
        self._library.close()


class _Session:
    """What all disks of a process share: the event loop, and the platform with its connections."""

    def __init__(self) -> None:
        self._runner = runner()
        self._platform: Platform | None = None
        atexit.register(self.close)

    def run(self, call: Callable[[], Awaitable[Result]]) -> Result:
        async def waited() -> Result:
            return await call()

        return self._runner.run(waited())

    async def platform(self) -> Platform:
        if self._platform is None:
            self._platform = await current_platform()
        return self._platform

    def close(self) -> None:
        atexit.unregister(self.close)
        if self._platform is not None:
            self.run(self._platform.http.close)
            self._platform = None
        self._runner.close()


@cache
def _session_of(process: int) -> _Session:  # noqa: ARG001 - a thread does not survive a fork
    return _Session()


def _session() -> _Session:
    return _session_of(os.getpid())


def run(call: Callable[[], Awaitable[Result]]) -> Result:
    """Waits for what `call` makes, on the event loop of all disks of this module."""
    return _session().run(call)
