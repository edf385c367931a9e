"""Whatever happens to the file and whenever it ends: what a flush acknowledged is there, and what
came after it is there or not, sector by sector.

The long form: ./scripts/test --fuzz 5000 tests/unit/writable/test_written_disk_crash.py
"""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule

from aero_browser_disk.disk import DiskInfo
from aero_browser_disk.errors import StorageError, StorageFullError
from aero_browser_disk.testing.failing_files import FATES, FailingStorage, PowerCutError
from aero_browser_disk.writable import (
    commit_log,
    log_reading,
    sector_journal,
    sector_store,
    sector_writer,
    slot_allocator,
    transaction,
)
from aero_browser_disk.writable.local_image import LocalImage
from aero_browser_disk.writable.overlay import Overlay
from aero_browser_disk.writable.sector_journal import SLOT_SIZE
from aero_browser_disk.writable.slot_allocator import FREE, USED, SlotAllocator
from support.crashes import (
    PLENTY,
    DyingMachine,
    Expected,
    all_left_by_kill,
    all_left_by_power_cut,
    for_crashes,
    now,
)
from support.fuzz import fuzz, rounds

SECTOR, GRANULE = 512, 4096
GRANULES = 14
SIZE = GRANULES * GRANULE - 700
"""Of a disk: the last granule is short, and so is its last sector."""
MOST_FAULTS = 30
BASE = random.Random(5).randbytes(SIZE)
CONTENT = random.Random(6).randbytes(1 << 20)


@pytest.fixture(autouse=True)
def small_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """Brings every limit of the store within reach of a few writes."""
    make_small(monkeypatch)


def make_small(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(sector_writer, "_RUN_OF_ITS_OWN", 3)
    patch.setattr(sector_store, "_MAX_CHECKED", 6)
    patch.setattr(sector_store, "_LITTLE_TO_GAIN", 2)
    patch.setattr(sector_writer, "OVERWRITABLE_AT_ONCE", 2)
    patch.setattr(transaction, "OVERWRITABLE_AT_ONCE", 2)
    patch.setattr(transaction, "_FOR_OVERWRITING", 8)
    patch.setattr(transaction, "_MAX_BUFFERED", 4)
    patch.setattr(transaction, "_POOL", 3)
    patch.setattr(transaction, "_MAX_FRESH", 24)
    patch.setattr(transaction, "_JOURNAL_SPACE", 6)
    patch.setattr(commit_log, "_SLOTS_AT_ONCE", 2)
    patch.setattr(commit_log, "_FEW_SLOTS", 6)
    for module in (commit_log, log_reading):
        patch.setattr(module, "WINDOW", 2 * GRANULE)
    patch.setattr(slot_allocator, "_GROWTH", 4)
    patch.setattr(slot_allocator, "_FEW", 0)
    patch.setattr(slot_allocator, "_MANY", 1 << 30)
    for module in (sector_journal, commit_log):
        patch.setattr(module, "UNITS_IN_SLOT", 3)


class BaseDisk:
    """A read-only disk in memory."""

    def __init__(self, content: bytes = BASE, version: str = "1") -> None:
        self.info = DiskInfo(len(content), version, GRANULE, read_only=True)
        self._content = content
        self.read_bytes = 0

    def try_read_into(self, offset, target) -> bool:
        target[:] = self._content[offset : offset + len(target)]
        self.read_bytes += len(target)
        return True

    async def read_into(self, offset, target) -> None:
        self.try_read_into(offset, target)

    async def flush(self) -> None:
        pass

    async def close(self) -> None:
        pass


Opener = Callable[[FailingStorage], "LocalImage | Overlay"]


def open_image(storage: FailingStorage) -> LocalImage:
    try:
        return now(LocalImage.open(storage, "x"))
    except FileNotFoundError:
        return now(LocalImage.create(storage, "x", SIZE))


def open_overlay(storage: FailingStorage) -> Overlay:
    return now(Overlay.open(BaseDisk(), storage, "x"))


KINDS: dict[str, tuple[Opener, bytes]] = {
    "image": (open_image, bytes(SIZE)),
    "overlay": (open_overlay, BASE),
}


def content_of(disk: LocalImage | Overlay) -> bytes:
    target = bytearray(disk.info.size)
    disk.try_read_into(0, target)
    return bytes(target)


# ── any order of anything ─────────────────────────────────────────────────────────────────────────


class CrashMachine(DyingMachine):
    """Writes, discards, flushes, failures, kills and power cuts in any order, on little space."""

    @initialize(atom=st.sampled_from([24, 512]), kind=st.sampled_from(sorted(KINDS)))
    def start(self, atom: int, kind: str) -> None:
        self.begin(atom)
        self.open, content = KINDS[kind]
        self.expected = Expected(content)
        self.disk = self.open(self.storage)

    # what is done with a disk

    @rule(
        sector=st.integers(0, SIZE // SECTOR),
        skip=st.one_of(st.just(0), st.integers(0, SECTOR)),
        length=st.one_of(
            st.sampled_from([SECTOR, GRANULE, 5 * GRANULE]), st.integers(0, 6 * GRANULE)
        ),
        seed=st.integers(0, 1 << 16),
    )
    def write(self, sector: int, skip: int, length: int, seed: int) -> None:
        offset = min(sector * SECTOR + skip, SIZE)
        data = CONTENT[seed : seed + min(length, SIZE - offset)]
        self.change(offset, data, lambda: self.disk.try_write(offset, data))

    @rule(offset=st.integers(0, SIZE), granules=st.integers(0, GRANULES), skip=st.integers(0, 2000))
    def discard(self, offset: int, granules: int, skip: int) -> None:
        length = min(granules * GRANULE + skip, SIZE - offset)
        self.change(offset, bytes(length), lambda: now(self.disk.discard(offset, length)))

    @rule()
    def flush(self) -> None:
        with self.perhaps_dying():
            try:
                now(self.disk.flush())
            except StorageFullError as error:
                if error.path != "told":
                    raise AssertionError("no space is left for what was accepted") from error
                return
            except StorageError:
                return
            self.expected.flushed()

    @rule()
    def compact(self) -> None:
        with self.perhaps_dying():
            try:
                now(self.disk.compact())
            except StorageError:
                return
            self.expected.flushed()

    @rule()
    def close_and_open(self) -> None:
        with self.perhaps_dying():
            try:
                was_sound = self.disk._store.failure is None
                now(self.disk.close())
                if was_sound:
                    self.expected.flushed()
            except StorageError:
                pass
            self.reopen()

    # what happens to its file, in an order that meets what is worth it

    @rule(
        sector=st.integers(0, SIZE // SECTOR - 1),
        change=st.integers(1, 4),
        kills=st.booleans(),
        seed=st.integers(0, 1 << 16),
    )
    def crash_in_a_flush(self, sector: int, change: int, kills: bool, seed: int) -> None:
        """In that of a small batch, of which the data and the journal go out together."""
        self.write(sector, 0, SECTOR, seed)
        self.plan_a_crash(change, kills, seed)
        self.flush()

    @rule(
        operation=st.sampled_from(["write", "flush"]),
        at=st.integers(1, 3),
        written=st.integers(0, 2 * GRANULE),
        then=st.sampled_from(["flush", "write", "crash"]),
        seed=st.integers(0, 1 << 16),
    )
    def flush_refused(self, operation, at, written, then, seed) -> None:
        """What was refused is flushed again, or more is written before it could be."""
        self.write_over_everything(seed)
        self.storage.fail(operation, at=at, written=written)
        self.flush()
        if then == "flush":
            self.flush()
            return
        self.write_over_everything(seed + 1)
        if then == "crash":
            self.kill()

    @rule(seed=st.integers(0, 1 << 16))
    def write_over_everything(self, seed: int) -> None:
        """More in one batch than there are free slots, if it is not committed on the way."""
        for granule in range(GRANULES):
            self.write(granule * GRANULE // SECTOR, 0, SECTOR, seed + granule)

    # what must hold

    @invariant()
    def reads_what_was_written(self) -> None:
        assert self.read_all() == self.expected.content

    # how it is done

    def change(self, offset: int, data: bytes, do: Callable[[], object]) -> None:
        after = self.expected.begin(offset, data)
        with self.perhaps_dying():
            try:
                do()
            except StorageFullError:
                self.read_range(offset, len(data))  # as it was: nothing is there in part
            except StorageError:
                self.expected.take_either(self.read_all(), after)
            else:
                self.expected.content = after

    def read_range(self, offset: int, length: int) -> None:
        found = bytearray(length)
        for _ in range(MOST_FAULTS):
            try:
                self.disk.try_read_into(offset, found)
                break
            except StorageError:
                continue
        assert found == self.expected.content[offset : offset + length]

    def read_all(self) -> bytes:
        for _ in range(MOST_FAULTS):
            try:
                return content_of(self.disk)
            except StorageError:
                continue  # it was told to fail: later it does not
        return content_of(self.disk)

    def reopen(self) -> None:
        for _ in range(MOST_FAULTS):
            try:
                self.disk = self.open(self.storage)
                break
            except PowerCutError:
                self.crash(in_a_change=True)
            except StorageFullError:
                self.storage.quota = self.storage.device = PLENTY
            except StorageError:
                continue  # it was told to fail: later it does not
        else:
            self.disk = self.open(self.storage)
        self.expected.check_after_crash(self.read_all())


class SmallCrashMachine(CrashMachine):
    """The same; Hypothesis runs it without fixtures."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        make_small(self.patch)

    def teardown(self) -> None:
        self.patch.undo()


TestCrashes = SmallCrashMachine.TestCase
TestCrashes.pytestmark = fuzz
TestCrashes.settings = for_crashes(rounds(150))


def test_a_write_that_is_refused_for_want_of_room_is_not_there_in_part() -> None:
    """It was written over little by little, and the space for that ran out on the way."""
    machine = CrashMachine()
    machine.start(atom=24, kind="image")
    machine.write(length=512, sector=80, seed=3029, skip=213)
    machine.change_quota(PLENTY)
    machine.write(length=4096, sector=9, seed=0, skip=0)
    machine.change_quota(0)
    machine.write(length=512, sector=0, seed=0, skip=0)
    machine.change_quota(PLENTY)
    machine.write(length=16897, sector=39, seed=0, skip=0)
    machine.write(length=512, sector=0, seed=0, skip=0)
    machine.change_quota(0)
    machine.write(length=512, sector=0, seed=0, skip=0)
    machine.write(length=20480, sector=32, seed=0, skip=0)
    machine.reads_what_was_written()


def test_a_batch_that_could_not_be_added_may_count_and_is_not_written_over() -> None:
    """Its records were all in the file when the write of them failed, and a checksum they had none;
    what came after went to the slots that they name, and the power was cut in it.
    """
    for change in (2, 4):
        machine = CrashMachine()
        machine.start(atom=24, kind="image")
        machine.crash_in_a_flush(change=1, kills=False, sector=0, seed=0)
        machine.crash_in_a_flush(change=1, kills=False, sector=0, seed=0)
        machine.flush_refused(at=3, operation="write", seed=0, then="write", written=4149)
        machine.crash_in_a_flush(change=change, kills=False, sector=0, seed=65535)
        machine.reads_what_was_written()


def test_a_file_that_could_not_be_cut_still_gives_slots_away() -> None:
    """Hypothesis finds this in one of some hundred runs: a later write never came back."""
    storage = FailingStorage()
    file = now(storage.open("x"))
    allocator = SlotAllocator(file)
    allocator.provide(100)
    first, count = allocator.take(100, USED)
    allocator.mark(first + 1, count - 1, FREE)
    storage.fail("truncate")
    with pytest.raises(StorageError):
        allocator.cut()

    given = {first}
    while len(given) < 200:
        slot, count = allocator.take(8, USED)
        assert count
        assert given.isdisjoint(range(slot, slot + count))
        given.update(range(slot, slot + count))
        assert slot + count <= file.size() // SLOT_SIZE


# ── every instant of one life ─────────────────────────────────────────────────────────────────────


class Life:
    """A scenario with all that an image and an overlay over it do, and what was promised of each.

    `committing` is set while the overlay is written into its base: then the base is in between.
    """

    def __init__(self, storage: FailingStorage) -> None:
        self.storage = storage
        self.image_content = Expected(bytes(SIZE))
        self.content = Expected(bytes(SIZE))
        self.has_overlay = self.committing = False

    def live(self) -> None:
        image = now(LocalImage.create(self.storage, "image", SIZE))
        for number in range(4):
            self.write(image, self.image_content, number * 9000, CONTENT[:3000])
            self.flush(image, self.image_content)
        self.write(image, self.image_content, 8192, CONTENT[5000 : 5000 + 5 * GRANULE])
        now(image.compact())
        self.image_content.flushed()
        self.content = Expected(bytes(self.image_content.content))
        self.has_overlay = True
        overlay = now(Overlay.open(image, self.storage, "overlay"))
        for number in range(10):  # the chain is rewritten on the way
            self.write(overlay, self.content, number * 5000 + 700, CONTENT[number : number + 1200])
            self.write(overlay, self.content, 40_000, CONTENT[number * 512 : number * 512 + 512])
            self.flush(overlay, self.content)
        self.discard(overlay, self.content, 9000, 20_000)
        self.write(overlay, self.content, 12_288, CONTENT[77 : 77 + 4 * GRANULE])
        self.write(overlay, self.content, SIZE - 90, CONTENT[:90])
        self.flush(overlay, self.content)
        self.committing = True
        now(overlay.commit())
        self.committing = False
        self.content.flushed()
        self.image_content = Expected(bytes(self.content.content))
        self.write(overlay, self.content, 100, CONTENT[900:9000])
        self.content.begin(0, bytes(self.image_content.content))
        now(overlay.reset())
        self.content = Expected(bytes(self.image_content.content))
        now(overlay.close())

    def write(
        self, disk: LocalImage | Overlay, expected: Expected, offset: int, data: bytes
    ) -> None:
        after = expected.begin(offset, data)
        disk.try_write(offset, data)
        expected.content = after

    def discard(
        self, disk: LocalImage | Overlay, expected: Expected, offset: int, length: int
    ) -> None:
        after = expected.begin(offset, bytes(length))
        now(disk.discard(offset, length))
        expected.content = after

    def flush(self, disk: LocalImage | Overlay, expected: Expected) -> None:
        now(disk.flush())
        expected.flushed()

    def check(self, after: FailingStorage) -> None:
        """What the next start finds."""
        try:
            image = now(LocalImage.open(after, "image"))
        except FileNotFoundError:
            assert not any(self.image_content.content), "the image is gone"
            return
        if not self.committing:
            self.image_content.copy().check_after_crash(content_of(image))
        if self.has_overlay:
            overlay = now(Overlay.open(image, after, "overlay"))
            self.content.copy().check_after_crash(content_of(overlay))


def changes_of_a_life() -> int:
    storage = FailingStorage()
    with pytest.MonkeyPatch.context() as patch:
        make_small(patch)
        Life(storage).live()
    return storage.changes


def ended_at(change: int, atom: int) -> Life:
    life = Life(FailingStorage(atom=atom))
    life.storage.cut_power_at(change)
    with pytest.raises(PowerCutError):
        life.live()
    return life


CHANGES = changes_of_a_life()


def test_the_scenario_is_worth_it():
    assert 120 < CHANGES < 400


@pytest.mark.parametrize("atom", [24, 512])
def test_killed_in_any_change_nothing_flushed_is_lost_and_nothing_torn(atom):
    for change in range(1, CHANGES + 1):
        life = ended_at(change, atom)
        for after in all_left_by_kill(life.storage):
            life.check(after)


@pytest.mark.parametrize("usual", FATES)
def test_with_the_power_cut_in_any_change_nothing_flushed_is_lost_and_nothing_torn(usual):
    for change in range(1, CHANGES + 1):
        life = ended_at(change, 512)
        for after in all_left_by_power_cut(life.storage, usual):
            life.check(after)
