"""A file inside an image as a Python file."""

from __future__ import annotations

import io
import os
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import TYPE_CHECKING, Any, Protocol

from ..platform.file_position import read_rest, seek_to
from ..platform.opening import ClosesOnExit

if TYPE_CHECKING:
    from typing_extensions import Buffer

BUFFER_SIZE = 128 << 10
"""Bytes that a buffered reader asks for at a time: enough that a request costs little."""

MAX_READ_AT_ONCE = 16 << 20
"""Bytes that one read of a file on a disk gives at most."""

Run = Callable[[Coroutine[Any, Any, bytes]], bytes]


class ReadsFiles(Protocol):
    """What reads files on a disk: `DiskFiles`."""

    async def read(self, path: str, offset: int, length: int) -> bytes:
        """The `length` bytes at `offset` of a file; fewer where it ends."""


class ImageFile(io.RawIOBase):
    """A file of an image, read-only, as a raw file. Put an `io.BufferedReader` over it.

    `size` is in bytes; `run` waits for a coroutine, as `asyncio.Runner().run` does. Reading raises
    what `DiskFiles.read` does.
    """

    def __init__(self, files: ReadsFiles, path: str, size: int, run: Run) -> None:
        super().__init__()
        self.name = path
        self.mode = "rb"
        self._files = files
        self._size = size
        self._run = run
        self._position = 0

    @property
    def size(self) -> int:
        """Bytes in the file."""
        return self._size

    def readable(self) -> bool:
        self._check_open()
        return True

    def seekable(self) -> bool:
        self._check_open()
        return True

    def tell(self) -> int:
        self._check_open()
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        self._check_open()
        self._position = seek_to(self._position, self._size, offset, whence)
        return self._position

    def readinto(self, target: Buffer, /) -> int:
        """Fills `target` as far as the file goes; returns how many bytes, 0 at the end."""
        self._check_open()
        with memoryview(target) as whole, whole.cast("B") as view:
            length = max(0, min(len(view), self._size - self._position, MAX_READ_AT_ONCE))
            if length:
                data = self._run(self._files.read(self.name, self._position, length))
                length = len(data)  # less where the file was cut short since it was opened
                view[:length] = data
        self._position += length
        return length

    def readall(self) -> bytes:
        """All that is left; in large reads, where `io.RawIOBase` asks for 8 KiB at a time."""
        self._check_open()
        return read_rest(self, self._size - self._position)

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError("I/O operation on closed file")


class AsyncImageFile(ClosesOnExit):
    """A file of an image, read-only, for code that awaits.

    `read`, `readinto` and `readline` are awaited, `async for` gives lines; `seek` and `tell` need
    no wait. Sequential reads ask for `BUFFER_SIZE` bytes at a time.
    """

    def __init__(self, files: ReadsFiles, path: str, size: int) -> None:
        self.name = path
        self.size = size
        """Bytes in the file."""
        self._files = files
        self._position = 0
        self._buffer = b""
        self._buffer_start = 0
        self.closed = False

    async def read(self, length: int = -1) -> bytes:
        """Up to `length` bytes from the position, all that is left if negative; b"" at the end.

        Raises what `DiskFiles.read` does, and `ValueError` once closed.
        """
        self._check_open()
        left = max(0, self.size - self._position)
        wanted = left if length < 0 else min(length, left)
        parts = []
        while wanted:
            part = await self._some(wanted)
            if not part:  # the file was cut short since it was opened
                break
            parts.append(part)
            self._position += len(part)
            wanted -= len(part)
        return b"".join(parts)

    async def readinto(self, target: Buffer) -> int:
        """Fills `target` as far as the file goes; returns how many bytes."""
        with memoryview(target) as whole, whole.cast("B") as view:
            data = await self.read(len(view))
            view[: len(data)] = data
        return len(data)

    async def readline(self, limit: int = -1) -> bytes:
        """The rest of a line with its end, at most `limit` bytes if that is not negative."""
        self._check_open()
        parts = []
        left = max(0, self.size - self._position) if limit < 0 else limit
        while left and (part := await self._some(min(left, BUFFER_SIZE))):
            end = part.find(b"\n") + 1
            part = part[: end or len(part)]
            parts.append(part)
            self._position += len(part)
            left -= len(part)
            if end:
                break
        return b"".join(parts)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while line := await self.readline():
            yield line

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Moves the position; returns it."""
        self._check_open()
        self._position = seek_to(self._position, self.size, offset, whence)
        return self._position

    def tell(self) -> int:
        """The position in bytes."""
        self._check_open()
        return self._position

    def close(self) -> None:
        """Forgets what is buffered."""
        self.closed = True
        self._buffer = b""

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError("I/O operation on closed file")

    async def _some(self, wanted: int) -> bytes:
        """Bytes from the position: of the buffer, or read with more behind it; none at the end."""
        begin = self._position - self._buffer_start
        if not 0 <= begin < len(self._buffer):
            length = min(max(wanted, BUFFER_SIZE), MAX_READ_AT_ONCE, self.size - self._position)
            if length <= 0:
                return b""
            data = await self._files.read(self.name, self._position, length)
            if length > BUFFER_SIZE:
                return data[:wanted]
            self._buffer, self._buffer_start, begin = data, self._position, 0
        return self._buffer[begin : begin + wanted]
