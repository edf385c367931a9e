"""The file of an overlay, opened without its base."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from ..errors import DamagedDiskError
from ..records.folders import LibraryFolders
from ..records.record import SECTORS, Record
from ..writable.sector_store import SectorStore
from .damage import missing, noted


@contextlib.asynccontextmanager
async def overlay_store(
    folders: LibraryFolders, folder: str, record: Record
) -> AsyncIterator[SectorStore | None]:
    """Claims an overlay and opens its file; None when it was reset, and is empty.

    Raises `ImageBusyError` while it is open, `DamagedDiskError` and other `StorageError`s.
    """
    async with folders.claimed(folder, record.name):
        try:
            store = await SectorStore.open(
                folders.storage,
                f"{folder}/{SECTORS}",
                known_version=record.version,
                name=record.name,
            )
        except DamagedDiskError as error:
            raise await noted(folders, folder, record, error) from error
        if store is None and record.state != "empty":
            raise await missing(folders, folder, record)
        try:
            yield store
        finally:
            if store is not None:
                store.close()
