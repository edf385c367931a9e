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
import weakref
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import cache
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

from . import disk as asynchronous
from .disk import DiskInfo, DiskStats
from .disk_file import DiskFile
from .errors import DiskError
from .file_systems import BUFFER_SIZE
from .file_systems.waiting_files import FilePath, Files
from .library.catalog import LibraryEntry, LibraryUsage
from .library.library import Library as AsyncLibrary
from .open_disk import open_disk as open_asynchronously
from .platform import current_platform
from .platform.base import Platform
from .platform.waiting import runner
from .streaming.remote_options import RemoteOptions

__all__ = ["Disk", "FilePath", "Files", "Library", "open_disk", "open_library"]

Result = TypeVar("Result")


def open_disk(
    url: str | None = None,
    *,
    path: str | os.PathLike[str] | None = None,
    file: object = None,
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
            file=file,
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

    def commit_to_path(
        self, path: str | os.PathLike[str], overlay: str, *, drop_overlays: bool = False
    ) -> None:
        """Writes an overlay into the raw image file that it lies over."""
        self._run(
            lambda: self._library.commit_to_path(
                os.fspath(path), overlay, drop_overlays=drop_overlays
            )
        )

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
