"""One version of an open image file: its bytes, or an error once it has another version."""

from __future__ import annotations

import asyncio
import mmap
import os
import sys
from collections.abc import AsyncGenerator
from concurrent.futures import Executor
from typing import Final, NamedTuple

from aero_browser_disk.remote.byte_ranges import EntityTag

from .image_store import LENT_LENGTH, OpenImage, VersionChangedError, read_in_chunks
from .manifest import ManifestEntry


class FileVersion(NamedTuple):
    """Distinguishes two states of a file.

    It includes the change time: writers can set back the modification time, but not that.
    """

    device: int
    inode: int
    mtime_ns: int
    ctime_ns: int
    size: int

    @classmethod
    def of(cls, status: os.stat_result) -> FileVersion:
        """The version that a `stat` saw."""
        return cls(
            status.st_dev,
            status.st_ino,
            status.st_mtime_ns,
            status.st_ctime_ns,
            status.st_size,
        )

    def is_of(self, status: os.stat_result) -> bool:
        """Whether a `stat` saw this version: without making another, which takes twice as long."""
        return (
            status.st_ctime_ns == self.ctime_ns
            and status.st_mtime_ns == self.mtime_ns
            and status.st_ino == self.inode
            and status.st_size == self.size
            and status.st_dev == self.device
        )

    @property
    def entity_tag(self) -> EntityTag:
        """Its strong validator; `web/guide/decisions/validators.md` has the reasons."""
        return EntityTag(f"{self.inode:x}-{self.mtime_ns:x}-{self.ctime_ns:x}-{self.size:x}")


class ImageFile:
    """Reads one version through one descriptor, which a file that replaces it does not touch.

    The descriptor is closed once it is retired and its last user has released it.
    """

    def __init__(self, descriptor: int, version: FileVersion, threads: Executor, path: str) -> None:
        self.version = version
        # Below the store's folder, links resolved.
        self.path = path
        self.users = 0
        # The entry it was last opened for, and the result: mostly that of the next request too.
        self.described: tuple[ManifestEntry, OpenImage] | None = None
        self._descriptor = descriptor
        self._threads = threads
        self._retired = False
        self._is_unlinked = False
        self._tries_page_cache = sys.platform == "linux"

    def chunks(self, start: int, stop: int) -> AsyncGenerator[bytes]:
        """As `ImageReader.chunks`."""
        return read_in_chunks(self.read, start, stop)

    async def read(self, start: int, stop: int) -> bytes:
        """As `ImageReader.read`: from the page cache at once, from the device in a thread."""
        length = stop - start
        # Copied out before anything else runs.
        chunk = bytes(self._read_page_cache(start, length))
        if len(chunk) < length:
            # When this is cancelled the thread goes on, at worst on a descriptor that was closed
            # or reused since; nobody sees what it reads.
            chunk += await asyncio.get_running_loop().run_in_executor(
                self._threads,
                _read_fully,
                self._descriptor,
                start + len(chunk),
                length - len(chunk),
            )
        if len(chunk) < length:
            raise VersionChangedError
        self._check_version()
        return chunk

    def lend(self, start: int, stop: int) -> memoryview | None:
        """As `Lender.lend`."""
        view = self._read_page_cache(start, stop - start)
        if len(view) < stop - start:
            return None
        self._check_version()
        return view

    def _check_version(self) -> None:
        """Raises `VersionChangedError` when what was just read may be of another version.

        A write sets the times before it changes a byte, so bytes of a later version are never seen
        before that version's time.
        """
        status = os.fstat(self._descriptor)
        if self.version.is_of(status):
            return
        changed = self.version._replace(ctime_ns=status.st_ctime_ns)
        if status.st_nlink or self._is_unlinked or not changed.is_of(status):
            raise VersionChangedError
        # It lost its last name to a file that replaced it, which sets its change time, once.
        self._is_unlinked = True
        self.version = changed

    def _read_page_cache(self, offset: int, length: int) -> memoryview:
        """Its first bytes that are in the page cache, on loan. Never waits for the device."""
        if sys.platform != "linux" or not self._tries_page_cache:
            return _SCRATCH[:0]
        view = _SCRATCH[:length]
        try:
            count = os.preadv(self._descriptor, [view], offset, os.RWF_NOWAIT)
        except BlockingIOError:
            return _SCRATCH[:0]
        except OSError:
            # Not on this file system. The thread reports errors of the device.
            self._tries_page_cache = False
            return _SCRATCH[:0]
        return view if count == length else view[:count]

    def retire(self) -> None:
        """Closes the file, as soon as nobody uses it."""
        self._retired = True
        self._close_if_done()

    def release(self) -> None:
        """One user fewer."""
        self.users -= 1
        self._close_if_done()

    def _close_if_done(self) -> None:
        if self._retired and self.users == 0 and self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


# Read into by the event loop's thread alone, and done with before anything else runs: cheaper than
# a new buffer, which Python fills with zeros first. It begins a page: at 8 to 24 bytes after one,
# where a long `bytearray` may begin, processors of AMD copy at an eighth of the speed (measured: a
# Zen 3 takes 70 µs for 128 KiB instead of 9).
_SCRATCH: Final = memoryview(mmap.mmap(-1, LENT_LENGTH))


def _read_fully(descriptor: int, offset: int, length: int) -> bytes:
    chunks = []
    while length and (chunk := os.pread(descriptor, length, offset)):
        chunks.append(chunk)
        offset += len(chunk)
        length -= len(chunk)
    return b"".join(chunks)
