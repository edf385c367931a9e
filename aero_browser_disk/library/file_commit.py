"""Commits an overlay into the image file of this computer that it lies over (CPython).

The file is replaced by a new one: after an error, a kill or a power cut there is the old file or
the new one, and what the overlay holds is in the overlay, in the file, or in both.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
from pathlib import Path

from ..errors import BaseChangedError, InvalidOptionError, SourceError, StorageError
from ..formats.raw_file import RawFileDisk
from ..platform.whole_file import replaced_file
from ..records.folders import LibraryFolders
from ..records.record import OVERLAYS
from ..transfer.image_export import exported, with_holes, write_parts
from ..transfer.image_import import CopyProgress, Report
from ..writable.sector_store import SectorStore
from .open_image import LibraryDisk
from .overlay_store import overlay_store
from .overlays import LibraryOverlays, OverlayBase

FILES = "files/"
"""What begins the folder of a file as a base of overlays."""

_COMPARED_AT_ONCE = 1 << 20


def file_base(path: str | os.PathLike[str]) -> OverlayBase:
    """A file as a base of overlays, identified by a digest of its path, and its name."""
    whole = Path(path).resolve()
    digest = hashlib.sha256(os.fsencode(whole)).hexdigest()[:32]
    return OverlayBase(f"{FILES}{digest}", whole.name)


async def commit_to_path(
    folders: LibraryFolders,
    overlays: LibraryOverlays,
    path: Path,
    name: str,
    *,
    drop_overlays: bool,
    report: Report | None,
) -> None:
    """See `Library.commit_to_path`."""
    whole = _regular(path)
    base = file_base(whole)
    folder, record = await folders.find(OVERLAYS, name, base.folder)
    if not drop_overlays:
        await overlays.check_alone(folder)
    image = RawFileDisk.open(whole)
    try:
        disk = await overlays.open_over(base, image, [folder], write_base=True)
    except BaseChangedError:
        # The last commit may have been killed after it replaced the file.
        async with overlay_store(folders, folder, record) as store:
            if store is None or not await _is_all_in(store, whole):
                raise
    else:
        async with disk:
            await _replace(whole, image.info.version, disk, report)
    await overlays.reset(folder)


def _regular(path: Path) -> Path:
    """The file that a path leads to: a symbolic link stays, and leads to the new one."""
    whole = path.resolve()
    if not whole.is_file():
        raise InvalidOptionError("path", str(path), "a regular file")
    return whole


async def _replace(path: Path, version: str, disk: LibraryDisk, report: Report | None) -> None:
    """Replaces the file by what the disk is; durable when it returns."""
    size = disk.info.size

    def reached(offset: int) -> None:
        if report is not None:
            report(CopyProgress(offset, size))

    try:
        with replaced_file(path) as file:
            parts = with_holes(exported(disk, None, reached))
            async with contextlib.aclosing(parts):
                await write_parts(parts, file)
            async with RawFileDisk.open(path) as now:
                if now.info.version != version:
                    reason = "it was changed since the commit began"
                    raise SourceError(str(path), reason)
    except OSError as error:
        raise StorageError(str(path), error.strerror or str(error)) from error


async def _is_all_in(store: SectorStore, path: Path) -> bool:
    """Whether the file has all that was written to an overlay, and zeros for what was discarded."""
    size = store.contents.size
    async with RawFileDisk.open(path) as image:
        if image.info.size != size:
            return False
        for start, length, _ in store.ranges(0, size):
            stop = min(start + length, size)
            for at in range(start, stop, _COMPARED_AT_ONCE):
                data = bytearray(min(_COMPARED_AT_ONCE, stop - at))
                store.read_into(at, data)
                if await image.read(at, len(data)) != data:
                    return False
                await asyncio.sleep(0)
    return True
