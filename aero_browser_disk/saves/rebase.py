"""Moves an overlay to a new version of its image, where nothing that it depends on has changed.

Digests of both versions say what changed: the tables of a prepared image, or digest lists of a raw
one. `dependence` says what of it matters. Nothing but the version that the overlay is bound to is
written, in one step; its content stays as it is, and its disk too but for what the plan names.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final, Literal, Unpack

from ..disk import Disk
from ..errors import (
    HasOverlaysError,
    InvalidDocumentError,
    MissingBaseError,
    RebaseRefusedError,
    StorageError,
)
from ..formats.prepared.chunk_table import ChunkTable
from ..formats.prepared.stored_files import StoredFile
from ..library.catalog import LibraryEntry
from ..library.images import LibraryImages
from ..library.library import Library
from ..library.overlay_store import overlay_store
from ..open_disk import remote_base
from ..platform import current_platform
from ..platform.base import Platform
from ..platform.memory import MemoryStorage
from ..platform.opening import ClosesOnExit, opening
from ..records.folders import LibraryFolders
from ..records.record import OVERLAYS, Record
from ..remote.remote_image import ImageVersion
from ..streaming.cache_folder import CacheFolder
from ..streaming.digest_list import DigestList
from ..streaming.kept_blocks import manifest_of
from ..streaming.open_remote import open_remote_disk
from ..streaming.prepared_source import PreparedImage
from ..streaming.remote_options import RemoteOptions, RemoteSettings
from ..streaming.streaming_disk import StreamingDisk
from ..transfer.image_import import Report
from ..writable.overlay import Overlay
from ..writable.range_set import RangeSet
from ..writable.sector_store import SectorStore
from .base_changes import changed_by_digests, changed_by_tables
from .dependence import dependence
from .pinned_base import PinnedBase

Ranges = tuple[tuple[int, int], ...]
"""Offset and length in bytes, in order."""
Obstacle = Literal["size", "no-digests", "needed"]
REASONS: Final[dict[Obstacle, str]] = {
    "size": "the new version has another size, or other sectors",
    "no-digests": "there are no digests of both versions that can be compared",
    "needed": "parts of the image that it depends on have changed",
}
DROP_CONSENT: Final = "Remove them first."


@dataclass(frozen=True, slots=True)
class RebasePlan:
    """What moving an overlay to the present version of its image means. Nothing was changed yet.

    `pinned` is the version that the overlay was made over, `found` the server's; they are equal
    when there is nothing to do. `obstacle` is why it cannot be moved, or None. Of what changed,
    `hidden` is in the overlay itself; `updated` is in partitions that it does not depend on, and
    will be as the new version has it; `needed` is what it depends on. `missing` is what of the old
    version is neither cached nor in the new one: empty if `copy_to_image` can make an image.
    """

    overlay: str
    pinned: str
    found: str
    obstacle: Obstacle | None
    hidden: Ranges = ()
    updated: Ranges = ()
    needed: Ranges = ()
    missing: Ranges = ()

    @property
    def is_current(self) -> bool:
        """Whether the overlay is over the present version already."""
        return self.pinned == self.found

    @property
    def can_move(self) -> bool:
        """Whether `move` would move it."""
        return not self.is_current and self.obstacle is None


class Rebase(ClosesOnExit):
    """An overlay over a remote image, and the version of the image that the server has now.

    The overlay cannot be opened elsewhere until this is closed.
    """

    def __init__(
        self, library: Library, folders: LibraryFolders, exits: contextlib.AsyncExitStack
    ) -> None:
        """Use `open`."""
        self._library = library
        self._folders = folders
        self._exits = exits
        self._plan: RebasePlan
        self._folder: str
        self._store: SectorStore
        self._disk: StreamingDisk
        self._base: PinnedBase
        self._whole: Disk

    @classmethod
    @opening
    async def open(
        cls,
        url: str,
        overlay: str,
        *,
        digests_before: bytes | None = None,
        platform: Platform | None = None,
        **remote: Unpack[RemoteOptions],
    ) -> Rebase:
        """Compares the version of an overlay with the present one; changes nothing.

        `url` and the other options are those of `open_disk`, and `overlay` the name of the one that
        lies directly over the image. A prepared image has digests; for another one, or if nothing
        of the old version is cached, `digests` is the digest list of the present version and
        `digests_before` that of the old one, which whoever passes them must know to be that. What
        is cached of the old version is kept.

        Raises `NoSuchImageError`, `ImageBusyError`, `HasOverlaysError` when others lie over
        it, `InvalidDocumentError`, and what opening the image does.
        """
        settings = RemoteSettings(**remote)
        platform = platform or await current_platform()
        async with contextlib.AsyncExitStack() as exits:
            library = await Library.open(platform)
            exits.callback(library.close)
            folders = LibraryFolders(platform)
            exits.callback(folders.close)
            found = cls(library, folders, exits)
            await found._open(url, overlay, settings, digests_before, platform)
            found._exits = exits.pop_all()
        return found

    @property
    def plan(self) -> RebasePlan:
        """What moving it means."""
        return self._plan

    async def move(self) -> None:
        """Binds the overlay to the present version. Durable when it returns; all or nothing.

        Does nothing when it is that already. Raises `RebaseRefusedError` when the plan has an
        obstacle, and `StorageError`.
        """
        plan = self._plan
        if plan.is_current:
            return
        if plan.obstacle is not None:
            raise RebaseRefusedError(plan.overlay, REASONS[plan.obstacle])
        self._store.rebind(plan.found)
        contents = self._store.contents
        version = f"overlay:{contents.identity}:{self._store.revision}:{contents.base}"
        with contextlib.suppress(StorageError):  # the next opening notes it
            await self._folders.update(self._folder, version=version)
        self._plan = replace(plan, pinned=plan.found)
        self._folders.notify(self._folder)

    async def copy_to_image(self, name: str, *, report: Report | None = None) -> LibraryEntry:
        """Makes a local image of the overlay over its old version; the overlay stays.

        The bytes come from the overlay, the cache, and the present version where it is the same.
        Raises `MissingBaseError` with what is in none of them, `NameTakenError`,
        `StorageFullError` and other `StorageError`s, and what reading the image does.
        """
        if self._plan.missing:
            raise MissingBaseError(self._plan.overlay, self._plan.missing)
        return await self._library.import_disk(self._whole, name, report=report)

    async def close(self) -> None:
        """Frees the overlay and the image. Idempotent."""
        await self._exits.aclose()

    # ── inside ───────────────────────────────────────────────────────────────────────────────────

    async def _open(
        self,
        url: str,
        overlay: str,
        settings: RemoteSettings,
        digests_before: bytes | None,
        platform: Platform,
    ) -> None:
        base = remote_base(url, settings.cache_key)
        folder, record = await self._folders.find(OVERLAYS, overlay, base.folder)
        await self._check_overlays(folder, record)
        self._folder = folder
        store = await self._exits.enter_async_context(overlay_store(self._folders, folder, record))
        # The cache of the old version stays as it is.
        apart = replace(platform, storage=MemoryStorage(), channels=None)
        settings = replace(settings, read_ahead=False, boot_profile=None)
        disk = await open_remote_disk(url, settings, apart, trusts_freshness=False)
        self._exits.push_async_callback(disk.close)
        self._disk = disk
        found = disk.info.version
        self._whole = disk
        if store is None:  # an empty one is bound when it is opened
            self._plan = RebasePlan(record.name, found, found, None)
            return
        self._store = store
        pinned = store.contents.base or ""
        if pinned == found:
            self._whole = Overlay(disk, store, self._folders.storage)
            self._plan = RebasePlan(record.name, pinned, found, None)
            return
        cache = await CacheFolder.open(platform, base.folder)
        self._exits.callback(cache.close)
        changed = await _changed(cache, disk, pinned, settings, digests_before)
        self._base = self._pinned_base(cache, pinned, record, changed)
        self._whole = Overlay(self._base, store, self._folders.storage)
        self._plan = await self._planned(record, pinned, changed)

    async def _check_overlays(self, folder: str, record: Record) -> None:
        over = await LibraryImages(self._folders).overlays_of(folder)
        if over:
            names = sorted(one.name for one in over.values())
            raise HasOverlaysError(record.name, names, DROP_CONSENT)

    def _pinned_base(
        self, cache: CacheFolder, pinned: str, record: Record, changed: RangeSet | None
    ) -> PinnedBase:
        stored = cache.store.image
        is_old = stored is not None and str(ImageVersion(stored.size, stored.validator)) == pinned
        if not self._has_same_size:
            changed = None
        return PinnedBase(pinned, record.name, self._disk, changed, cache.store if is_old else None)

    @property
    def _has_same_size(self) -> bool:
        return self._store.contents.size == self._disk.info.size

    async def _planned(self, record: Record, pinned: str, changed: RangeSet | None) -> RebasePlan:
        found = self._disk.info.version
        if not self._has_same_size:
            return RebasePlan(record.name, pinned, found, "size", missing=self._missing())
        if changed is None:
            return RebasePlan(record.name, pinned, found, "no-digests", missing=self._missing())
        over = Overlay(self._disk, self._store, self._folders.storage)
        written = RangeSet()
        for offset, length in over.written_ranges():
            written.add(offset, offset + length)
        sorted_out = await dependence(over, written, changed)
        return RebasePlan(
            record.name,
            pinned,
            found,
            "needed" if sorted_out.needed else None,
            _ranges(sorted_out.hidden),
            _ranges(sorted_out.independent),
            _ranges(sorted_out.needed),
            self._missing(),
        )

    def _missing(self) -> Ranges:
        """What of the old version is nowhere, apart from what the overlay has."""
        size = self._store.contents.size
        if not self._has_same_size:
            return ((0, size),)
        missing: list[tuple[int, int]] = []
        at = 0
        for offset, length, _ in self._store.ranges(0, size):
            missing += self._base.missing(at, offset)
            at = min(size, offset + length)
        missing += self._base.missing(at, size)
        return tuple(missing)


async def _changed(
    cache: CacheFolder,
    disk: StreamingDisk,
    pinned: str,
    settings: RemoteSettings,
    digests_before: bytes | None,
) -> RangeSet | None:
    """The bytes that changed, or may have; None without digests of both versions."""
    image = disk.server_image
    if isinstance(image, PreparedImage):
        kept = await cache.open_kept()
        if (old := manifest_of(kept, pinned.rpartition(", ")[0])) is not None:

            async def load(file: StoredFile, offset: int) -> bytes:
                stored = kept.get(file.digest)
                return stored if stored is not None else await image.load_document(file, offset)

            return await changed_by_tables(
                ChunkTable(old[1], load), ChunkTable(image.manifest, image.load_document)
            )
    present = await settings.read_digests(may_be_manifest=isinstance(image, PreparedImage))
    if present is None or digests_before is None:
        return None
    try:
        before = DigestList.decode(digests_before)
    except ValueError as error:
        raise InvalidDocumentError("digest list", str(error)) from error
    return changed_by_digests(before, present)


def _ranges(found: Iterable[tuple[int, int]]) -> Ranges:
    return tuple((start, stop - start) for start, stop in found)
