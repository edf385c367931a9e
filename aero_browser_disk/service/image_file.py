"""One version of an image file, open: its bytes, or an error if it is no longer that version."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncGenerator
from concurrent.futures import Executor
from typing import Final, NamedTuple

from aero_browser_disk.byte_ranges import EntityTag

from .image_store import PIECE_LENGTH, OpenImage, VersionChangedError
from .manifest import ManifestEntry

# What players ask for goes in few pieces. Whoever asks for more is in no hurry, and may stall with
# several pieces in the server's hands: in granian those of 200 such clients took 250 MB, with the
# smaller ones a third of that (measured).
_QUICK_LENGTH: Final = 1 << 20
_LATER_PIECE_LENGTH: Final = 24 * 1024


class FileVersion(NamedTuple):
    """What tells two states of a file apart."""

    device: int
    inode: int
    mtime_ns: int
    size: int

    @classmethod
    def of(cls, status: os.stat_result) -> FileVersion:
        """The version that a `stat` saw."""
        return cls(status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size)

    @property
    def entity_tag(self) -> EntityTag:
        """Its strong validator."""
        return EntityTag(f"{self.inode:x}-{self.mtime_ns:x}-{self.size:x}")


class ImageFile:
    """Reads one version through one descriptor, which a file that replaces it does not touch.

    The descriptor is closed once it is retired and its last user has released it.
    """

    def __init__(self, descriptor: int, version: FileVersion, threads: Executor, path: str) -> None:
        self.version = version
        # Below the store's folder, links resolved.
        self.path = path
        self.users = 0
        # What the store last made of it for which entry: it is the same for the next request.
        self.described: tuple[ManifestEntry, OpenImage] | None = None
        self._descriptor = descriptor
        self._threads = threads
        self._retired = False
        self._tries_page_cache = sys.platform == "linux"

    async def pieces(self, start: int, stop: int) -> AsyncGenerator[bytes]:
        """As `ImageReader.pieces`."""
        quick_until = start + _QUICK_LENGTH
        while start < stop:
            length = PIECE_LENGTH if start < quick_until else _LATER_PIECE_LENGTH
            piece = await self.read(start, min(stop, start + length))
            start += len(piece)
            yield piece

    async def read(self, start: int, stop: int) -> bytes:
        """As `ImageReader.read`: from the page cache at once, from the device in a thread."""
        length = stop - start
        piece = self._read_page_cache(start, length) if self._tries_page_cache else b""
        if len(piece) < length:
            # When this is cancelled the thread goes on, at worst on a descriptor that was closed
            # or reused since; nobody sees what it reads.
            piece += await asyncio.get_running_loop().run_in_executor(
                self._threads,
                _read_fully,
                self._descriptor,
                start + len(piece),
                length - len(piece),
            )
        # After the read: a writer sets the time before it changes a byte, so bytes of a later
        # version are never seen together with this version's time.
        if len(piece) < length or FileVersion.of(os.fstat(self._descriptor)) != self.version:
            raise VersionChangedError
        return piece

    def _read_page_cache(self, offset: int, length: int) -> bytes:
        """What of it can be had without waiting for the device, from its start on."""
        if sys.platform != "linux":
            return b""
        view = memoryview(_SCRATCH)[:length]
        try:
            count = os.preadv(self._descriptor, [view], offset, os.RWF_NOWAIT)
        except BlockingIOError:
            return b""
        except OSError:
            # Not on this file system. A fault of the device comes back from the thread.
            self._tries_page_cache = False
            return b""
        return bytes(view[:count])

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


# Read into by the event loop's thread alone, and copied out of before anything else runs: cheaper
# than a new buffer, which Python fills with zeros first.
_SCRATCH: Final = bytearray(PIECE_LENGTH)


def _read_fully(descriptor: int, offset: int, length: int) -> bytes:
    pieces = []
    while length and (piece := os.pread(descriptor, length, offset)):
        pieces.append(piece)
        offset += len(piece)
        length -= len(piece)
    return b"".join(pieces)
