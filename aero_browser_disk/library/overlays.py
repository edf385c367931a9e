"""The overlays of an origin by name: opened, reset, committed, exported, imported, removed.

An overlay lies over a local image, a remote image or another overlay, and keeps what was written
there. Each has a folder with a record, which names its base, and a file with its sectors. The last
of the overlays that are opened over one another takes the writes; the disks below it are only read,
and shared with other disks that are open in this tab.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Sequence,
)
from dataclasses import dataclass, replace
from functools import partial

from ..disk import Disk, DiskInfo
from ..errors import (
    DamagedDiskError,
    HasOverlaysError,
    ImageBusyError,
    NameTakenError,
    NoSuchImageError,
    ReadOnlyError,
    RecoveredOverlayError,
    StorageBusyError,
    StorageError,
)
from ..platform.base import Storage
from ..platform.byte_source import ByteStream
from ..records.folders import LibraryFolders
from ..records.record import IMAGES, OVERLAYS, SECTORS, Record
from ..streaming.streaming_disk import StreamingDisk
from ..transfer.image_import import CopyProgress, Report
from ..writable.overlay import Overlay
from ..writable.overlay_file import overlay_parts, store_from_parts
from ..writable.sector_journal import Contents
from ..writable.sector_reader import Range
from ..writable.sector_store import SectorStore
from .catalog import names_of
from .damage import missing, note, note_met, noted
from .images import DROP_CONSENT, WRITE_CONSENT, LibraryImages
from .open_bases import SharedBase, naming_turn, open_shared
from .open_image import Closed, LibraryDisk, Refusal
from .overlay_store import overlay_store
from .recovered_overlays import find_bases
from .recovery import copy_intact, open_salvage

Fill = Callable[[Storage, str], Awaitable[Contents]]
"""Makes the file of an overlay at a path; durable when it returns."""


@dataclass(frozen=True, slots=True)
class OverlayBase:
    """What overlays lie over: its folder, which names it for good, and what to call it."""

    folder: str
    name: str


class LibraryOverlays:
    """All overlays of this origin, in the folders below `overlays/`.

    Where a method takes a name, it takes an id too. Overlays over different bases may have the same
    name: a name needs `base`, the folder of its base; an id does not.
    """

    def __init__(self, folders: LibraryFolders, images: LibraryImages) -> None:
        self._folders = folders
        self._images = images
        self._storage = folders.storage

    async def base_of(self, image: str) -> OverlayBase:
        """A local image, by name or id, as a base; raises `NoSuchImageError`."""
        folder, record = await self._folders.find(IMAGES, image)
        return OverlayBase(folder, record.name)

    async def noted_base_version(self, base: OverlayBase, name: str) -> str | None:
        """The version of its base that an overlay had when it was closed last; None if unknown."""
        try:
            _, record = await self._folders.find(OVERLAYS, name, base.folder)
        except NoSuchImageError:
            return None
        parts = (record.version or "").split(":", 3)
        return parts[3] if record.state == "ready" and len(parts) == 4 else None

    async def pinned_base_version(self, base: OverlayBase, name: str) -> str | None:
        """The version of its base that an overlay is bound to; None if there is none.

        Of one that is open, what was noted. Raises `DamagedDiskError` and other `StorageError`s.
        """
        try:
            folder, record = await self._folders.find(OVERLAYS, name, base.folder)
            async with overlay_store(self._folders, folder, record) as store:
                return None if store is None else store.contents.base
        except NoSuchImageError:
            return None
        except ImageBusyError:
            return await self.noted_base_version(base, name)

    async def open_over_image(
        self, image: str, names: Sequence[str], *, write_base: bool = False
    ) -> LibraryDisk:
        """Opens overlays over a local image, the first over it, each next over the one before.

        The image and all overlays but the uppermost are only read, and can be shared with other
        disks of this tab, unless `write_base` is set. Raises what `open_over` does, and
        `LibraryImages.claim`.
        """
        folder, record = await self._folders.find(IMAGES, image)
        base = OverlayBase(folder, record.name)
        if write_base:
            claimed, release = await self._images.claim(folder, record)
            return await self.open_over(base, claimed, names, write_base=True, release=release)
        try:
            disk = await self._images.share(folder, record)
        except ImageBusyError as error:
            raise ImageBusyError(record.name, is_base=True) from error
        return await self.open_over(base, disk, names)

    async def open_over(
        self,
        base: OverlayBase,
        disk: Disk,
        names: Sequence[str],
        *,
        write_base: bool = False,
        release: Callable[[], None] = lambda: None,
    ) -> LibraryDisk:
        """Opens overlays over an open disk; missing ones are created.

        The uppermost takes the writes; if it has overlays itself, only with `write_base`. Takes
        ownership of `disk`, which is closed after an error; `release` is called after it was
        closed. Raises `BaseChangedError`, `ImageBusyError`, `InvalidOptionError` and
        `StorageError`.
        """
        top = disk
        releases = [release]
        try:
            for name in names[:-1]:
                base, top = await self._open_lower(base, top, name, releases)
            for name in names[-1:]:
                folder, record = await self._find_or_name(base, name, top.info)
                top = await self._open_one(top, folder, record, releases)
                base = OverlayBase(folder, record.name)
            refuses = await self._refusal(base, write_base=write_base)
        except BaseException:
            await top.close()
            _call(releases)
            raise

        async def on_close(closed: Closed) -> None:
            _call(releases)
            await note_met(self._folders, closed.damage)
            if closed.info is not None:
                await self._note(base.folder, closed.info)

        remote = disk if isinstance(disk, StreamingDisk) else None
        return LibraryDisk(
            top, folder=base.folder, refuses=refuses, remote=remote, on_close=on_close
        )

    async def reset(self, name: str, base: str | None = None) -> None:
        """Drops everything written to an overlay, even if its base has changed; it stays, empty.

        Raises `NoSuchImageError`, `ImageBusyError`, and `HasOverlaysError` when others lie over it.
        """
        folder, record = await self._folders.find(OVERLAYS, name, base)
        await self._check_overlays(folder, record)
        async with self._folders.claimed(folder, record.name):
            await self._folders.update(folder, state="empty", version=None, damage=None)
            await self._storage.remove(f"{folder}/{SECTORS}")  # created again when it is opened
        self._folders.notify(folder)

    async def remove(
        self, name: str, base: str | None = None, *, drop_overlays: bool = False
    ) -> None:
        """Removes an overlay; raises as `LibraryImages.remove`."""
        folder, record = await self._folders.find(OVERLAYS, name, base)
        if not drop_overlays:
            await self._check_overlays(folder, record)
        over = await self._images.overlays_of(folder)
        async with contextlib.AsyncExitStack() as claims:
            for overlay, found in {folder: record, **over}.items():
                await claims.enter_async_context(self._folders.claimed(overlay, found.name))
            for overlay in [*reversed(over), folder]:
                await self._folders.remove(overlay)

    async def commit(
        self,
        name: str,
        base: str | None = None,
        *,
        drop_overlays: bool = False,
        report: Report | None = None,
    ) -> None:
        """Writes an overlay into its base, a local image or another overlay.

        The overlay is empty afterwards; when this is cancelled, all is in it still, and a part is
        in the base too. Other overlays over the same base or over this one become useless:
        `HasOverlaysError`, unless `drop_overlays` is set; then they stay and are refused when
        opened. Over a remote image or a CD it is a `ReadOnlyError`: make a local image of the
        disk (`Library.import_disk`). Raises what opening the overlay does.
        """
        folder, record = await self._folders.find(OVERLAYS, name, base)
        image, chain = await self._chain_to(folder, record)
        if image[1].media == "cd":
            raise ReadOnlyError
        if not drop_overlays:
            await self._check_siblings(folder, record)
        names = [overlay for overlay, _ in chain]
        disk = await self.open_over_image(image[0], names, write_base=True)
        try:
            assert disk.overlay is not None
            await disk.overlay.commit(
                None if report is None else lambda done, total: report(CopyProgress(done, total))
            )
        finally:
            await disk.close()
        self._folders.notify(image[0], *names)

    async def _chain_to(
        self, folder: str, record: Record
    ) -> tuple[tuple[str, Record], list[tuple[str, Record]]]:
        """The local image at the bottom, and the overlays above it up to this one."""
        chain = [(folder, record)]
        while (base := chain[0][1].base or "").startswith(OVERLAYS):
            chain.insert(0, await self._folders.find(OVERLAYS, base))
        if not base.startswith(IMAGES):
            raise ReadOnlyError
        return await self._folders.find(IMAGES, base), chain

    @contextlib.asynccontextmanager
    async def exporting(
        self, name: str, base: str | None = None, *, open_disks: Iterable[LibraryDisk] = ()
    ) -> AsyncIterator[tuple[Record, AsyncGenerator[bytes, None]]]:
        """An overlay as a file, without anything of its base: see `overlay_file`.

        If it is the uppermost layer of one of `open_disks`, exports that: see `Overlay.export`.
        """
        folder, record = await self._folders.find(OVERLAYS, name, base)
        for disk in open_disks:
            if disk.folder == folder and disk.overlay is not None:
                async with contextlib.aclosing(disk.overlay.export()) as parts:
                    yield record, parts
                return
        async with overlay_store(self._folders, folder, record) as store:
            if store is None:
                raise NoSuchImageError("overlay", record.name)  # it was reset, and is empty
            async with contextlib.aclosing(overlay_parts(store)) as parts:
                yield record, parts

    async def top_of(self, image: str, names: Sequence[str]) -> str:
        """The folder of the uppermost of these overlays, or of the image if there are none; empty
        when one of them does not exist.
        """
        folder = image
        for name in names:
            try:
                folder, _ = await self._folders.find(OVERLAYS, name, folder)
            except NoSuchImageError:
                return ""
        return folder

    async def import_file(self, stream: ByteStream, base: OverlayBase, name: str) -> str:
        """Creates an overlay over `base` from an exported file; returns its folder.

        It fits one version of the base only, which is checked when it is opened. Raises
        `NameTakenError`, `InvalidDocumentError` and `StorageError`.
        """
        return await self.create(
            base, name, lambda storage, path: store_from_parts(stream, storage, path)
        )

    async def create(self, base: OverlayBase, name: str, fill: Fill) -> str:
        """Creates an overlay over `base` whose file `fill` makes; returns its folder.

        After an error or a crash there is no such overlay. Raises `NameTakenError`, what `fill`
        does, and `StorageError`.
        """
        folder = self._folders.new_folder(OVERLAYS)
        now = self._folders.platform.clock.now()
        record = Record(name, 0, now, now, state="creating", base=base.folder, base_name=base.name)
        async with self._folders.claimed(folder, name):
            await self._folders.add(folder, record)
            try:
                contents = await fill(self._storage, f"{folder}/{SECTORS}")
                await self._folders.update(folder, state="ready", size=contents.size)
            except BaseException:
                await self._folders.remove(folder)
                raise
        return folder

    async def recover(
        self, name: str, new_name: str, *, report: Report | None = None
    ) -> tuple[str, tuple[Range, ...], bool]:
        """Saves what is intact of an overlay in a new one over the same base: `Recovery`.

        Returns its folder, what is lost, and whether the rest is as it was last.
        """
        folder, record = await self._folders.find(OVERLAYS, name)
        made, now = self._folders.new_folder(OVERLAYS), self._folders.platform.clock.now()
        new = Record(
            new_name,
            record.size,
            now,
            now,
            "creating",
            base=record.base,
            base_name=record.base_name,
        )
        async with (
            self._folders.claimed(folder, record.name),
            self._folders.claimed(made, new_name),
        ):
            salvage = await open_salvage(self._folders, folder, record)
            with contextlib.closing(salvage):
                await self._folders.add(made, new)
                try:
                    contents = replace(
                        salvage.contents, identity=secrets.token_hex(16), commit_mark=None
                    )
                    path = f"{made}/{SECTORS}"
                    store = await SectorStore.create(self._storage, path, contents)
                    with contextlib.closing(store):
                        lost = await copy_intact(salvage, store, report)
                        store.commit_and_close()
                    await self._folders.update(made, state="ready", size=contents.size)
                except BaseException:
                    await self._folders.remove(made)
                    raise
        return made, lost, salvage.is_latest

    async def note_base_name(self, folder: str, name: str) -> None:
        """Notes the new name of a base in the records of its overlays."""
        for overlay, record in (await self._folders.all(OVERLAYS)).items():
            if record.base == folder:
                await self._folders.update(overlay, base_name=name)

    # ── inside ───────────────────────────────────────────────────────────────────────────────────

    async def _find_or_name(
        self, base: OverlayBase, name: str, over: DiskInfo
    ) -> tuple[str, Record]:
        """The overlay of that name, or a record for a new one, still being created."""
        size = over.size
        try:
            return await self._folders.find(OVERLAYS, name, base.folder)
        except NoSuchImageError:
            await find_bases(self._folders, {base.folder: (base.name, over.version)})
            records = (await self._folders.all(OVERLAYS)).values()
            found = [r.name for r in records if r.state == "recovered" and r.base == base.folder]
            if found and name not in found:
                raise RecoveredOverlayError(name, base.name, tuple(found)) from None
            if found:
                return await self._folders.find(OVERLAYS, name, base.folder)
            now = self._folders.platform.clock.now()
            record = Record(
                name, size, now, now, state="creating", base=base.folder, base_name=base.name
            )
            return self._folders.new_folder(OVERLAYS), record

    async def _open_lower(
        self, base: OverlayBase, over: Disk, name: str, releases: list[Callable[[], None]]
    ) -> tuple[OverlayBase, Disk]:
        """Opens an overlay that is only read; shares it if everything below it is shared."""
        # Of two first opens, one creates it and the other finds it.
        async with naming_turn(self._storage, base.folder, name):
            return await self._open_named_lower(base, over, name, releases)

    async def _open_named_lower(
        self, base: OverlayBase, over: Disk, name: str, releases: list[Callable[[], None]]
    ) -> tuple[OverlayBase, Disk]:
        folder, record = await self._find_or_name(base, name, over.info)
        lower = OverlayBase(folder, record.name)
        if not isinstance(over, SharedBase):
            return lower, await self._open_one(over, folder, record, releases)

        async def open_it() -> tuple[Overlay, Callable[[], None]]:
            claims: list[Callable[[], None]] = []
            try:
                return await self._open_one(over, folder, record, claims), partial(_call, claims)
            except BaseException:
                _call(claims)
                raise

        try:
            shared = await open_shared(self._storage, folder, open_it)
        except ImageBusyError as error:
            raise ImageBusyError(record.name, is_base=True) from error
        if not isinstance(shared.disk, Overlay) or shared.disk.base is not over:
            await over.close()  # it was open already, over its opener's base
        return lower, shared

    async def _open_one(
        self, over: Disk, folder: str, record: Record, releases: list[Callable[[], None]]
    ) -> Overlay:
        """Claims and opens an overlay; creates its store if it is new."""
        releases.append((await self._folders.claim(folder, record.name)).release)
        if record.state == "creating":
            try:
                await self._folders.add(folder, record)
            except NameTakenError as error:  # created and opened elsewhere meanwhile
                raise ImageBusyError(record.name) from error
        is_new = record.state in ("creating", "empty")
        try:
            overlay = await Overlay.open(
                over,
                self._storage,
                folder,
                create=is_new,
                known_version=record.version,
                name=record.name,
            )
        except StorageBusyError as error:
            raise ImageBusyError(record.name) from error
        except FileNotFoundError as error:
            raise await missing(self._folders, folder, record) from error
        except DamagedDiskError as error:
            raise await noted(self._folders, folder, record, error) from error
        except BaseException:
            if record.state == "creating":
                await self._folders.remove(folder)
            raise
        if is_new:
            await self._folders.update(folder, state="ready")
        if record.damage is not None:
            await note(self._folders, folder, None)  # damage that is still there is found again
        return overlay

    async def _refusal(self, over: OverlayBase, *, write_base: bool) -> Refusal | None:
        overlays = names_of((await self._images.overlays_of(over.folder)).values())
        if not overlays or write_base:
            return None
        return lambda: HasOverlaysError(over.name, overlays, WRITE_CONSENT)

    async def check_alone(self, name: str) -> None:
        """Raises `HasOverlaysError` if others lie over an overlay or over its base."""
        folder, record = await self._folders.find(OVERLAYS, name)
        await self._check_siblings(folder, record)
        await self._check_overlays(folder, record)

    async def _check_siblings(self, folder: str, record: Record) -> None:
        siblings = await self._images.overlays_of(record.base or "")
        others = names_of(found for other, found in siblings.items() if other != folder)
        if others:
            raise HasOverlaysError(record.base_name or record.name, others, DROP_CONSENT)

    async def _check_overlays(self, folder: str, record: Record) -> None:
        overlays = names_of((await self._images.overlays_of(folder)).values())
        if overlays:
            raise HasOverlaysError(record.name, overlays, DROP_CONSENT)

    async def _note(self, folder: str, info: DiskInfo) -> None:
        with contextlib.suppress(StorageError):
            now = self._folders.platform.clock.now()
            await self._folders.update(folder, used_at=now, version=info.version)


def _call(releases: list[Callable[[], None]]) -> None:
    while releases:
        releases.pop()()
