"""Notes damage in the records of images and overlays, and names them in errors."""

from __future__ import annotations

import contextlib

from ..errors import DamagedDiskError, DiskError, NoSuchImageError, StorageError
from ..records.folders import LibraryFolders
from ..records.record import Record


async def noted(
    folders: LibraryFolders, folder: str, record: Record, error: DamagedDiskError
) -> DamagedDiskError:
    """The error with the name of the image or overlay; the damage is noted in its record."""
    await note(folders, folder, error.reason)
    return DamagedDiskError(
        error.path, error.reason, offset=error.offset, length=error.length, image=record.name
    )


async def missing(folders: LibraryFolders, folder: str, record: Record) -> DiskError:
    """The error for a missing or empty file of an image or overlay whose record says that it has
    data. `NoSuchImageError` when the record is gone too: another tab has just removed both.
    """
    reason = "its file is gone, or empty, with all that was written to it"
    if not await note(folders, folder, reason):
        return NoSuchImageError("image" if record.base is None else "overlay", record.name)
    advice = "Put its file back, or reset it to begin anew."
    if record.base is None:
        advice = "Put its file back, or remove it."
    return DamagedDiskError(folder, reason, image=record.name, advice=advice)


async def note_met(folders: LibraryFolders, error: DamagedDiskError | None) -> None:
    """Notes damage that was found while a disk was open, in its own record or its base's."""
    if error is not None:
        await note(folders, error.path.rpartition("/")[0], error.reason)


async def note(folders: LibraryFolders, folder: str, damage: str | None) -> bool:
    """Notes damage in a record; false when there is no record. A failure to note it is ignored."""
    with contextlib.suppress(StorageError):
        record = await folders.update(folder, damage=damage)
        return record is not None and record.state != "removing"
    return True
