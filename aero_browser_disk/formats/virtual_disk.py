"""Disks inside a file of another format: what their readers share, and one as a `Disk`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

from ..disk import DiskInfo, DiskStats, RefusingWrites, check_bounds
from ..errors import DamagedImageError, DiskClosedError
from ..platform.base import WritableBuffer
from ..platform.byte_range import ByteRange
from ..platform.byte_source import ByteSource
from .recognition import ImageFormat

_WINDOW = 1 << 20
LARGEST_DISK = 1 << 62
"""Bytes. No real image is as large, and sums of two such numbers are still exact anywhere."""


class VirtualDisk(Protocol):
    """The disk that a file describes. Everything the file says is checked before it is believed."""

    @property
    def format(self) -> ImageFormat:
        """The kind of the file."""

    @property
    def size(self) -> int:
        """Bytes of the disk, a multiple of 512."""

    def data_ranges(self) -> AsyncIterator[ByteRange]:
        """Where the disk may hold anything but zeros, in order; raises `DamagedImageError`."""

    async def read(self, offset: int, length: int) -> bytes:
        """The `length` bytes of the disk at `offset`, which lie inside it.

        Raises `DamagedImageError` and what the source raises.
        """


class SourceWindow:
    """Reads a source in larger pieces than are asked for, and holds the last one."""

    def __init__(self, source: ByteSource, image_format: ImageFormat) -> None:
        self.size = source.size
        self._source = source
        self._format = image_format
        self._start = 0
        self._held = b""

    async def read(self, offset: int, length: int, what: str) -> bytes:
        """The `length` bytes at `offset`.

        Raises `DamagedImageError`, which names `what` they are, when the source ends before.
        """
        if offset + length > self.size:
            reason = f"{what} lies at byte {offset:,}, but the file has {self.size:,} bytes"
            raise DamagedImageError(self._format.title, reason)
        if length >= _WINDOW:
            return await self._source.read(offset, length)
        if not self._start <= offset <= offset + length <= self._start + len(self._held):
            self._held = await self._source.read(offset, _WINDOW)
            self._start = offset
        return self._held[offset - self._start : offset - self._start + length]


class VirtualDiskReader(RefusingWrites):
    """A read-only `Disk` over a `VirtualDisk`. It keeps nothing of what it reads."""

    def __init__(self, virtual: VirtualDisk, version: str) -> None:
        self._virtual = virtual
        self._version = version
        self._bytes_read = 0
        self._closed = False

    @property
    def info(self) -> DiskInfo:
        return DiskInfo(self._virtual.size, self._version, block_size=4096, read_only=True)

    def try_read_into(self, offset: int, target: WritableBuffer) -> bool:
        self._check(offset, len(target))
        return not len(target)

    async def read_into(self, offset: int, target: WritableBuffer) -> None:
        target[:] = await self.read(offset, len(target))

    async def read(self, offset: int, length: int) -> bytes:
        self._check(offset, length)
        data = await self._virtual.read(offset, length) if length else b""
        self._bytes_read += length
        return data

    async def flush(self) -> None:
        """Nothing to do."""

    def stats(self) -> DiskStats:
        return DiskStats(0, 0, 0, 0, self._bytes_read, 0, 0, 0, 0, 0, "memory", ())

    async def close(self) -> None:
        self._closed = True

    def _check(self, offset: int, length: int) -> None:
        if self._closed:
            raise DiskClosedError
        check_bounds(offset, length, self._virtual.size)
