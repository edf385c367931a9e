"""Local images by name: create, open, copy, resize, recover, remove."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

from ..disk import CD_SECTOR_SIZE, SECTOR_SIZE, Disk, data_ranges
from ..errors import (
    DamagedDiskError,
    HasOverlaysError,
    ImageBusyError,
    OddSizeError,
    ReadOnlyError,
    StorageBusyError,
    StorageError,
    UnfinishedImportError,
)
from ..platform.chunks import data_runs
from ..records.folders import LibraryFolders
from ..records.record import IMAGES, OVERLAYS, Record
from ..transfer.image_import import CopyProgress, Report
from ..writable.local_image import LocalImage
from .catalog import names_of
from .damage import missing, note, note_met, noted
from .open_bases import open_shared
from .open_image import Closed, LibraryDisk, Refusal
from .recovery import copy_intact, open_salvage

MIB = 1 << 20
_COPIED_AT_ONCE = 4 * MIB
_SAME_USE_S = 60.0  # of opening only: noting the close too takes as long as opening
WRITE_CONSENT = "write_base=True in Python, writeBase: true in JavaScript"
DROP_CONSENT = "drop_overlays=True in Python, dropOverlays: true in JavaScript"


class LibraryImages:
    """The images below `images/`. Names may be ids everywhere."""

    def __init__(self, folders: LibraryFolders) -> None:
        self._folders = folders
        self._storage = folders.storage

    async def create(self, name: str, size: int) -> str:
        """Makes a blank image of `size` bytes, a multiple of 512; returns its folder.

        It takes almost no space until it is written. Raises `NameTakenError`, `OddSizeError`,
        `InvalidOptionError` and `StorageError`.
        """
        if size % SECTOR_SIZE:
            raise OddSizeError(size)
        async with self.making(name, size) as (folder, image):
            await image.flush()
        return folder

    async def open(self, name: str, *, write_base: bool = False) -> LibraryDisk:
        """Opens an image to read and write.

        A CD is read-only. So is an image that has overlays, unless with `write_base`, since a
        change would make them useless. What is read-only can be open here several times. Raises
        `NoSuchImageError`, `ImageBusyError`, `UnfinishedImportError` and `StorageError`.
        """
        folder, record = await self._folders.find(IMAGES, name)
        return await self.open_found(folder, record, write_base=write_base)

    async def open_found(
        self, folder: str, record: Record, *, write_base: bool = False
    ) -> LibraryDisk:
        """As `open`, of an image whose record was read just now."""
        refuses = await self._refusal(folder, record, write_base=write_base)
        disk: Disk
        if refuses is None:
            disk, release = await self.claim(folder, record)
        else:
            disk, release = await self.share(folder, record), _nothing

        noting = asyncio.ensure_future(self._note(folder))  # nobody need wait for it
        opened_at = self._folders.platform.clock.now()

        async def on_close(closed: Closed) -> None:
            try:
                await noting
            finally:
                release()
            await note_met(self._folders, closed.damage)
            info = closed.info
            if info is None:
                self._folders.notify(folder)
                return
            is_noted = (record.size, record.version) == (info.size, info.version)
            if is_noted and self._folders.platform.clock.now() - opened_at < _SAME_USE_S:
                self._folders.notify(folder)  # the other tabs see that it is closed
                return
            await self._note(folder, size=info.size, version=info.version)

        sector_size = CD_SECTOR_SIZE if record.media == "cd" else SECTOR_SIZE
        return LibraryDisk(
            disk, folder=folder, sector_size=sector_size, refuses=refuses, on_close=on_close
        )

    async def share(self, folder: str, record: Record) -> Disk:
        """Opens the image in a folder to read, shared with other readers in this tab."""
        return await open_shared(self._storage, folder, lambda: self.claim(folder, record))

    async def claim(self, folder: str, record: Record) -> tuple[LocalImage, Callable[[], None]]:
        """Opens the image in a folder exclusively; also returns what releases the claim."""
        if record.state == "importing":
            raise UnfinishedImportError(record.name)
        lock = await self._folders.claim(folder, record.name)
        try:
            image = await LocalImage.open(
                self._storage, folder, known_version=record.version, name=record.name
            )
            if record.damage is not None:
                await note(self._folders, folder, None)  # damage that is still there is found again
        except BaseException as error:
            lock.release()
            if isinstance(error, StorageBusyError):
                raise ImageBusyError(record.name) from error
            if isinstance(error, FileNotFoundError):
                raise await missing(self._folders, folder, record) from error
            if isinstance(error, DamagedDiskError):
                raise await noted(self._folders, folder, record, error) from error
            raise
        return image, lock.release

    async def resize(
        self, name: str, size: int, *, cut: bool = False, drop_overlays: bool = False
    ) -> None:
        """Grows an image, with zeros, or shrinks it.

        Raises `DataCutError` when that would cut off data, unless with `cut`, `HasOverlaysError`
        unless with `drop_overlays`, and what `open` does.
        """
        if size % SECTOR_SIZE:
            raise OddSizeError(size)
        folder, record = await self._folders.find(IMAGES, name)
        await self._check_overlays(folder, record, DROP_CONSENT, consent=drop_overlays)
        image, release = await self.claim(folder, record)
        try:
            await image.resize(size, cut=cut)
            version = image.info.version
            await image.close()
        finally:
            await image.close()
            release()
        await self._note(folder, size=size, version=version)

    async def duplicate(self, name: str, new_name: str, *, report: Report | None = None) -> str:
        """Copies an image, its holes as holes; returns the copy's folder. Raises as `open`."""
        folder, record = await self._folders.find(IMAGES, name)
        source, release = await self.claim(folder, record)
        try:
            options = {"media": record.media, "format": record.format}
            async with self.making(new_name, source.info.size, **options) as (made, copy):
                await copy_disk(source, copy, report)
        finally:
            await source.close()
            release()
        return made

    async def recover(
        self, name: str, new_name: str, *, report: Report | None = None
    ) -> tuple[str, tuple[tuple[int, int], ...], bool]:
        """Saves what is intact of an image in a new one: `Recovery`.

        Returns its folder, what is lost, and whether the rest is as it was last.
        """
        folder, record = await self._folders.find(IMAGES, name)
        async with self._folders.claimed(folder, record.name):
            salvage = await open_salvage(self._folders, folder, record)
            with contextlib.closing(salvage):
                options = {"media": record.media, "format": record.format}
                size = salvage.contents.size
                async with self.making(new_name, size, **options) as (made, image):
                    lost = await copy_intact(salvage, image, report)
        return made, lost, salvage.is_latest

    async def remove(self, name: str, *, drop_overlays: bool = False) -> None:
        """Removes an image, or an import that broke off.

        Raises `HasOverlaysError` unless with `drop_overlays`, which removes them too;
        `NoSuchImageError`, and `ImageBusyError` while it or one of them is open.
        """
        folder, record = await self._folders.find(IMAGES, name)
        overlays = await self.overlays_of(folder)
        await self._check_overlays(folder, record, DROP_CONSENT, consent=drop_overlays)
        async with contextlib.AsyncExitStack() as claims:
            await claims.enter_async_context(self._folders.claimed(folder, record.name))
            for overlay, found in overlays.items():
                await claims.enter_async_context(self._folders.claimed(overlay, found.name))
            for overlay in reversed(overlays):
                await self._folders.remove(overlay)
            await self._folders.remove(folder)

    async def overlays_of(self, folder: str) -> dict[str, Record]:
        """The overlays over an image and those over them, each after its base."""
        everything = await self._folders.all(OVERLAYS)
        found: dict[str, Record] = {}
        bases = [folder]
        for base in bases:
            over = {name: record for name, record in everything.items() if record.base == base}
            found |= over
            bases += over
        return found

    @contextlib.asynccontextmanager
    async def making(
        self, name: str, size: int, **fields: Any
    ) -> AsyncIterator[tuple[str, LocalImage]]:
        """A new image for a `with` block: kept if the block succeeds, removed if it raises."""
        folder = self._folders.new_folder(IMAGES)
        now = self._folders.platform.clock.now()
        record = Record(name, size, now, now, state="creating", **fields)
        async with self._folders.claimed(folder, name):
            await self._folders.add(folder, record)
            try:
                image = await LocalImage.create(self._storage, folder, size)
                try:
                    yield folder, image
                    version = image.info.version
                finally:
                    await image.close()
                await self._folders.update(folder, state="ready", version=version)
            except BaseException:
                await self._folders.remove(folder)
                raise

    # ── inside ───────────────────────────────────────────────────────────────────────────────────

    async def _refusal(self, folder: str, record: Record, *, write_base: bool) -> Refusal | None:
        if record.media == "cd":
            return ReadOnlyError
        overlays = names_of((await self.overlays_of(folder)).values())
        if not overlays or write_base:
            return None
        return lambda: HasOverlaysError(record.name, overlays, WRITE_CONSENT)

    async def _check_overlays(
        self, folder: str, record: Record, words: str, *, consent: bool
    ) -> None:
        overlays = names_of((await self.overlays_of(folder)).values())
        if overlays and not consent:
            raise HasOverlaysError(record.name, overlays, words)

    async def _note(self, folder: str, **changes: Any) -> None:
        """Notes a use. A failure to note it, such as a full storage, is ignored."""
        with contextlib.suppress(StorageError):
            now = self._folders.platform.clock.now()
            await self._folders.update(folder, used_at=now, **changes)


def _nothing() -> None:
    """Releases nothing: the last user of a shared image releases it."""


async def copy_disk(source: Disk, target: LocalImage, report: Report | None = None) -> None:
    """Writes all that a disk holds into a blank image of its size, and flushes it."""
    size = source.info.size
    for start, length in data_ranges(source):
        for offset in range(start, start + length, _COPIED_AT_ONCE):
            data = await source.read(offset, min(_COPIED_AT_ONCE, start + length - offset))
            for begin, end in data_runs(data):
                with memoryview(data)[begin:end] as run:
                    await target.write(offset + begin, run)
            if report is not None:
                report(CopyProgress(offset + len(data), size))
            await asyncio.sleep(0)
    await target.flush()
