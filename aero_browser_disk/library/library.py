"""The images, overlays and caches of this origin (or folder): the library."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path

from ..disk import Disk
from ..errors import (
    InvalidOptionError,
    RemoteImagesDisabledError,
    StorageError,
    StorageUnavailableError,
)
from ..platform import current_platform
from ..platform.base import Channel, Credentials, Platform
from ..platform.byte_source import ByteSource, BytesSource, ByteStream, PathSource, SourceIdentity
from ..platform.opening import ClosesOnExit, opening
from ..records.folders import CHANNEL, LibraryFolders
from ..records.record import CACHES, IMAGES, OVERLAYS
from ..remote.access import Access, ImageAddress, Renew
from ..remote.remote_source import RemoteSource, remote_file
from ..transfer.image_export import (
    SUFFIXES,
    Compression,
    ForeignPart,
    Part,
    exported,
    exported_foreign,
    packer_for,
    write_to_path,
)
from ..transfer.image_import import OpenedFile, Report
from .catalog import LibraryCatalog, LibraryEntry, LibraryUsage
from .file_commit import commit_to_path
from .images import LibraryImages, copy_disk
from .open_image import LibraryDisk
from .overlays import LibraryOverlays, OverlayBase
from .recovery import Recovery
from .transfers import LibraryImports


class ExportFile:
    """An export in progress: the name of the file, and its bytes in order."""

    def __init__(self, name: str, size: int) -> None:
        self.name = name
        self.size = size
        """Bytes of the disk."""
        self.done = 0
        """Bytes of the disk that were exported so far."""
        self.parts: AsyncIterator[Part] = _nothing()
        self.foreign_parts: AsyncIterator[Part | ForeignPart] = self.parts
        """The same for a page: some may be in JavaScript's memory. Use either, not both."""


class Library(ClosesOnExit):
    """Everything that is kept here. Names of images may be ids, as `list` returns them.

    All tabs of an origin share one library. What is open in one tab cannot be opened, changed or
    removed in another: `ImageBusyError`. Each tab sees the changes of the others.
    """

    def __init__(self, platform: Platform) -> None:
        self._folders = LibraryFolders(platform)
        self._catalog = LibraryCatalog(self._folders)
        self._images = LibraryImages(self._folders)
        self._imports = LibraryImports(self._folders)
        self.overlays = LibraryOverlays(self._folders, self._images)
        """The overlays over images, by name."""

    @classmethod
    @opening
    async def open(cls, platform: Platform | None = None) -> Library:
        """The library of this platform; raises `StorageUnavailableError` where storage is not
        durable."""
        platform = platform or await current_platform()
        if platform.storage.kind == "memory":
            raise StorageUnavailableError(
                "what is kept here would be gone with the page: a private window, or no secure "
                "context"
            )
        return cls(platform)

    # ── what there is ────────────────────────────────────────────────────────────────────────────

    async def list(self) -> list[LibraryEntry]:
        """All images, overlays and caches, the most recently used first."""
        return await self._catalog.entries()

    async def usage(self) -> LibraryUsage:
        """How much space is taken, by what, and the quota."""
        return await self._catalog.usage()

    async def prune(
        self,
        *,
        unused_for_s: float | None = None,
        keep_bytes: int | None = None,
        kinds: Collection[str] = ("cache",),
        dry_run: bool = True,
    ) -> Sequence[LibraryEntry]:
        """Removes caches and interrupted imports: see `LibraryCatalog.prune`."""
        for kind in kinds:
            if kind not in ("cache", "import"):
                raise InvalidOptionError("kinds", kind, '"cache" or "import"')
        return await self._catalog.prune(
            unused_for_s=unused_for_s, keep_bytes=keep_bytes, kinds=kinds, dry_run=dry_run
        )

    def watch(self, changed: Callable[[str], None]) -> Channel | None:
        """Calls `changed` with the id of what another tab changes, until the channel is closed."""
        channels = self._folders.platform.channels
        if channels is None:
            return None
        return channels.open(CHANNEL, lambda message: changed(str(message.get("changed", ""))))

    # ── images ───────────────────────────────────────────────────────────────────────────────────

    async def create(self, name: str, size: int) -> LibraryEntry:
        """Makes a blank image of `size` bytes, which takes almost no space: `LibraryImages`."""
        return await self._catalog.entry(await self._images.create(name, size))

    @opening
    async def open_image(
        self, name: str, overlays: Sequence[str] = (), *, write_base: bool = False
    ) -> LibraryDisk:
        """Opens an image, or overlays over it, each over the one before."""
        if not overlays:
            return await self._images.open(name, write_base=write_base)
        return await self.overlays.open_over_image(name, overlays, write_base=write_base)

    async def rename(self, name: str, new_name: str) -> LibraryEntry:
        """Renames an image, or an overlay by its id. What is open stays open."""
        folder, _ = await self._folders.find(_kind(name), name)
        await self._folders.update(folder, name=new_name)
        if folder.startswith(IMAGES):
            await self.overlays.note_base_name(folder, new_name)
        return await self._catalog.entry(folder)

    async def duplicate(
        self, name: str, new_name: str, *, report: Report | None = None
    ) -> LibraryEntry:
        """Copies an image: `LibraryImages.duplicate`."""
        folder = await self._images.duplicate(name, new_name, report=report)
        return await self._catalog.entry(folder)

    async def resize(
        self, name: str, size: int, *, cut: bool = False, drop_overlays: bool = False
    ) -> None:
        """Makes an image larger or smaller: `LibraryImages.resize`."""
        await self._images.resize(name, size, cut=cut, drop_overlays=drop_overlays)

    async def recover(self, name: str, new_name: str, *, report: Report | None = None) -> Recovery:
        """Saves what is intact of a damaged image in a new one, or of an overlay, by its id.

        The damaged one is not changed. Single flipped bits are corrected; what is lost is zeros in
        the new one, and listed. Raises `NoSuchImageError`, `ImageBusyError`, `NameTakenError`,
        `DamagedDiskError` when nothing can be saved, and other `StorageError`s.
        """
        of = self.overlays if _kind(name) == OVERLAYS else self._images
        folder, lost, is_latest = await of.recover(name, new_name, report=report)
        return Recovery(await self._catalog.entry(folder), lost, is_latest)

    async def remove(self, name: str, *, drop_overlays: bool = False) -> None:
        """Removes an image, or by its id an overlay or a cache.

        Raises `NoSuchImageError`, `ImageBusyError`, and `HasOverlaysError` unless `drop_overlays`
        consents to losing what lies over it.
        """
        kind = _kind(name)
        if kind == CACHES:
            await self._catalog.remove_cache(name)
        elif kind == OVERLAYS:
            await self.overlays.remove(name, drop_overlays=drop_overlays)
        else:
            await self._images.remove(name, drop_overlays=drop_overlays)

    # ── in and out ───────────────────────────────────────────────────────────────────────────────

    async def import_source(
        self,
        source: ByteSource,
        identity: SourceIdentity,
        *,
        is_pinned: bool = False,
        name: str | None = None,
        pad: bool = False,
        media: str = "auto",
        format: str = "auto",  # noqa: A002
        keep: bool = False,
        report: Report | None = None,
    ) -> LibraryEntry:
        """Imports a source that can be read at any offset: see `OpenedFile.of_source`,
        `LibraryImports.run`."""
        file = await OpenedFile.of_source(source, identity, is_pinned=is_pinned, format=format)
        folder = await self._imports.run(
            file, name=name, pad=pad, media=media, keep=keep, report=report
        )
        return await self._catalog.entry(folder)

    async def import_stream(
        self,
        stream: ByteStream,
        identity: SourceIdentity,
        *,
        name: str | None = None,
        pad: bool = False,
        media: str = "auto",
        format: str = "auto",  # noqa: A002
        keep: bool = False,
        report: Report | None = None,
    ) -> LibraryEntry:
        """Imports a stream: see `OpenedFile.of_stream`, `LibraryImports.run`."""
        file = await OpenedFile.of_stream(stream, identity, format=format)
        folder = await self._imports.run(
            file, name=name, pad=pad, media=media, keep=keep, report=report
        )
        return await self._catalog.entry(folder)

    async def import_bytes(
        self,
        data: bytes,
        name: str,
        *,
        pad: bool = False,
        media: str = "auto",
        format: str = "auto",  # noqa: A002
    ) -> LibraryEntry:
        """Imports bytes in memory."""
        identity = SourceIdentity(name, len(data), "")
        return await self.import_source(
            BytesSource(data), identity, name=name, pad=pad, media=media, format=format
        )

    async def import_path(
        self,
        path: str | Path,
        *,
        name: str | None = None,
        pad: bool = False,
        media: str = "auto",
        format: str = "auto",  # noqa: A002
        report: Report | None = None,
    ) -> LibraryEntry:
        """Imports a file of this machine, as the disk of that format: see `open_layout`."""
        with PathSource(path) as source:
            return await self.import_source(
                source,
                source.identity,
                name=name,
                pad=pad,
                media=media,
                format=format,
                keep=True,
                report=report,
            )

    async def import_url(
        self,
        url: str,
        *,
        allow_remote: bool = False,
        headers: Mapping[str, str] | None = None,
        credentials: Credentials = "same-origin",
        renew: Renew | None = None,
        expires_at: float | None = None,
        timeout_s: float = 30.0,
        name: str | None = None,
        pad: bool = False,
        media: str = "auto",
        format: str = "auto",  # noqa: A002
        keep: bool = False,
        report: Report | None = None,
    ) -> LibraryEntry:
        """Imports an image from a server, also from one without ranges, which cannot be streamed.

        An interrupted import continues if the server supports ranges and sends a validator, else it
        starts again. The options are those of `open_disk`; raises what `RemoteImage.probe` does.
        """
        if not allow_remote:
            raise RemoteImagesDisabledError
        platform = self._folders.platform
        address = ImageAddress.parse(url, headers, credentials, timeout_s)
        found = await remote_file(platform, Access(address, platform.clock, renew, expires_at))
        if isinstance(found, RemoteSource):
            file = await OpenedFile.of_source(
                found, found.identity, is_pinned=found.is_pinned, format=format
            )
        else:
            stream = await found.open()
            file = await OpenedFile.of_stream(stream, found.identity, format=format)
        folder = await self._imports.run(
            file, name=name, pad=pad, media=media, keep=keep, report=report
        )
        return await self._catalog.entry(folder)

    async def import_overlay(
        self, stream: ByteStream, base: OverlayBase, name: str
    ) -> LibraryEntry:
        """Creates an overlay over `base` from an exported file: see
        `LibraryOverlays.import_file`."""
        return await self._catalog.entry(await self.overlays.import_file(stream, base, name))

    async def import_disk(
        self, disk: Disk, name: str, *, report: Report | None = None
    ) -> LibraryEntry:
        """Copies an open disk to a new image; missing blocks are downloaded.

        This is how an overlay over a remote image is committed. Raises `NameTakenError`,
        `StorageFullError` and other `StorageError`s, and what reading the disk does.
        """
        async with self._images.making(name, disk.info.size) as (folder, image):
            await copy_disk(disk, image, report)
        return await self._catalog.entry(folder)

    @contextlib.asynccontextmanager
    async def exporting(
        self,
        name: str,
        overlays: Sequence[str] = (),
        *,
        compress: Compression | None = None,
        open_disks: Iterable[LibraryDisk] = (),
    ) -> AsyncIterator[ExportFile]:
        """An image, with its overlays applied if any are named, as a file: raw or compressed.

        It cannot be opened elsewhere meanwhile. If it is one of `open_disks`, its current content
        is exported; a write to it before the end is a `StorageError`. The id of an overlay exports
        the overlay alone (`LibraryOverlays.exporting`). Raises what `open_image` and `exported` do.
        """
        packer_for(compress)
        if _kind(name) == OVERLAYS:
            async with self.overlays.exporting(name, open_disks=open_disks) as (found, content):
                overlay = ExportFile(f"{found.name}.overlay", found.size)
                overlay.parts = overlay.foreign_parts = content
                yield overlay
            return
        folder, record = await self._folders.find(IMAGES, name)
        top = await self.overlays.top_of(folder, overlays)
        found_open = next((disk for disk in open_disks if top and disk.folder == top), None)
        if found_open is not None:
            disk = found_open
        elif overlays:
            disk = await self.open_image(folder, overlays)
        else:
            disk = await self._images.open_found(folder, record)
        suffix = ".iso" if record.media == "cd" and not overlays else ".img"
        file_name = "-".join([record.name, *overlays]) + suffix + SUFFIXES[compress]
        file = ExportFile(file_name, disk.info.size)
        changes = disk.changes

        def reached(offset: int) -> None:
            if disk.changes != changes:
                raise StorageError(record.name, "it was written to during its export")
            file.done = offset

        file.parts = parts = exported(disk, compress, reached)
        foreign_parts = exported_foreign(disk, reached)
        file.foreign_parts = parts if compress else foreign_parts
        try:
            await disk.flush()
            yield file
        finally:
            await parts.aclose()
            await foreign_parts.aclose()
            if found_open is None:
                await disk.close()

    async def export_to_path(
        self,
        name: str,
        path: str | Path,
        overlays: Sequence[str] = (),
        *,
        compress: Compression | None = None,
    ) -> int:
        """Exports to a file of this machine; returns its size."""
        async with self.exporting(name, overlays, compress=compress) as file:
            return await write_to_path(file.parts, Path(path))

    async def commit_to_path(
        self,
        path: str | Path,
        overlay: str,
        *,
        drop_overlays: bool = False,
        report: Report | None = None,
    ) -> None:
        """Writes an overlay into the raw image file that it lies over: all or nothing.

        A new file takes the place of the old one. After a kill, commit again. Raises
        `InvalidOptionError` where `path` is no regular file, `SourceError` if it was changed
        meanwhile, `StorageError`, and what `LibraryOverlays.commit` does.
        """
        given = (self._folders, self.overlays, Path(path), overlay)
        await commit_to_path(*given, drop_overlays=drop_overlays, report=report)

    def close(self) -> None:
        """Frees what the library itself holds; open disks stay open."""
        self._folders.close()


async def _nothing() -> AsyncIterator[Part]:
    nothing: tuple[Part, ...] = ()
    for part in nothing:
        yield part


def _kind(name: str) -> str:
    """The kind of what an id names; a plain name is an image's."""
    kind, slash, _ = name.partition("/")
    return kind if slash and kind in (IMAGES, OVERLAYS, CACHES) else IMAGES
