"""Sources of an import: a file that can be read at any offset, or a stream."""

from __future__ import annotations

import asyncio
import errno
import os
import stat
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sized
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar

from ..errors import SourceError
from .concurrent_tasks import end_all

MIB = 1 << 20
_LONGEST = 200  # characters of a name that are kept
CHUNK = 4 * MIB
"""Bytes that a copy asks for at once: larger ones were no faster (measured in Chromium)."""

Read = TypeVar("Read", bound=Sized)
ByteStream = AsyncIterator[bytes]
"""The bytes of a file in order, in chunks of any size. Raises `SourceError` when they break off."""


@dataclass(frozen=True, slots=True)
class SourceIdentity:
    """Identifies a file: an import is only continued with the same one.

    `modified` identifies its last change, as text: the time of a `File`, or a server's validator.
    `size` is None where it is not known.
    """

    name: str
    size: int | None
    modified: str

    def shortened(self) -> SourceIdentity:
        """Shortened to what fits in a record."""
        return replace(self, name=self.name[:_LONGEST], modified=self.modified[:_LONGEST])


class ByteSource(Protocol):
    """Bytes that can be read at any offset."""

    @property
    def size(self) -> int:
        """How many there are."""

    async def read(self, offset: int, length: int) -> bytes:
        """The `length` bytes at `offset`, fewer where the source ends.

        Raises `SourceError` when they cannot be had.
        """


class BytesSource:
    """Bytes in memory."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.size = len(data)

    async def read(self, offset: int, length: int) -> bytes:
        return self._data[offset : offset + length]


class PathSource:
    """A file of the local file system; a context manager that closes it."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        try:
            self._descriptor = open_to_seek(self.path)
        except OSError as error:
            raise SourceError(os.fspath(path), error.strerror or str(error)) from error
        status = os.fstat(self._descriptor)
        self.size = os.lseek(self._descriptor, 0, os.SEEK_END)  # a block device has no st_size
        self.identity = SourceIdentity(self.path.name, self.size, str(status.st_mtime_ns))

    async def read(self, offset: int, length: int) -> bytes:
        try:
            return await asyncio.to_thread(os.pread, self._descriptor, length, offset)
        except OSError as error:
            raise SourceError(self.path.name, error.strerror or str(error)) from error

    def close(self) -> None:
        """Closes the file."""
        os.close(self._descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_to_seek(path: Path) -> int:
    """A descriptor of a file or block device; raises `OSError` for what has no size.

    A pipe that nobody writes to would have the caller wait for ever.
    """
    flags = getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
    descriptor = os.open(path, os.O_RDONLY | flags)
    kind = os.fstat(descriptor).st_mode
    if stat.S_ISDIR(kind) or stat.S_ISFIFO(kind):
        os.close(descriptor)
        if stat.S_ISDIR(kind):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        raise OSError(errno.ESPIPE, "It is a pipe, and images are not read in order", str(path))
    return descriptor


def stream_of(source: ByteSource, start: int = 0) -> ByteStream:
    """The bytes of `source` from `start` on; the next chunk is read while one is worked on."""
    return in_order(source.read, source.size, start)


async def in_order(
    read: Callable[[int, int], Coroutine[Any, Any, Read]], size: int, start: int, ahead: int = 1
) -> AsyncIterator[Read]:
    """The results of `read(offset, length)` from `start` to `size`; at most `ahead` are under way.

    The next ones are read while one is worked on. Raises `SourceError` where the source ends first.
    """
    offsets = iter(range(start, size, CHUNK))
    coming: deque[asyncio.Task[Read]] = deque()

    def ask() -> None:
        for offset in islice(offsets, ahead - len(coming)):
            coming.append(asyncio.create_task(read(offset, min(CHUNK, size - offset))))

    try:
        ask()
        for offset in range(start, size, CHUNK):
            chunk = await coming.popleft()
            if len(chunk) < min(CHUNK, size - offset):
                raise SourceError(
                    "the file", f"it ends after {offset + len(chunk)} of {size} bytes"
                )
            ask()
            yield chunk
    finally:
        await end_all(coming)


async def pulled(pull: Callable[[], Awaitable[bytes | None]]) -> ByteStream:
    """The chunks that `pull` returns, until it returns None."""
    while (chunk := await pull()) is not None:
        if chunk:
            yield chunk


class Lookahead:
    """A stream whose first bytes can be looked at before it is read."""

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self._seen: list[bytes] = []

    async def head(self, length: int) -> bytes:
        """The first `length` bytes, fewer when the stream has no more."""
        missing = length - sum(map(len, self._seen))
        while missing > 0:
            chunk = await anext(self._stream, None)
            if chunk is None:
                break
            self._seen.append(chunk)
            missing -= len(chunk)
        return b"".join(self._seen)[:length]

    def __aiter__(self) -> Lookahead:
        return self

    async def __anext__(self) -> bytes:
        if self._seen:
            return self._seen.pop(0)
        return await anext(self._stream)
