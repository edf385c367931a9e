"""The operations on disks: open, read, count, keep, close."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

from .disk_options import read_options
from .errors import InvalidOptionError
from .operations import OpenDisks, Operation, Value, camel_keys, whole
from .panel_session import OpenDisk
from .streaming_disk import StreamingDisk


class DiskOperations:
    """What `openDisk` and a `Disk` of JavaScript ask for."""

    def __init__(self, disks: OpenDisks[StreamingDisk], opener: OpenDisk) -> None:
        self._disks = disks
        self._open_disk = opener

    def operations(self) -> Mapping[str, Operation]:
        """The operations by name."""
        return {
            "disk.open": self._open,
            "disk.read": self._read,
            "disk.stats": self._stats,
            "disk.clearCache": self._clear_cache,
            "disk.close": self._close,
            "disk.keepWholeImage": self._keep_whole_image,
            "disk.pauseKeeping": self._pause_keeping,
            "disk.bootProfile": self._boot_profile,
        }

    async def _open(self, url: Value, **options: Value) -> dict[str, Value]:
        if not isinstance(url, str):
            raise InvalidOptionError("url", url, "text")
        disk = await self._open_disk(url, **read_options(options))
        return {"disk": self._disks.add(disk), **camel_keys(asdict(disk.info))}

    async def _read(self, disk: int, offset: Value, length: Value) -> bytes:
        found = self._disks[disk]
        return await found.read(whole("offset", offset), whole("length", length))

    async def _stats(self, disk: int) -> dict[str, Value]:
        return camel_keys(asdict(self._disks[disk].stats()))

    async def _clear_cache(self, disk: int) -> None:
        await self._disks[disk].clear_cache()

    async def _close(self, disk: int) -> None:
        found = self._disks.remove(disk)
        if found is not None:
            await found.close()

    async def _keep_whole_image(self, disk: int) -> None:
        self._disks[disk].keep_whole_image()

    async def _pause_keeping(self, disk: int) -> None:
        self._disks[disk].pause_keeping()

    async def _boot_profile(self, disk: int) -> bytes:
        return self._disks[disk].boot_profile().encode()
