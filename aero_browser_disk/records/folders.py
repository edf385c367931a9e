"""The folders of images and overlays: created, found by name, claimed and removed, one tab at a
time.

Each has a folder with a random name, which is its permanent id, and a record in it. Records are
read and written under one lock of the origin, the data next to them under a lock of the folder.
"""

from __future__ import annotations

import contextlib
import secrets
import unicodedata
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Any

from ..errors import (
    ImageBusyError,
    InvalidOptionError,
    NameTakenError,
    NoSuchImageError,
    StorageBusyError,
    StorageError,
)
from ..platform.base import Channel, Lock, Message, Platform
from .record import IMAGES, OVERLAYS, SECTORS, Record, State, read_record, write_record

CHANNEL = "library"
"""The channel on which the other tabs are notified of each change: `{"changed": folder}`."""

_LOCK = "library"
_LOCK_WITHIN_S = 30.0  # it is held while a few small files are read and written
_FREE_WITHIN_S = 0.1  # a free lock is granted within this time
_LEAVES_WITHIN_S = 1.0  # how long a page that is reloaded may take to release an image
_LONGEST_NAME = 200
_KINDS = {IMAGES: "image", OVERLAYS: "overlay"}


class LibraryFolders:
    """The folders below `images/` and `overlays/`."""

    def __init__(self, platform: Platform) -> None:
        self.platform = platform
        self.storage = platform.storage
        self._channel: Channel | None = None

    # ── finding ──────────────────────────────────────────────────────────────────────────────────

    async def all(self, kind: str) -> dict[str, Record]:
        """The records of all images, or all overlays, by folder."""
        async with self._locked():
            return await self._read_all(kind)

    async def find(self, kind: str, name: str, base: str | None = None) -> tuple[str, Record]:
        """The folder and the record of an image, or of an overlay over `base`, by name or id.

        Raises `NoSuchImageError`.
        """
        async with self._locked():
            return await self._find(kind, name, base)

    async def record(self, folder: str) -> Record | None:
        """The record in a folder; None when there is none any more."""
        async with self._locked():
            return await read_record(self.storage, folder)

    def new_folder(self, kind: str) -> str:
        """A new folder with a unique name."""
        return f"{kind}/{secrets.token_hex(8)}"

    # ── changing ─────────────────────────────────────────────────────────────────────────────────

    async def add(self, folder: str, record: Record) -> None:
        """Puts a record into a new folder; its name must be free for its kind and base.

        Claim the folder first, or `tidy` may remove it as the remains of a crash. Raises
        `NameTakenError`, `InvalidOptionError` and `StorageError`.
        """
        record = replace(record, name=checked_name(record.name))
        kind = folder.partition("/")[0]
        async with self._locked():
            self._check_free(kind, await self._read_all(kind), record.name, record.base)
            await write_record(self.storage, folder, record)
        self.notify(folder)

    async def update(self, folder: str, **changes: Any) -> Record | None:
        """Changes fields of a record; returns the new one, None when there was none.

        Raises `NameTakenError` and `InvalidOptionError` for a new name, and `StorageError`.
        """
        kind = folder.partition("/")[0]
        async with self._locked():
            old = await self._read(folder)
            if old is None:
                return None
            if "name" in changes:
                changes["name"] = checked_name(changes["name"])
                others = await self._read_all(kind)
                others.pop(folder, None)
                self._check_free(kind, others, changes["name"], old.base)
                if old.state == "recovered":
                    changes.setdefault("state", "ready")
            record = replace(old, **changes)
            if record != old:
                await write_record(self.storage, folder, record)
        self.notify(folder)
        return record

    async def note_cache(self, folder: str, record: Record) -> None:
        """Notes the image of a cache, unless that is noted already."""
        async with self._locked():
            old = await read_record(self.storage, folder)
            if old is None or (old.name, old.version) != (record.name, record.version):
                await write_record(self.storage, folder, record)

    async def remove(self, folder: str) -> None:
        """Removes a claimed folder with everything in it; after a crash `tidy` finishes the
        removal."""
        await self.update(folder, state="removing")
        await self.storage.remove(folder)
        self.notify(folder)

    async def tidy(self) -> list[str]:
        """Removes what an interrupted creation or removal left; returns the folders.

        Data without a readable record and interrupted imports are kept: the user decides about
        them.
        """
        async with self._locked():
            suspects = [
                folder
                for kind in (IMAGES, OVERLAYS)
                for name in await self.storage.list(kind)
                if await self._is_orphan(folder := f"{kind}/{name}")
            ]
        cleared = [folder for folder in suspects if await self._clear(folder)]
        self.notify(*cleared)
        return cleared

    # ── claims and notifications ─────────────────────────────────────────────────────────────────

    async def claim(self, folder: str, name: str) -> Lock:
        """Claims a folder exclusively; raises `ImageBusyError` when it is claimed elsewhere."""
        lock = await self.platform.locks.acquire(folder, _LEAVES_WITHIN_S)
        if lock is None:
            raise ImageBusyError(name)
        return lock

    @contextlib.asynccontextmanager
    async def claimed(self, folder: str, name: str) -> AsyncIterator[None]:
        """`claim` for a `with` block; a disk that is open in spite of it raises `ImageBusyError`
        too."""
        lock = await self.claim(folder, name)
        try:
            yield
        except StorageBusyError as error:
            raise ImageBusyError(name) from error
        finally:
            lock.release()

    def notify(self, *folders: str) -> None:
        """Notifies the other tabs that these folders changed."""
        if self.platform.channels is None:
            return
        if self._channel is None:
            self._channel = self.platform.channels.open(CHANNEL, _ignore)
        for folder in folders:
            self._channel.send({"changed": folder})

    def close(self) -> None:
        """Stops notifying. Idempotent."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    # ── inside ───────────────────────────────────────────────────────────────────────────────────

    @contextlib.asynccontextmanager
    async def _locked(self) -> AsyncIterator[None]:
        lock = await self.platform.locks.acquire(_LOCK, _LOCK_WITHIN_S)
        if lock is None:
            raise StorageError(_LOCK, "another tab does not let the library go. Close it.")
        try:
            yield
        finally:
            lock.release()

    async def _read_all(self, kind: str) -> dict[str, Record]:
        found = {}
        for name in await self.storage.list(kind):
            record = await self._read(f"{kind}/{name}")
            if record is not None and record.state != "removing":
                found[f"{kind}/{name}"] = record
        return found

    async def _read(self, folder: str) -> Record | None:
        """The record in a folder; a made-up one for data without a readable record."""
        record = await read_record(self.storage, folder)
        if record is None:
            facts = await self.storage.facts(f"{folder}/{SECTORS}")
            if facts is None:
                return None
            name = f"recovered-{folder.rpartition('/')[2][:8]}"
            at = facts.modified_at
            record = Record(name, 0, at, at, state="recovered")
        return record

    async def _find(self, kind: str, name: str, base: str | None) -> tuple[str, Record]:
        records = await self._read_all(kind)
        if name in records and base in (None, records[name].base):
            return name, records[name]
        wanted = _folded(name)
        for folder, record in records.items():
            if record.name == wanted and record.base == base and record.state != "creating":
                return folder, record
        found = tuple(
            record.name
            for record in records.values()
            if record.state == "recovered" and record.base == base
        )
        raise NoSuchImageError(_KINDS[kind], name, found)

    def _check_free(
        self, kind: str, records: Mapping[str, Record], name: str, base: str | None
    ) -> None:
        if any(record.name == name and record.base == base for record in records.values()):
            raise NameTakenError(_KINDS[kind], name)

    async def _clear(self, folder: str) -> bool:
        """Removes an orphan, unless it is no longer one or is just being created."""
        lock = await self.platform.locks.acquire(folder, _FREE_WITHIN_S)
        if lock is None:
            return False
        try:
            async with self._locked():
                if not await self._is_orphan(folder):
                    return False
            await self.storage.remove(folder)
        except StorageBusyError:
            return False
        finally:
            lock.release()
        return True

    async def _is_orphan(self, folder: str) -> bool:
        record = await read_record(self.storage, folder)
        if record is not None:
            return record.state in _LEFT_OVER
        facts = await self.storage.facts(f"{folder}/{SECTORS}")
        return facts is None or not facts.size


_LEFT_OVER: tuple[State, ...] = ("creating", "removing")


def checked_name(name: object) -> str:
    """A name as it is stored; raises `InvalidOptionError` for an invalid one."""
    expected = f"a name of 1 to {_LONGEST_NAME} characters that can be seen, on one line"
    if not isinstance(name, str):
        raise InvalidOptionError("name", name, expected)
    folded = _folded(name)
    if not 0 < len(folded) <= _LONGEST_NAME or not folded.isprintable():
        raise InvalidOptionError("name", name[:_LONGEST_NAME], expected)
    if folded.startswith((f"{IMAGES}/", f"{OVERLAYS}/", "cache/")):
        raise InvalidOptionError("name", name, "no id of the library")
    return folded


def _folded(name: str) -> str:
    """For comparison: two names that look the same are the same."""
    return unicodedata.normalize("NFC", name.strip())


def _ignore(_: Message) -> None:
    """Ignores messages: changes of other tabs are read when needed."""
