"""An image or overlay of the library while it is open: a disk that releases its claims when it
closes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from ..disk import SECTOR_SIZE, Disk, DiskInfo, DiskStats, check_bounds, data_ranges, locate
from ..errors import DamagedDiskError, DiskError, ReadOnlyError
from ..platform.base import File, ReadableBuffer, WritableBuffer
from ..platform.opening import ClosesOnExit
from ..streaming.activity import Activity
from ..streaming.streaming_disk import StreamingDisk
from ..writable.overlay import Overlay


@dataclass(frozen=True, slots=True)
class Closed:
    """The final state of a disk: its info, None when its last flush failed, and the damage that was
    found."""

    info: DiskInfo | None
    damage: DamagedDiskError | None


OnClose = Callable[[Closed], Awaitable[None]]
Changed = Callable[[int, int], None]
Refusal = Callable[[], DiskError]
"""Makes the error of a refused write."""


class LibraryDisk(ClosesOnExit):
    """A `Disk` over the one that is opened, which it owns.

    `folder` is where the uppermost layer is kept. With `refuses` it takes no writes. `on_close` is
    called once, after the disk was closed. `remote` is the disk that downloads, if there is one
    below.
    """

    def __init__(
        self,
        disk: Disk,
        *,
        folder: str = "",
        sector_size: int = SECTOR_SIZE,
        refuses: Refusal | None = None,
        remote: StreamingDisk | None = None,
        on_close: OnClose,
    ) -> None:
        self.disk = disk
        self.folder = folder
        self.remote = remote
        self.activity = Activity() if remote is None else remote.activity
        self.activity.reader_level = 1
        self._sector_size = sector_size
        self._refuses = refuses
        self.changes = 0
        """Counts writes, discards and resets."""
        self._watchers: list[Changed] = []
        self._flush_watchers: list[Callable[[], None]] = []
        self._on_close: OnClose | None = on_close
        self._damage: DamagedDiskError | None = None

    @property
    def overlay(self) -> Overlay | None:
        """The overlay that writes go to, if this is one."""
        return self.disk if isinstance(self.disk, Overlay) else None

    async def reset_overlay(self) -> None:
        """Drops everything written to the overlay; raises `StorageError`."""
        overlay = self._overlay()
        written = list(overlay.written_ranges())
        await overlay.reset()
        for offset, length in written:
            self._changed(offset, length)

    async def overlay_digest(self) -> str:
        """SHA-256 in hex of what the overlay makes of its base: `Overlay.digest`.

        For an image without an overlay it is the version after a flush.
        """
        if self.overlay is not None:
            return await self.overlay.digest()
        await self.disk.flush()
        return self.disk.info.version

    @property
    def info(self) -> DiskInfo:
        read_only = self._refuses is not None
        return replace(self.disk.info, read_only=read_only, sector_size=self._sector_size)

    def data_ranges(self) -> Iterator[tuple[int, int]]:
        """Offset and length of what may be anything but zeros, in order."""
        return data_ranges(self.disk)

    def locate(self, offset: int, length: int) -> tuple[File, int] | None:
        """Where a run of bytes is in a file, if the disk below knows: see `Locating`."""
        location = locate(self.disk, offset, length)
        if location is not None and self.activity.on:
            self.activity.note("hit", offset, length, reader_level=1)
        return location

    # ── reading ──────────────────────────────────────────────────────────────────────────────────

    def try_read_into(self, offset: int, target: WritableBuffer) -> bool:
        try:
            if not self.disk.try_read_into(offset, target):
                return False
        except DamagedDiskError as error:
            self._damage = error
            raise
        if self.activity.on:
            self.activity.note("hit", offset, len(target), reader_level=1)
        return True

    async def read_into(self, offset: int, target: WritableBuffer) -> None:
        if self.activity.on:
            self.activity.note("miss", offset, len(target), reader_level=1)
        with self._noting_damage():
            await self.disk.read_into(offset, target)

    async def read(self, offset: int, length: int) -> bytes:
        check_bounds(offset, length, self.disk.info.size)
        data = bytearray(length)
        await self.read_into(offset, data)
        return bytes(data)

    # ── writing ──────────────────────────────────────────────────────────────────────────────────

    def try_write(self, offset: int, data: ReadableBuffer) -> bool:
        self._check_writable()
        try:
            if not self.disk.try_write(offset, data):
                return False
        except DamagedDiskError as error:  # of a sector that is written in part
            self._damage = error
            raise
        self._changed(offset, len(data))
        if self.activity.on:
            self.activity.note("write", offset, len(data), reader_level=1)
        return True

    async def write(self, offset: int, data: ReadableBuffer) -> None:
        self._check_writable()
        if self.activity.on:
            self.activity.note("write", offset, len(data), reader_level=1)
        try:
            with self._noting_damage():
                await self.disk.write(offset, data)
        finally:  # a write that failed may have changed something too
            self._changed(offset, len(data))

    async def flush(self) -> None:
        await self.disk.flush()
        for watcher in self._flush_watchers:
            watcher()

    async def discard(self, offset: int, length: int) -> None:
        self._check_writable()
        try:
            with self._noting_damage():
                await self.disk.discard(offset, length)
        finally:
            self._changed(offset, length)

    # ── who watches ──────────────────────────────────────────────────────────────────────────────

    def watch(self, changed: Changed) -> None:
        """Has `changed(offset, length)` called for each change, before it is acknowledged."""
        self._watchers.append(changed)

    def when_flushed(self, flushed: Callable[[], None]) -> None:
        """Has `flushed` called after each flush. It must not wait."""
        self._flush_watchers.append(flushed)

    @property
    def is_all_here(self) -> bool:
        """Whether no remote image is below."""
        return self.remote is None

    def local_ranges(self) -> Iterable[tuple[int, int]]:
        """The ranges that are stored locally."""
        if self.remote is None:
            return self.data_ranges()
        return self.disk.written_ranges() if isinstance(self.disk, Overlay) else ()

    def cached_blocks(self) -> Collection[int]:
        """The cached blocks of the remote image, if there is one below."""
        return () if self.remote is None else self.remote.cached_blocks()

    def blocks_under_way(self) -> Collection[int]:
        """The blocks that are being fetched."""
        return () if self.remote is None else self.remote.blocks_under_way()

    def profile_blocks(self) -> Collection[int]:
        """The blocks of the boot profile that it was opened with."""
        return () if self.remote is None else self.remote.profile_blocks()

    # ── everything else ──────────────────────────────────────────────────────────────────────────

    def stats(self) -> DiskStats:
        return self.disk.stats()

    def _repr_html_(self) -> str:
        from ..disk_html import disk_html

        return disk_html(self)

    async def close(self) -> None:
        on_close, self._on_close = self._on_close, None
        if on_close is None:
            return
        info: DiskInfo | None = None
        try:
            await self.disk.flush()
            # After the flush, which makes the version that the next open sees.
            info = self.disk.info
        finally:
            try:
                await self.disk.close()
            finally:
                await on_close(Closed(info, self._damage))

    @property
    def _is_open(self) -> bool:
        return self._on_close is not None

    @contextmanager
    def _noting_damage(self) -> Iterator[None]:
        try:
            yield
        except DamagedDiskError as error:
            self._damage = error
            raise

    def _changed(self, offset: int, length: int) -> None:
        self.changes += 1
        for watcher in self._watchers:
            watcher(offset, length)

    def _overlay(self) -> Overlay:
        if self.overlay is None:
            raise ReadOnlyError  # there is nothing to reset or compare
        return self.overlay

    def _check_writable(self) -> None:
        if self._refuses is not None:
            raise self._refuses()
