"""An image or overlay of the library while it is open: a disk that gives all up at its end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace

from .disk import SECTOR_SIZE, Disk, DiskInfo, DiskStats, data_ranges
from .errors import DiskError
from .overlay import Overlay
from .platform.base import ReadableBuffer, WritableBuffer
from .streaming_disk import StreamingDisk

CD_SECTOR_SIZE = 2048

Refusal = Callable[[], DiskError]
"""Makes the error that says why a write is refused."""


class LibraryDisk:
    """A `Disk` over the one that is opened, which it owns.

    With `refuses` it takes no writes. `on_close` is called once, after the disk was closed, with
    what its version was then. `remote` is the disk that downloads, if there is one beneath.
    """

    def __init__(
        self,
        disk: Disk,
        *,
        sector_size: int = SECTOR_SIZE,
        refuses: Refusal | None = None,
        remote: StreamingDisk | None = None,
        on_close: Callable[[DiskInfo], Awaitable[None]],
    ) -> None:
        self.disk = disk
        self.remote = remote
        self._sector_size = sector_size
        self._refuses = refuses
        self._on_close: Callable[[DiskInfo], Awaitable[None]] | None = on_close

    @property
    def overlay(self) -> Overlay | None:
        """The overlay that writes go to, if this is one."""
        return self.disk if isinstance(self.disk, Overlay) else None

    @property
    def info(self) -> DiskInfo:
        read_only = self._refuses is not None
        return replace(self.disk.info, read_only=read_only, sector_size=self._sector_size)

    def data_ranges(self) -> Iterator[tuple[int, int]]:
        """Offset and length of what may be anything but zeros, in order."""
        return data_ranges(self.disk)

    # ── reading ──────────────────────────────────────────────────────────────────────────────────

    def try_read_into(self, offset: int, target: WritableBuffer) -> bool:
        return self.disk.try_read_into(offset, target)

    async def read_into(self, offset: int, target: WritableBuffer) -> None:
        await self.disk.read_into(offset, target)

    async def read(self, offset: int, length: int) -> bytes:
        return await self.disk.read(offset, length)

    # ── writing ──────────────────────────────────────────────────────────────────────────────────

    def try_write(self, offset: int, data: ReadableBuffer) -> bool:
        self._check_writable()
        return self.disk.try_write(offset, data)

    async def write(self, offset: int, data: ReadableBuffer) -> None:
        self._check_writable()
        await self.disk.write(offset, data)

    async def flush(self) -> None:
        await self.disk.flush()

    async def discard(self, offset: int, length: int) -> None:
        self._check_writable()
        await self.disk.discard(offset, length)

    # ── everything else ──────────────────────────────────────────────────────────────────────────

    def stats(self) -> DiskStats:
        return self.disk.stats()

    async def close(self) -> None:
        on_close, self._on_close = self._on_close, None
        if on_close is None:
            return
        try:
            await self.disk.flush()
        finally:
            # After the flush, which makes the version that the next one to open it will see.
            info = self.disk.info
            try:
                await self.disk.close()
            finally:
                await on_close(info)

    def _check_writable(self) -> None:
        if self._refuses is not None:
            raise self._refuses()
