"""Locks among the processes that share a folder: files in it that are locked."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Collection
from pathlib import Path

from ...errors import StorageBusyError
from .folder_storage import FolderFile, FolderStorage

_LOCK_POLL_S = 0.05


class FolderLock:
    """A `Lock` that is a locked file; the system frees it when the process dies.

    The file is removed when the lock is released, so that none remain of removed images.
    """

    def __init__(self, file: FolderFile, path: Path) -> None:
        self._file: FolderFile | None = file
        self._path = path

    def release(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            self._path.unlink(missing_ok=True)  # while it is locked, so it is still this file
            file.close()


class FolderLocks:
    """`Locks` among the processes that share a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files = FolderStorage(folder)

    async def acquire(self, name: str, timeout_s: float | None) -> FolderLock | None:
        deadline = time.monotonic() + (math.inf if timeout_s is None else timeout_s)
        file_name = name.replace("/", "-")
        while True:
            try:
                file = await self._files.open(file_name)
                if file.is_at(self._folder / file_name):
                    return FolderLock(file, self._folder / file_name)
                file.close()  # its last holder removed it: try again with a new file
            except StorageBusyError:
                if time.monotonic() >= deadline:
                    return None
                await asyncio.sleep(_LOCK_POLL_S)

    async def held(self, names: Collection[str]) -> set[str]:
        held = set()
        for name in names:
            lock = await self.acquire(name, 0.0)
            if lock is None:
                held.add(name)
            else:
                lock.release()
        return held
