"""A power cut in a flush: whatever of it reached the medium, the disk opens, old or new."""

from __future__ import annotations

from itertools import product

import pytest

from aero_browser_disk.testing.failing_files import FailingStorage, Fate, Fragment, PowerCutError
from aero_browser_disk.writable.local_image import LocalImage
from aero_browser_disk.writable.sector_journal import SLOT_SIZE
from support.crashes import now

CHANGES = range(1, 8)
DATA = b"x" * 512
Key = tuple[int, str, int]


def key_of(fragment: Fragment) -> Key:
    """The slot that a fragment belongs to, and the change."""
    return fragment.change, fragment.kind, fragment.offset // SLOT_SIZE


def cut_in_a_flush(change: int) -> FailingStorage | None:
    """The storage after a power cut in that change of the first flush of a session, if it has as
    many."""
    storage = FailingStorage()
    now(now(LocalImage.create(storage, "x", 64 * 1024)).close())
    disk = now(LocalImage.open(storage, "x"))
    now(disk.write(0, DATA))
    storage.cut_power_at(change)
    try:
        now(disk.flush())
    except PowerCutError:
        return storage
    return None


@pytest.mark.parametrize("change", CHANGES)
def test_any_part_of_a_flush_leaves_the_old_disk_or_the_new_one(change: int) -> None:
    storage = cut_in_a_flush(change)
    if storage is None:
        assert change > 3  # else the flush has become too short for what is tested here
        return
    keys = sorted({key_of(fragment) for fragment in storage.unflushed()})
    for fates in product(("kept", "lost"), repeat=len(keys)):
        fate_of: dict[Key, Fate] = dict(zip(keys, fates, strict=True))
        after = storage.after_power_cut(lambda fragment, of=fate_of: of[key_of(fragment)])
        disk = now(LocalImage.open(after, "x"))
        assert now(disk.read(0, 512)) in (bytes(512), DATA)
        now(disk.write(512, DATA))
        now(disk.close())
        again = now(LocalImage.open(after, "x"))
        assert now(again.read(512, 512)) == DATA
        now(again.close())
