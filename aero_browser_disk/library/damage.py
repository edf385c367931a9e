"""What the library does with damage that it finds: it is noted, and named as the user knows it."""

from __future__ import annotations

import contextlib

from ..errors import DamagedDiskError, StorageError
from ..records.folders import LibraryFolders
from ..records.record import Record


async def noted(
    folders: LibraryFolders, folder: str, record: Record, error: DamagedDiskError
) -> DamagedDiskError:
    """The error with the name of the image or overlay, of which the record says so from now on."""
    await note(folders, folder, error.reason)
    return DamagedDiskError(
        error.path, error.reason, offset=error.offset, length=error.length, image=record.name
    )


async def missing(folders: LibraryFolders, folder: str, record: Record) -> DamagedDiskError:
    """What to raise when there was data, says the record, and its file is gone or empty."""
    reason = "its file is gone, or empty, with all that was written to it"
    await note(folders, folder, reason)
    advice = "Put its file back, or reset it to begin anew."
    if record.base is None:
        advice = "Put its file back, or remove it."
    return DamagedDiskError(folder, reason, image=record.name, advice=advice)


async def note_met(folders: LibraryFolders, error: DamagedDiskError | None) -> None:
    """Notes what was met while a disk was open, if anything: in its own record, or its base's."""
    if error is not None:
        await note(folders, error.path.rpartition("/")[0], error.reason)


async def note(folders: LibraryFolders, folder: str, damage: str | None) -> None:
    """Notes in a record what was found. That it cannot be noted is no reason to fail."""
    with contextlib.suppress(StorageError):
        await folders.update(folder, damage=damage)
