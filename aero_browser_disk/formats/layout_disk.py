"""The disk in an image file as a `Disk` that is only read."""

from __future__ import annotations

from collections.abc import Callable

from ..disk import SECTOR_SIZE, DiskInfo, DiskStats, RefusingWrites, check_bounds
from ..errors import DiskClosedError
from ..platform.base import WritableBuffer
from ..platform.opening import ClosesOnExit
from .layout import ImageLayout, LayoutReader

_BLOCK = 4096


class LayoutDisk(ClosesOnExit, RefusingWrites):
    """A read-only `Disk` over an `ImageLayout`. It caches only what had to be unpacked."""

    def __init__(
        self,
        layout: ImageLayout,
        version: str,
        on_close: Callable[[], None] = lambda: None,
        *,
        sector_size: int = SECTOR_SIZE,
        block_size: int = _BLOCK,
    ) -> None:
        self._on_close = on_close
        self._reader = LayoutReader(layout)
        self.format = layout.format.name
        """The format of the file: "qcow2", …"""
        self.is_raw = getattr(layout, "is_raw", False)
        """Whether the bytes of the file are those of the disk."""
        self._info = DiskInfo(
            layout.size, version, block_size, read_only=True, sector_size=sector_size
        )
        self._bytes_read = 0
        self._closed = False

    @property
    def info(self) -> DiskInfo:
        return self._info

    def try_read_into(self, offset: int, target: WritableBuffer) -> bool:
        self._check(offset, len(target))
        return not len(target)

    async def read_into(self, offset: int, target: WritableBuffer) -> None:
        target[:] = await self.read(offset, len(target))

    async def read(self, offset: int, length: int) -> bytes:
        self._check(offset, length)
        data = await self._reader.read(offset, length) if length else b""
        self._bytes_read += length
        return data

    async def flush(self) -> None:
        """Does nothing: the disk is read-only."""

    def stats(self) -> DiskStats:
        return DiskStats(0, 0, 0, 0, self._bytes_read, 0, 0, 0, 0, 0, "memory", ())

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._on_close()

    @property
    def _is_open(self) -> bool:
        return not self._closed

    def _check(self, offset: int, length: int) -> None:
        if self._closed:
            raise DiskClosedError
        check_bounds(offset, length, self._info.size)
