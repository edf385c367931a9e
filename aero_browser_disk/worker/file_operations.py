"""The operations on the files of open disks: list, stat, read, extents, and the file at an
offset."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

from ..disk import Disk
from ..file_systems import DiskFiles
from ..platform.failures import Value
from .operations import AnyDisk, OpenDisks, Operation, plain, text, whole


class FileOperations:
    """The operations of JavaScript's `Files`."""

    def __init__(self, disks: OpenDisks[AnyDisk]) -> None:
        self._disks = disks
        self._files: dict[int, DiskFiles] = {}

    def operations(self) -> Mapping[str, Operation]:
        """The operations by name."""
        return {
            "files.list": self._list,
            "files.stat": self._stat,
            "files.lstat": self._lstat,
            "files.read": self._read,
            "files.extents": self._extents,
            "files.where": self._where,
        }

    async def _list(self, disk: int, path: Value) -> dict[str, Value]:
        listing = await self.of(disk).list(text("path", path))
        return {"entries": [plain(e) for e in listing.entries], "complete": listing.complete}

    async def _stat(self, disk: int, path: Value) -> dict[str, Value]:
        return plain(await self.of(disk).stat(text("path", path)))

    async def _lstat(self, disk: int, path: Value) -> dict[str, Value]:
        return plain(await self.of(disk).stat(text("path", path), follow_links=False))

    async def _read(self, disk: int, path: Value, offset: Value, length: Value) -> bytes:
        start, count = whole("offset", offset), whole("length", length)
        return await self.of(disk).read(text("path", path), start, count)

    async def _extents(self, disk: int, path: Value) -> list[dict[str, Value]]:
        return [plain(extent) for extent in await self.of(disk).extents(text("path", path))]

    async def _where(self, disk: int, offset: Value) -> dict[str, Value]:
        return asdict(await self.of(disk).where(whole("offset", offset)))

    def disk(self, number: int) -> Disk:
        """An open disk; raises `DiskClosedError`."""
        return self._disks[number]

    def of(self, number: int) -> DiskFiles:
        """The files of an open disk; known extents are kept while it is open."""
        disk = self._disks[number]
        if number not in self._files:
            self._files[number] = DiskFiles(disk)
            self._disks.when_removed(number, lambda: self._forget(number))
        return self._files[number]

    def _forget(self, number: int) -> None:
        self._files.pop(number, None)
