"""Operations on saves, killed after any of their steps: run by `KilledProgram`.

A step is a call to the database, the removal of an object, or a file or folder that was synced.
"""

from __future__ import annotations

import hashlib
import os
import sys
import time
from pathlib import Path
from typing import Any

from killed_uploads import Stepping, Steps, obey

from aero_browser_disk.service.saves.save_manifest import parse_manifest
from aero_browser_disk.service.saves.save_records import SaveRecords
from aero_browser_disk.service.saves.save_store import FolderSaveStore
from aero_browser_disk.service.saves.saves import Saves

_SYNC = os.fsync


class SteppingStore(FolderSaveStore):
    """Each sync of a put is a step: before and after the file has its name."""

    def __init__(self, folder: Path, steps: Steps) -> None:
        super().__init__(folder)
        self._steps = steps

        def sync(descriptor: int) -> None:
            _SYNC(descriptor)
            steps.taken()

        os.fsync = sync

    def remove(self, key: str) -> None:
        super().remove(key)
        self._steps.taken()


def run(records: SaveRecords, folder: Path, unfinished_s: int, asked: dict[str, Any]) -> None:
    steps = Steps(asked["steps"])
    late_s = asked.get("late_s", 0)
    saves = Saves(
        Stepping(records, steps),  # type: ignore[arg-type]
        SteppingStore(folder, steps),
        unfinished_s,
        clock=lambda: time.time() + late_s,
    )
    save = records.get(asked["save"])
    assert save is not None
    match asked["operation"]:
        case "push":
            chunks = [bytes.fromhex(text) * 2500 for text in asked["chunks"]]
            by_name = {hashlib.sha256(chunk).hexdigest(): chunk for chunk in chunks}
            for name in saves.missing(save, list(by_name)):
                saves.store_chunk(save, name, by_name[name])
            manifest = asked["manifest"].encode()
            before = save.etag
            saves.switch(save, parse_manifest(manifest), manifest, lambda etag: etag == before)
        case "remove":
            saves.remove(save)
            saves.clean_up()
        case "remove_generation":
            saves.remove_generation(save, asked["generation"])
            saves.clean_up()
        case "clean_up":
            saves.clean_up()


def main(database: str, folder: str, generations: str, unfinished_s: str) -> None:
    records = SaveRecords(database, int(generations), int(unfinished_s))
    # What is connected belongs to one process.
    records.close()
    obey(lambda asked: run(records, Path(folder), int(unfinished_s), asked))


if __name__ == "__main__":
    main(*sys.argv[1:])
