"""Imports files into the library; interrupted imports can be continued."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import PurePosixPath

from ..errors import (
    DamagedImageError,
    DiskError,
    HybridImageError,
    InvalidOptionError,
    NameTakenError,
    OddSizeError,
    SourceChangedError,
    StorageError,
    UnsupportedImageError,
)
from ..platform.byte_source import SourceIdentity
from ..platform.printable import printable
from ..records.folders import LibraryFolders, checked_name
from ..records.record import IMAGES, Media, Record
from ..transfer.image_import import ImageImport, OpenedFile, Report, check_size
from ..writable.local_image import LocalImage

_LONGEST_BASE = 150
MEDIA_CHOICES = ("auto", "cd", "disk", "ask")
"""As what the image of a CD is imported that is a disk as well."""
HOPELESS = (OddSizeError, UnsupportedImageError, DamagedImageError)
"""Errors that the same file will raise every time."""
_FIRST_SIZE = 64 << 20  # of an image whose size only the end of its file says
_SUFFIX = re.compile(
    r"(?i)\.(?:gz|zst|zstd|xz|bz2|img|raw|dd|bin|ima|dsk|iso|qcow2|vhdx?|vmdk|vdi|vpc|dmp|hdd)$"
)


class LibraryImports:
    """Makes local images of files."""

    def __init__(self, folders: LibraryFolders) -> None:
        self._folders = folders
        self._storage = folders.storage

    async def run(
        self,
        file: OpenedFile,
        *,
        name: str | None = None,
        pad: bool = False,
        media: str = "auto",
        keep: bool = False,
        report: Report | None = None,
    ) -> str:
        """Imports a file as an image, named after the file unless `name` is given.

        An interrupted import of the same file under that name is continued: what is stored is
        compared with the file, and the rest is written. An import that fails can be continued too,
        from where it was, unless the file cannot be an image. A cancelled one is removed unless
        `keep` is set. A killed one is continued from where it was at most a second before. Returns
        the image's folder.

        `media` says what the image of a CD becomes that is a disk as well: "cd", which is what
        "auto" makes of it, or "disk"; with "ask", `HybridImageError` is raised. Of other files it
        says nothing.

        Raises `NameTakenError`, `SourceChangedError` when another file than this was begun,
        `OddSizeError`, `StorageFullError`, and what the file raises.
        """
        size = check_size(file.disk_size, pad=pad)
        if media not in MEDIA_CHOICES:
            raise InvalidOptionError("media", media, f"one of {', '.join(MEDIA_CHOICES)}")
        folder, record = await self._find_or_name(file, name)
        if record.state == "creating" or (file.disk.is_hybrid and media in ("cd", "disk")):
            record = replace(record, media=_media_of(file, media))
        async with self._folders.claimed(folder, record.name):
            if record.state == "creating":
                record = replace(record, state="importing", size=size)
                await self._folders.add(folder, record)
            try:
                async with self._image(folder, size or _FIRST_SIZE) as image:
                    await self._import(
                        file, image, folder, record, pad=pad, keep=keep, report=report
                    )
            except asyncio.CancelledError:
                if not keep:
                    await self._folders.remove(folder)
                raise
            except DiskError as error:
                if isinstance(error, HOPELESS):
                    await self._folders.remove(folder)
                raise
        return folder

    # ── inside ───────────────────────────────────────────────────────────────────────────────────

    async def _import(
        self,
        file: OpenedFile,
        image: LocalImage,
        folder: str,
        record: Record,
        *,
        pad: bool,
        keep: bool,
        report: Report | None,
    ) -> None:
        async def checkpoint(done: int) -> None:
            await self._folders.update(folder, done=done)

        clock = self._folders.platform.clock
        work = ImageImport(
            file,
            image,
            record.name,
            clock,
            done=record.done,
            pad=pad,
            report=report,
            checkpoint=checkpoint,
        )
        try:
            await work.run()
        except (asyncio.CancelledError, DiskError) as error:
            is_cancelled = isinstance(error, asyncio.CancelledError)
            if keep if is_cancelled else not isinstance(error, HOPELESS):
                with contextlib.suppress(StorageError):  # it broke off for another reason
                    await work.save()
            raise
        await self._folders.update(
            folder,
            state="ready",
            size=image.info.size,
            used_at=clock.now(),
            media=record.media if file.disk.is_hybrid else _media_of(file),
            version=image.info.version,
            source=None,
            done=0,
        )

    @asynccontextmanager
    async def _image(self, folder: str, size: int) -> AsyncIterator[LocalImage]:
        try:
            image = await LocalImage.open(self._storage, folder)
        except FileNotFoundError:
            image = await LocalImage.create(self._storage, folder, size)
        try:
            yield image
        finally:
            await image.close()

    async def _find_or_name(self, file: OpenedFile, name: str | None) -> tuple[str, Record]:
        """The unfinished import of that file, or a record for a new one, still being created."""
        identity = file.identity.shortened()
        records = await self._folders.all(IMAGES)
        if name is None:
            for folder, record in records.items():
                if record.state == "importing" and record.source == identity:
                    return folder, record
            name = free_name(file.identity.name, {record.name for record in records.values()})
        else:
            name = checked_name(name)
            found = [item for item in records.items() if item[1].name == name]
            if found:
                return _same_import(*found[0], identity)
        now = self._folders.platform.clock.now()
        record = Record(
            name, 0, now, now, state="creating", format=file.format.name, source=identity
        )
        return self._folders.new_folder(IMAGES), record


def _media_of(file: OpenedFile, media: str = "auto") -> Media:
    """What the image of a file becomes; raises `HybridImageError`."""
    if file.disk.is_hybrid:
        if media == "ask":
            raise HybridImageError(file.identity.name or "This")
        if media == "disk":
            return "disk"
    return "cd" if file.disk.is_cd else "disk"


def _same_import(folder: str, record: Record, identity: SourceIdentity) -> tuple[str, Record]:
    """The unfinished import, if it was begun with that file."""
    if record.state != "importing" or record.source is None:
        raise NameTakenError("image", record.name)
    begun = record.source
    for what in ("name", "size", "modified"):
        before, now = str(getattr(begun, what)), str(getattr(identity, what))
        if before != now:
            raise SourceChangedError(record.name, what, before, now)
    return folder, record


def free_name(file_name: str, taken: set[str]) -> str:
    """What to call the image of a file: its name without the extension, and not taken yet."""
    base = PurePosixPath(file_name.replace("\\", "/")).name.strip()
    while (shorter := _SUFFIX.sub("", base)) != base and shorter:
        base = shorter
    base = printable(base)[:_LONGEST_BASE] or "image"
    number, name = 1, base
    while name in taken:
        number += 1
        name = f"{base} {number}"
    return name
