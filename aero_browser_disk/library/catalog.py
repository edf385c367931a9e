"""Lists every image, overlay and cache of this origin with the space it takes, and prunes them."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Literal

from ..cache.budget import folder_facts
from ..errors import ImageBusyError, NoSuchImageError
from ..records.folders import LibraryFolders
from ..records.record import CACHES, IMAGES, OVERLAYS, Media, Record
from .recovered_overlays import find_bases

EntryKind = Literal["image", "overlay", "cache"]
EntryState = Literal["ready", "creating", "importing", "recovered"]
_KINDS: dict[str, EntryKind] = {IMAGES: "image", OVERLAYS: "overlay", CACHES: "cache"}


@dataclass(frozen=True, slots=True)
class LibraryEntry:
    """One image, overlay or cache. Sizes in bytes, times in seconds since the epoch.

    `size` is the disk's, `used_bytes` the space that it takes here. `base` is the id of an
    overlay's base, `base_name` its name. A cache's name is its image's address without its secret
    parts. `done` is how much of an interrupted import is stored. `damage` describes damage of its
    data. A "recovered" entry lost its name with a damaged record: `Library.rename` gives it a new
    one.
    """

    id: str
    kind: EntryKind
    name: str
    size: int | None
    used_bytes: int
    version: str | None
    created_at: float | None
    used_at: float
    state: EntryState
    media: Media
    format: str
    is_open: bool
    base: str | None = None
    base_name: str | None = None
    done: int | None = None
    damage: str | None = None


@dataclass(frozen=True, slots=True)
class LibraryUsage:
    """Bytes. `used` and `quota` are what the browser says of the whole origin."""

    used: int
    quota: int
    images: int
    overlays: int
    caches: int


class LibraryCatalog:
    """Lists entries and their sizes, and removes what can be downloaded or imported again."""

    def __init__(self, folders: LibraryFolders) -> None:
        self._folders = folders
        self._storage = folders.storage

    async def entries(self) -> list[LibraryEntry]:
        """All entries, the most recently used first. Removes what a crash left half done."""
        await self._folders.tidy()
        records: dict[str, Record] = {}
        for kind in (IMAGES, OVERLAYS):
            records |= await self._folders.all(kind)
        if any(r.state == "recovered" and f.startswith(OVERLAYS) for f, r in records.items()):
            await find_bases(self._folders)
            records |= await self._folders.all(OVERLAYS)
        for name in await self._storage.list(CACHES):
            records[f"{CACHES}/{name}"] = await self._cache_record(f"{CACHES}/{name}")
        held = await self._folders.platform.locks.held(records)
        found = [await self._entry(folder, records[folder], held) for folder in records]
        return sorted(found, key=lambda entry: (-entry.used_at, entry.name))

    async def entry(self, folder: str) -> LibraryEntry:
        """One of them; raises `NoSuchImageError`."""
        record = await self._folders.record(folder)
        if record is None:
            raise NoSuchImageError("image", folder)
        return await self._entry(folder, record, await self._folders.platform.locks.held([folder]))

    async def usage(self) -> LibraryUsage:
        """How much space is taken, by what, and the quota."""
        estimate = await self._storage.estimate()
        taken = dict.fromkeys((IMAGES, OVERLAYS, CACHES), 0)
        for kind in taken:
            for name in await self._storage.list(kind):
                taken[kind] += (await folder_facts(self._storage, f"{kind}/{name}"))[0]
        return LibraryUsage(
            estimate.usage, estimate.quota, taken[IMAGES], taken[OVERLAYS], taken[CACHES]
        )

    async def prune(
        self,
        *,
        unused_for_s: float | None = None,
        keep_bytes: int | None = None,
        kinds: Collection[str] = ("cache",),
        dry_run: bool = True,
    ) -> list[LibraryEntry]:
        """Removes caches and interrupted imports, the least recently used first.

        `kinds` may name "cache" and "import" (an interrupted import). Removes those that were not
        used for `unused_for_s` seconds, then others until the rest takes at most `keep_bytes`. Open
        ones are kept, as are all images and overlays. Returns what was removed, or with `dry_run`
        what would be.
        """
        candidates = [
            entry
            for entry in reversed(await self.entries())
            if _prune_kind(entry) in kinds and not entry.is_open
        ]
        now = self._folders.platform.clock.now()
        limit = math.inf if keep_bytes is None else keep_bytes
        left = sum(entry.used_bytes for entry in candidates)
        going = []
        for entry in candidates:
            is_old = unused_for_s is not None and now - entry.used_at > unused_for_s
            if is_old or left > limit:
                going.append(entry)
                left -= entry.used_bytes
        if dry_run:
            return going
        return [entry for entry in going if await self._remove(entry)]

    async def remove_cache(self, folder: str) -> None:
        """Removes a cache; raises `NoSuchImageError`, and `ImageBusyError` while it is open."""
        if folder.partition("/")[2] not in await self._storage.list(CACHES):
            raise NoSuchImageError("cache", folder)
        async with self._folders.claimed(folder, "The cache"):
            await self._storage.remove(folder)
        self._folders.notify(folder)

    # ── inside ───────────────────────────────────────────────────────────────────────────────────

    async def _remove(self, entry: LibraryEntry) -> bool:
        try:
            if entry.kind == "cache":
                await self.remove_cache(entry.id)
            else:
                async with self._folders.claimed(entry.id, entry.name):
                    await self._folders.remove(entry.id)
        except (ImageBusyError, NoSuchImageError):
            return False  # it was opened, or removed, since
        return True

    async def _cache_record(self, folder: str) -> Record:
        record = await self._folders.record(folder)
        if record is not None:
            return record
        name = f"a remote image ({folder.rpartition('/')[2][:8]})"  # made by an earlier version
        return Record(name, 0, 0.0, 0.0)

    async def _entry(self, folder: str, record: Record, held: Collection[str]) -> LibraryEntry:
        kind = _KINDS[folder.partition("/")[0]]
        space, written_at = await folder_facts(self._storage, folder)
        return LibraryEntry(
            id=folder,
            kind=kind,
            name=record.name,
            size=record.size or None,
            used_bytes=space,
            version=record.version,
            created_at=record.created_at or None,
            used_at=max(record.used_at, written_at if kind == "cache" else 0.0),
            state=_shown(record),
            media=record.media,
            format=record.format,
            is_open=folder in held,
            base=record.base,
            base_name=record.base_name,
            done=record.done if record.state == "importing" else None,
            damage=record.damage,
        )


def _shown(record: Record) -> EntryState:
    match record.state:
        case "removing" | "empty":
            return "ready"
        case state:
            return state


def _prune_kind(entry: LibraryEntry) -> str:
    return "import" if entry.state == "importing" else entry.kind


def names_of(entries: Iterable[Record]) -> list[str]:
    """Their names, sorted."""
    return sorted(entry.name for entry in entries)
