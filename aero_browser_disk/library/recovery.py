"""Saves what is intact of a damaged image or overlay."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from ..errors import DamagedDiskError, ImageBusyError, StorageBusyError
from ..records.folders import LibraryFolders
from ..records.record import SECTORS, Record
from ..transfer.image_import import CopyProgress, Report
from ..writable.local_image import LocalImage
from ..writable.salvage import IntactRange, Salvage
from ..writable.sector_store import SectorStore
from .catalog import LibraryEntry

_AT_ONCE = 256  # ranges between two yields to other tasks
_COMMIT_EVERY = 4096  # ranges


@dataclass(frozen=True, slots=True)
class Recovery:
    """What was saved of a damaged image or overlay.

    `lost` has offset and length of what could not be read, in order; it is zeros in `entry`. If
    `is_latest` is false, the last flushes are missing: the rest is the state after an earlier one.
    """

    entry: LibraryEntry
    lost: tuple[tuple[int, int], ...]
    is_latest: bool


async def open_salvage(folders: LibraryFolders, folder: str, record: Record) -> Salvage:
    """Opens the data of a claimed folder to save what is intact.

    Raises `DamagedDiskError` when nothing is.
    """
    try:
        return await Salvage.open(folders.storage, f"{folder}/{SECTORS}", record.version)
    except StorageBusyError as error:
        raise ImageBusyError(record.name) from error
    except FileNotFoundError as error:
        reason, advice = "its file is gone", "There is nothing to recover."
        raise DamagedDiskError(folder, reason, image=record.name, advice=advice) from error


async def copy_intact(
    salvage: Salvage, target: LocalImage | SectorStore, report: Report | None = None
) -> tuple[tuple[int, int], ...]:
    """Writes what is intact to a blank image, or to the store of a new overlay, and flushes it.

    Returns what is lost, in order.
    """
    size = salvage.contents.size
    lost: list[tuple[int, int]] = []
    for number, found in enumerate(salvage.ranges()):
        if found.is_lost:
            if lost and sum(lost[-1]) == found.offset:
                lost[-1] = lost[-1][0], lost[-1][1] + found.length
            else:
                lost.append((found.offset, found.length))
        _write(target, found)
        if number % _AT_ONCE == 0:
            if report is not None:
                report(CopyProgress(found.offset, size))
            await asyncio.sleep(0)
        if number % _COMMIT_EVERY == _COMMIT_EVERY - 1:
            await _flush(target)
    await _flush(target)
    return tuple(lost)


def _write(target: LocalImage | SectorStore, found: IntactRange) -> None:
    if isinstance(target, LocalImage):
        if found.data is not None:
            target.try_write(found.offset, found.data)
    elif found.data is not None:
        target.write(found.offset, found.data)
    else:
        target.discard(found.offset, found.length, hide=True)


async def _flush(target: LocalImage | SectorStore) -> None:
    if isinstance(target, LocalImage):
        await target.flush()
    else:
        target.commit()
