"""The life of a save: chunks are stored, then a manifest that refers to them becomes current.

The records decide which generation is current. Every object has a record before it is stored, and
keeps it until it is removed; its key is never used again. So a crash at any point leaves the old
generation or the new one, and objects whose records say that they are left over.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from ..stores.image_store import StoreError
from .save_manifest import SaveBase, SaveManifest
from .save_records import Condition, NextGeneration, SaveRecords
from .save_store import SaveStore
from .save_tables import ConflictError, Generation, Kind, NoSuchSaveError, Save, StoredObject

_SAVE_ID_BYTES: Final = 16
_NONCE_BYTES: Final = 8
_SHARE_KEY_BYTES: Final = 32
_REMOVED_AT_ONCE: Final = 500
# After so many failures in a row cleaning stops: the store is down.
_MAX_FAILURES: Final = 3


@dataclass(frozen=True, slots=True)
class SaveQuota:
    """What one owner may have; 0 means no limit.

    `bytes` counts all that is stored, at least 4 KiB for each chunk and manifest.
    """

    bytes: int = 0
    saves: int = 0


NO_QUOTA: Final = SaveQuota()


class Saves:
    """Stores saves and cleans up after them. Every call blocks; all raise `StoreError`.

    What takes a `Save` raises `NoSuchSaveError` if it is there no longer. `unfinished_s`: for how
    long an object may be on its way to the store. `clock`: seconds since the epoch.
    """

    def __init__(
        self,
        records: SaveRecords,
        store: SaveStore,
        unfinished_s: float,
        quota: SaveQuota = NO_QUOTA,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._records = records
        self._store = store
        self._unfinished_s = unfinished_s
        self._quota = quota
        self._clock = clock

    def close(self) -> None:
        """Closes the records."""
        self._records.close()

    def check(self) -> None:
        """Raises `StoreError` if the records or the store cannot be used."""
        self._records.check()
        self._store.check()

    # ── saves ──

    def create(self, owner: str, name: str, base: SaveBase) -> Save:
        """A new save without a generation; raises `NameTakenError` and `SaveQuotaError`."""
        now = self._clock()
        save = Save(
            secrets.token_hex(_SAVE_ID_BYTES),
            owner,
            name,
            base.version,
            base.size,
            base.sector_size,
            base.image,
            generation=0,
            etag=None,
            device=None,
            created_at=now,
            updated_at=now,
        )
        self._records.create(save, self._quota.saves)
        return save

    def find(self, save_id: str) -> Save | None:
        """The save, whoever owns it."""
        return self._records.get(save_id)

    def of_owner(
        self,
        owner: str,
        limit: int,
        after: tuple[float, str] | None = None,
        base_version: str | None = None,
    ) -> list[tuple[Save, int]]:
        """The owner's saves, newest first, and what each takes in bytes: see `SaveRecords`."""
        saves = self._records.of_owner(owner, limit, after, base_version)
        stored = self._records.stored_bytes([save.save_id for save in saves])
        return [(save, stored[save.save_id]) for save in saves]

    def describe(self, save: Save) -> tuple[Save, int, list[Generation]]:
        """The save as it is now, what it takes in bytes, and its generations, newest first."""
        now = self._now(save)
        stored = self._records.stored_bytes([save.save_id])[save.save_id]
        # A newer one may have come in between.
        kept = self._records.generations(save.save_id)
        return now, stored, [one for one in kept if one.generation <= now.generation]

    def remove(self, save: Save) -> None:
        """Removes the save; `clean_up` frees its bytes."""
        self._records.remove(save.save_id, self._clock())

    def share_key(self, save: Save) -> str:
        """The secret that signs links to the save, made if there is none."""
        new = secrets.token_hex(_SHARE_KEY_BYTES)
        key = self._records.set_share_key(save.save_id, new, keep=True).share_key
        assert key is not None
        return key

    def end_shares(self, save: Save) -> None:
        """Makes all links to the save invalid."""
        self._records.set_share_key(save.save_id, None)

    # ── chunks ──

    def missing(self, save: Save, names: Sequence[str]) -> list[str]:
        """Which of the chunks are not stored. The others stay while a push is under way."""
        present = self._records.present(save.save_id, names, self._clock())
        return [name for name in names if name not in present]

    def store_chunk(self, save: Save, name: str, data: bytes) -> bool:
        """Stores a chunk whose SHA-256 is `name`; returns False if it was there.

        Raises `SaveQuotaError`.
        """
        chunk = self._begin(save, "chunk", name, data)
        try:
            self._store.put(chunk.key, data)
            return self._records.commit_chunk(chunk, self._clock())
        except BaseException:
            self._abandon(chunk)
            raise

    def chunk(self, save: Save, name: str) -> bytes | None:
        """The stored chunk; None if there is none of this name."""
        found = self._records.find(save.save_id, name)
        return None if found is None else self._read(found.key, found.sha256)

    # ── generations ──

    def switch(
        self, save: Save, manifest: SaveManifest, data: bytes, condition: Condition
    ) -> tuple[Save, bool]:
        """Makes `data`, the bytes of `manifest`, the current generation if `condition` holds.

        Returns the save, and False if the very same manifest was current already. Raises
        `ConflictError`, `MissingChunksError`, `WrongLengthError` and `SaveQuotaError`.
        """
        name = hashlib.sha256(data).hexdigest()
        # Most conflicts are known before anything is stored.
        now = self._now(save)
        if now.etag == name:
            return now, False
        if not condition(now.etag):
            raise ConflictError(now)
        stored = self._begin(save, "manifest", name, data)
        try:
            self._store.put(stored.key, data)
            following = NextGeneration(
                stored,
                manifest.lengths,
                manifest.base.version,
                manifest.base.size,
                manifest.base.sector_size,
                manifest.base.image,
                manifest.device,
            )
            current, switched = self._records.switch(following, condition, self._clock())
        except BaseException:
            self._abandon(stored)
            raise
        if not switched:
            self._abandon(stored)
        return current, switched

    def manifest(self, save: Save, number: int | None = None) -> tuple[Generation, bytes] | None:
        """A generation, the current one without `number`, and its manifest's bytes."""
        wanted = save.generation if number is None else number
        generation = self._records.generation(save.save_id, wanted)
        if generation is None:
            return None
        data = self._read(generation.key, generation.etag)
        return None if data is None else (generation, data)

    def remove_generation(self, save: Save, number: int) -> bool:
        """Removes a generation; returns whether it was there; raises `CurrentGenerationError`."""
        return self._records.remove_generation(save.save_id, number, self._clock())

    # ── what is left over ──

    def clean_up(self) -> int:
        """Removes what nothing refers to; returns how many objects.

        Raises `StoreError` at the end if some of it failed.
        """
        self._records.abandon(self._clock())
        self._records.drop_unused(self._clock())
        removed, failures, failure = 0, 0, None
        while keys := self._records.dropped(self._clock(), _REMOVED_AT_ONCE):
            gone = []
            for key in keys:
                try:
                    self._store.remove(key)
                    gone.append(key)
                    failures = 0
                except StoreError as error:
                    failure, failures = error, failures + 1
                    if failures == _MAX_FAILURES:
                        break
            self._records.forget(gone)
            removed += len(gone)
            if failure is not None:
                raise failure
        return removed

    def _now(self, save: Save) -> Save:
        now = self._records.get(save.save_id)
        if now is None:
            raise NoSuchSaveError
        return now

    def _begin(self, save: Save, kind: Kind, name: str, data: bytes) -> StoredObject:
        key = f"{save.save_id}/{name[:2]}/{name}.{secrets.token_hex(_NONCE_BYTES)}"
        stored = StoredObject(key, save.save_id, save.owner, kind, name, len(data))
        self._records.begin(stored, self._clock(), self._quota.bytes)
        return stored

    def _abandon(self, stored: StoredObject) -> None:
        """Drops an object that may still be on its way to the store."""
        with suppress(StoreError):  # then `clean_up` does it later
            self._records.drop(stored, self._clock() + self._unfinished_s)

    def _read(self, key: str, name: str) -> bytes | None:
        data = self._store.get(key)
        if data is not None and hashlib.sha256(data).hexdigest() != name:
            raise StoreError(f"the stored object {key} is damaged")
        return data
