"""The operations on disks: open, read, write, count, keep, close."""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import InvalidOptionError
from ..library.open_image import LibraryDisk
from ..platform.failures import Value
from ..streaming.streaming_disk import StreamingDisk
from .disk_options import read_options
from .operations import OpenDisks, Operation, checked, plain, whole
from .panel_session import OpenDisk


class DiskOperations:
    """The operations of JavaScript's `openDisk` and `Disk`."""

    def __init__(self, disks: OpenDisks[StreamingDisk | LibraryDisk], opener: OpenDisk) -> None:
        self._disks = disks
        self._open_disk = opener

    def operations(self) -> Mapping[str, Operation]:
        """The operations by name."""
        return {
            "disk.open": self._open,
            "disk.read": self._read,
            "disk.write": self._write,
            "disk.flush": self._flush,
            "disk.discard": self._discard,
            "disk.resetOverlay": self._reset_overlay,
            "disk.overlayDigest": self._overlay_digest,
            "disk.stats": self._stats,
            "disk.clearCache": self._clear_cache,
            "disk.close": self._close,
            "disk.keepWholeImage": self._keep_whole_image,
            "disk.pauseKeeping": self._pause_keeping,
            "disk.bootProfile": self._boot_profile,
        }

    async def _open(self, url: Value = None, **options: Value) -> dict[str, Value]:
        if url is not None or not options.keys() & {"image", "file"}:
            checked("url", url, (str,), "text")
        disk = await self._open_disk(url, **read_options(options))
        return {"disk": self._disks.add(disk), **plain(disk.info)}

    async def _read(self, disk: int, offset: Value, length: Value) -> bytes:
        found = self._disks[disk]
        start, count = whole("offset", offset), whole("length", length)
        try:
            return await found.read(start, count)
        except (MemoryError, OverflowError):
            expected = "few enough bytes for the memory of this browser"
            raise InvalidOptionError("length", length, expected) from None

    async def _write(self, disk: int, offset: Value, data: Value) -> None:
        if not isinstance(data, bytes | bytearray | memoryview):
            raise InvalidOptionError("data", type(data).__name__, "a Uint8Array")
        await self._disks[disk].write(whole("offset", offset), data)

    async def _flush(self, disk: int) -> None:
        await self._disks[disk].flush()

    async def _discard(self, disk: int, offset: Value, length: Value) -> None:
        await self._disks[disk].discard(whole("offset", offset), whole("length", length))

    async def _reset_overlay(self, disk: int) -> None:
        await self._library_disk(disk).reset_overlay()

    async def _overlay_digest(self, disk: int) -> str:
        found = self._disks[disk]
        if not isinstance(found, LibraryDisk):
            raise InvalidOptionError("disk", "a remote image", "a local image or an overlay")
        return await found.overlay_digest()

    async def _stats(self, disk: int) -> dict[str, Value]:
        return plain(self._disks[disk].stats())

    async def _clear_cache(self, disk: int) -> None:
        await self._remote(disk).clear_cache()

    async def _close(self, disk: int) -> None:
        found = self._disks.remove(disk)
        if found is not None:
            await found.close()

    async def _keep_whole_image(self, disk: int) -> None:
        self._remote(disk).keep_whole_image()

    async def _pause_keeping(self, disk: int) -> None:
        self._remote(disk).pause_keeping()

    async def _boot_profile(self, disk: int) -> bytes:
        return self._remote(disk).boot_profile().encode()

    def _remote(self, disk: int) -> StreamingDisk:
        """The remote disk: itself, or the base of an overlay."""
        found = self._disks[disk]
        remote = found.remote if isinstance(found, LibraryDisk) else found
        if remote is None:
            raise InvalidOptionError("disk", "a local image", "a remote image")
        return remote

    def _library_disk(self, disk: int) -> LibraryDisk:
        found = self._disks[disk]
        if not isinstance(found, LibraryDisk) or found.overlay is None:
            raise InvalidOptionError("disk", "one without an overlay", "one with an overlay")
        return found
