"""The platform in CPython on POSIX: a folder of files, sockets, file locks.

- `http_client`: the standard library's HTTP client, each call in a thread.
- `folder_storage`: files below a folder. `folder_locks`: locks among processes.
"""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

from ..base import Platform
from ..user_folders import LASTING
from .folder_locks import FolderLocks
from .folder_storage import FolderStorage
from .http_client import CpythonHttp, CpythonResponse

__all__ = [
    "CpythonClock",
    "CpythonHttp",
    "CpythonResponse",
    "FolderLocks",
    "FolderStorage",
    "cpython_platform",
]


def cpython_platform(
    folder: str | os.PathLike[str], data: str | os.PathLike[str] | None = None
) -> Platform:
    """The platform of a CPython process that keeps its files in `folder`.

    What lasts (`user_folders.LASTING`) is in the folder `data`, if that is given.
    """
    root = Path(folder)
    lasting = root if data is None else Path(data)
    storage = FolderStorage(root, dict.fromkeys(LASTING, lasting))
    return Platform(CpythonHttp(), storage, FolderLocks(lasting / "locks"), CpythonClock())


class CpythonClock:
    """The system's clock."""

    def now(self) -> float:
        return time.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
