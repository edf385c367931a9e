"""The records and the store of saves without HTTP, and what a test sees of them from outside."""

from __future__ import annotations

import itertools
import json
import time
from typing import TYPE_CHECKING

from aero_browser_disk.service.saves.bucket_save_store import BucketSaveStore
from aero_browser_disk.service.saves.save_manifest import SaveBase, parse_manifest
from aero_browser_disk.service.saves.save_records import SaveRecords
from aero_browser_disk.service.saves.save_store import FolderSaveStore, SaveStore
from aero_browser_disk.service.saves.saves import NO_QUOTA, SaveQuota, Saves
from aero_browser_disk.service.stores.bucket import open_bucket

from .save_client import manifest_of, name_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from aero_browser_disk.service.saves.save_tables import Save

    from .object_server import Bucket

UNFINISHED_S = 3600
GENERATIONS = 2
BASE = SaveBase(version="debian-12", size=1 << 30)
NUMBERS = itertools.count()


def open_store(where: Path | Bucket) -> SaveStore:
    """The store in a folder or in a bucket."""
    if hasattr(where, "address"):
        return BucketSaveStore(open_bucket(where.address))
    where.mkdir(exist_ok=True)
    return FolderSaveStore(where)


class SaveSite:
    """An instance of the service's saves, whose clock a test can put forward."""

    def __init__(self, where: Path | Bucket, database: str, quota: SaveQuota = NO_QUOTA) -> None:
        self.where = where
        self.late_s = 0.0
        self.records = SaveRecords(database, GENERATIONS, UNFINISHED_S)
        self.store = open_store(where)
        self.saves = Saves(self.records, self.store, UNFINISHED_S, quota, self.now)

    def now(self) -> float:
        return time.time() + self.late_s

    def close(self) -> None:
        self.saves.close()

    def create(self, owner: str = "ann") -> Save:
        return self.saves.create(owner, f"save {next(NUMBERS)}", BASE)

    def send(self, save: Save, chunks: Iterable[bytes]) -> None:
        """As a client does: only what is missing."""
        by_name = {name_of(chunk): chunk for chunk in chunks}
        for name in self.saves.missing(save, list(by_name)):
            self.saves.store_chunk(save, name, by_name[name])

    def switch(self, save: Save, chunks: Iterable[bytes], before: str | None, note: str) -> Save:
        """Switches to a manifest of these chunks, if `before` is the current etag."""
        data = manifest_of(*chunks, device=note)
        return self.saves.switch(save, parse_manifest(data), data, lambda etag: etag == before)[0]

    def push(self, save: Save, *chunks: bytes, note: str = "") -> Save:
        """A whole push onto what is current."""
        now = self.saves.find(save.save_id)
        assert now is not None
        self.send(save, chunks)
        return self.switch(now, chunks, now.etag, note or f"push {next(NUMBERS)}")

    def objects(self, save: Save) -> list[str]:
        """The names of what the store has of it, with those of unfinished files."""
        if hasattr(self.where, "address"):
            found = self.where.keys(f"{save.save_id}/")
        else:
            paths = (self.where / save.save_id).glob("*/*")
            found = [path.name for path in paths]
        return sorted(key.rpartition("/")[2] for key in found)

    def names(self, save: Save) -> list[str]:
        """The SHA-256 of each."""
        return [name.partition(".")[0] for name in self.objects(save)]

    def chunks(self, save: Save) -> dict[int, set[str]]:
        """The chunks of each kept generation: every one of them is read and verified."""
        found = {}
        _, _, generations = self.saves.describe(save)
        for generation in generations:
            read = self.saves.manifest(save, generation.generation)
            assert read is not None
            names = {chunk["sha256"] for chunk in json.loads(read[1])["chunks"]}
            for name in names:
                assert self.saves.chunk(save, name) is not None, (generation, name)
            found[generation.generation] = names
        return found
