"""Damage of a written disk's file is an error that says so: never zeros, nor other content."""

from __future__ import annotations

import hashlib
import json
import random
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from aero_browser_disk.errors import DamagedDiskError, StorageError
from aero_browser_disk.testing.failing_files import FailingStorage
from aero_browser_disk.writable.local_image import LocalImage
from aero_browser_disk.writable.overlay import Overlay
from support.readme import ROOT

from .test_written_disk_crash import (
    CONTENT,
    GRANULE,
    SECTOR,
    SIZE,
    BaseDisk,
    content_of,
    make_small,
    now,
)

PATH = "x/sectors"
SEED = random.randrange(1 << 32)
"""Of the damage: another one in each run. Failures print it."""


def sectors_of(content: bytes) -> list[bytes]:
    return [bytes(content[at : at + SECTOR]) for at in range(0, len(content), SECTOR)]


@pytest.fixture(autouse=True)
def small_store(monkeypatch: pytest.MonkeyPatch) -> None:
    make_small(monkeypatch)


class Written:
    """A disk that was written to for a while: its file, at the end and before, and its content."""

    def __init__(self, kind: str, seed: int, *, is_closed: bool) -> None:
        self.kind = kind
        self.storage = FailingStorage()
        chance = random.Random(seed)
        disk = self.create()
        self.before_last = self.earlier = b""
        for number in range(30):
            self.before_last = content_of(disk)
            for _ in range(chance.choice([1, 1, 2])):
                offset = chance.randrange(SIZE - GRANULE)
                data = CONTENT[number * 700 :][: chance.choice([100, SECTOR, GRANULE, 3 * GRANULE])]
                disk.try_write(offset, data[: SIZE - offset])
            if number == 20:
                now(disk.discard(0, 3 * GRANULE))
            now(disk.flush())
            if number == 15:
                self.earlier = self.storage.content(PATH)
            if number == 24:
                now(disk.compact())
        self.content = content_of(disk)
        self.version = disk.info.version
        if is_closed:
            now(disk.close())
        self.file = self.storage.content(PATH)
        self.chain = set(disk._store._log._slots)

    def create(self) -> LocalImage | Overlay:
        if self.kind == "image":
            return now(LocalImage.create(self.storage, "x", SIZE))
        return now(Overlay.open(BaseDisk(), self.storage, "x"))

    def open(self, file: bytes, known_version: str | None) -> LocalImage | Overlay:
        storage = FailingStorage()
        storage.put(PATH, file)
        if self.kind == "image":
            return now(LocalImage.open(storage, "x", known_version=known_version))
        return now(
            Overlay.open(BaseDisk(), storage, "x", create=False, known_version=known_version)
        )


def read_sectors(disk: LocalImage | Overlay) -> list[bytes | None]:
    """Each sector, None for one that is said to be damaged."""
    found: list[bytes | None] = []
    for offset in range(0, SIZE, SECTOR):
        target = bytearray(min(SECTOR, SIZE - offset))
        try:
            disk.try_read_into(offset, target)
        except DamagedDiskError as error:
            is_there = error.offset <= offset < error.offset + error.length
            found.append(None if is_there else b"an error about something else")
        else:
            found.append(bytes(target))
    return found


# what happens to a slot of the file, in place


def flip(slot: bytearray, earlier: bytes, chance: random.Random) -> None:
    slot[chance.randrange(len(slot))] ^= 1 << chance.randrange(8)


def flip_in_the_head(slot: bytearray, earlier: bytes, chance: random.Random) -> None:
    slot[chance.randrange(min(100, len(slot)))] ^= 1 << chance.randrange(8)


def erase(slot: bytearray, earlier: bytes, chance: random.Random) -> None:
    slot[:] = bytes(len(slot))


def tear(slot: bytearray, earlier: bytes, chance: random.Random) -> None:
    at = chance.randrange(len(slot) // SECTOR) * SECTOR
    slot[at : at + SECTOR] = chance.randbytes(SECTOR)


def lose_a_write(slot: bytearray, earlier: bytes, chance: random.Random) -> None:
    slot[: len(earlier)] = earlier


DAMAGES: tuple[Callable[[bytearray, bytes, random.Random], None], ...] = (
    flip,
    flip_in_the_head,
    erase,
    tear,
    lose_a_write,
)


@pytest.mark.parametrize("is_closed", [True, False], ids=["closed", "killed"])
@pytest.mark.parametrize("knows", [True, False], ids=["in a library", "alone"])
@pytest.mark.parametrize("kind", ["image", "overlay"])
def test_every_sector_is_exact_or_said_to_be_damaged(kind, knows, is_closed) -> None:
    written = Written(kind, SEED, is_closed=is_closed)
    known = written.version if knows else None
    expected = sectors_of(written.content)
    before = sectors_of(written.before_last)
    refused = damaged = 0
    slots = len(written.file) // GRANULE
    for slot in range(slots):
        for damage in DAMAGES:
            chance = random.Random(f"{SEED}/{slot}/{damage.__name__}")
            file = bytearray(written.file)
            start, stop = slot * GRANULE, (slot + 1) * GRANULE
            part = file[start:stop]
            damage(part, written.earlier[start:stop], chance)
            file[start:stop] = part
            what = f"seed {SEED}, slot {slot}, {damage.__name__}"
            try:
                disk = written.open(bytes(file), known)
            except DamagedDiskError:
                refused += 1
                continue
            found = read_sectors(disk)
            if not knows and not is_closed and found == before:
                continue  # the last flush before a kill, which nothing else tells of
            for number, sector in enumerate(found):
                assert sector in (None, expected[number]), f"{what}, sector {number}"
            damaged += None in found
    assert refused > 5
    assert damaged > 5


@pytest.mark.parametrize("kind", ["image", "overlay"])
def test_a_file_that_was_cut_off_is_exact_or_damaged(kind) -> None:
    written = Written(kind, SEED, is_closed=True)
    expected = sectors_of(written.content)
    for length in range(0, len(written.file), 1000):
        what = f"seed {SEED}, cut to {length}"
        try:
            found = read_sectors(written.open(written.file[:length], written.version))
        except (DamagedDiskError, FileNotFoundError):
            continue
        assert all(a in (None, b) for a, b in zip(found, expected, strict=True)), what


@pytest.mark.parametrize("copy", [0, 1])
def test_one_copy_of_the_header_is_enough_and_is_made_anew(copy) -> None:
    written = Written("image", SEED, is_closed=True)
    file = bytearray(written.file)
    file[copy * GRANULE : (copy + 1) * GRANULE] = CONTENT[:GRANULE]
    disk = written.open(bytes(file), written.version)
    assert content_of(disk) == written.content
    now(disk.close())
    healed = bytearray(disk._storage.content(PATH))
    healed[(1 - copy) * GRANULE : (2 - copy) * GRANULE] = bytes(GRANULE)
    assert content_of(written.open(bytes(healed), written.version)) == written.content


def test_damaged_data_is_never_written_into_what_replaces_it() -> None:
    """A part of a granule is written: the rest of it would get a new checksum."""
    storage = FailingStorage()
    image = now(LocalImage.create(storage, "x", SIZE))
    image.try_write(0, b"d" * GRANULE)
    now(image.close())
    slot = image._store._table[0] >> 8
    storage.damage(PATH, slot * GRANULE + 1000, b"x")
    image = now(LocalImage.open(storage, "x"))
    with pytest.raises(DamagedDiskError):
        image.try_write(0, b"n" * SECTOR)
    image.try_write(0, b"n" * GRANULE)
    assert content_of(image)[:GRANULE] == b"n" * GRANULE


def test_an_older_copy_of_the_file_is_refused_and_changed_is_another_version() -> None:
    storage = FailingStorage()
    image = now(LocalImage.create(storage, "x", SIZE))
    image.try_write(0, b"one")
    now(image.close())
    backup = storage.content(PATH)
    image = now(LocalImage.open(storage, "x"))
    image.try_write(0, b"two")
    now(image.flush())
    version = image.info.version
    now(image.close())
    storage.put(PATH, backup)
    with pytest.raises(DamagedDiskError, match="flushes are missing"):
        now(LocalImage.open(storage, "x", known_version=version))
    image = now(LocalImage.open(storage, "x"))
    image.try_write(0, b"six")
    now(image.flush())
    assert image.info.version != version, "an overlay over 'two' would open over 'six'"


# ── files of format 1 ─────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def old_files() -> FailingStorage:
    """What the format had before data had checksums."""
    storage = FailingStorage()
    with zipfile.ZipFile(Path(ROOT) / "tests/support/data/written_disks_v1.zip") as files:
        for name in ("image", "overlay", "killed"):
            storage.put(f"{name}/sectors", files.read(f"{name}/sectors"))
        storage.expected = json.loads(files.read("expected.json"))
    return storage


def sha256(disk: LocalImage | Overlay) -> str:
    return hashlib.sha256(content_of(disk)).hexdigest()


def test_files_of_format_1_are_read_and_brought_up_to_date_when_written(old_files) -> None:
    expected = old_files.expected
    image = now(LocalImage.open(old_files, "image"))
    assert image.info.version == expected["image"]["version"]
    overlay = now(Overlay.open(image, old_files, "overlay"))
    assert sha256(overlay) == expected["overlay"]["sha256"]
    assert now(overlay.digest()) == expected["overlay"]["digest"]
    assert sha256(image) == expected["image"]["sha256"]
    now(overlay.close())
    killed = now(LocalImage.open(old_files, "killed"))
    assert sha256(killed) == expected["killed"]["sha256"]
    before = content_of(killed)
    killed.try_write(9000, b"new")
    now(killed.flush())
    now(killed.close())
    assert old_files.content("killed/sectors")[:8192].count(b"AEROSEC2") == 2
    killed = now(LocalImage.open(old_files, "killed"))
    assert content_of(killed) == before[:9000] + b"new" + before[9003:]


def test_a_compacted_file_of_format_1_has_checksums_of_all(old_files) -> None:
    image = now(LocalImage.open(old_files, "image"))
    version = image.info.version
    now(image.compact())
    content = content_of(image)
    assert image.info.version == version
    now(image.close())
    image = now(LocalImage.open(old_files, "image"))
    assert content_of(image) == content
    now(image.close())
    for granule, _, entry in list(image._store._table.runs(0, 256)):
        if entry >> 8:
            old_files.damage("image/sectors", (entry >> 8) * GRANULE, b"\xff\0\xff")
            image = now(LocalImage.open(old_files, "image"))
            with pytest.raises(StorageError):
                image.try_read_into(granule * GRANULE, bytearray(GRANULE))
            return
