"""The commit log of a sector store: a chain of journal slots in the store's file.

Each commit adds one batch of records, which name the slots of the granules that it changed. A batch
takes one slot or more; each slot names the next one. Opening a store reads the chain from its
beginning, which the header names. A chain that has grown long is replaced by a snapshot of the
records.
"""

from __future__ import annotations

import secrets
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Final

from ..errors import DamagedDiskError, StorageError
from ..platform.base import File
from ..records.journal_header import new_salt, newest
from .log_reading import WINDOW, SlotWindow, read_header_copies
from .sector_journal import (
    CHECKED,
    COMMIT,
    FIRST_SLOT,
    SLOT_SIZE,
    UNITS_IN_SLOT,
    Contents,
    Header,
    JournalSlot,
    Record,
    UnitReader,
    count_units,
    decode_slot,
    encode_slot,
    encode_units,
    number_behind,
    slots_for,
    unpacked_units,
)
from .slot_allocator import USED, SlotAllocator
from .slot_checksums import SlotChecksums

_SLOTS_AT_ONCE: Final = 8
_FEW_SLOTS: Final = 256  # slots after a snapshot that are too few for a new one

PlacedSlot = tuple[int, JournalSlot]


class CommitLog:
    """Reads the log, appends batches, and rewrites it.

    Slots for the next batch are kept ready, and one for the beginning of the batch after it.

    After a failure that leaves the medium in an unknown state, `failure` is set and nothing more is
    appended; the next start finds what was durable.
    """

    def __init__(
        self, path: str, file: File, allocator: SlotAllocator, checksums: SlotChecksums
    ) -> None:
        self.header = Header(0, 0, 0, 0, 0, Contents(0, ""))
        self.commits = 0
        """How many commits there have been."""
        self.failure: StorageError | None = None
        self.capacity = 0
        """How many units the next batch may have."""
        self.session = 0
        """Which session made the last commit; 0 for one of an earlier format."""
        self.this_session = int.from_bytes(secrets.token_bytes(4), "little") or 1
        self._checksums = checksums
        self._path = path
        self._file = file
        self._allocator = allocator
        self._has_copy = True  # of the header
        self._is_header_durable = True
        self._units = UnitReader(checksums, 0)
        self._slots: list[int] = []
        self._spare: list[int] = []
        self._seed = 0  # of the next slot's checksum
        self._rewrite_waits_for = 0  # slots of the chain, after a rewrite found no space
        self._is_allocated = False  # the slots that are written next; set once the file was opened

    def __len__(self) -> int:
        return len(self._slots)

    @property
    def is_long(self) -> bool:
        """Whether a rewrite is worthwhile."""
        least = max(_FEW_SLOTS, 3 * self.header.snapshot_slots)
        return len(self._slots) > max(least, self._rewrite_waits_for)

    # ── opening ──────────────────────────────────────────────────────────────────────────────────

    def read_header(self) -> Header | None:
        """The header that counts; None when none was ever written.

        Raises `StorageError` when it is lost.
        """
        copies = read_header_copies(self._path, self._file)
        header = newest(copies)
        self._is_header_durable = False  # after a kill it may not be
        self._has_copy = len({copy.salt for copy in copies}) == 1 and len(copies) == FIRST_SLOT
        return header

    def begin(self, contents: Contents) -> None:
        """Makes the first header of a file, with nothing in it."""
        self._file.allocate(0, FIRST_SLOT * SLOT_SIZE)
        self._switch(Header(1, new_salt(), FIRST_SLOT, 0, 0, contents))
        self._seed = self.header.salt
        self._reserve_slots(FIRST_SLOT)

    def replay(self, header: Header, *, known_commits: int = 0) -> Iterator[Sequence[Record]]:
        """The records of the snapshot and of all batches that count, in order.

        A slot after a batch proves that the batch was durable. The data of the last one is checked,
        unless it is one of the `known_commits` that were durable. Raises `DamagedDiskError` when
        the snapshot is incomplete or there are fewer commits than known; IndexError for slots
        beyond the file.
        """
        self.header, self.commits, self.session = header, header.commits, header.session
        known = max(header.end, known_commits)
        seed, next_slot = header.salt, header.chain
        window = SlotWindow(self._file)
        self._units = UnitReader(self._checksums, self._file.size() // SLOT_SIZE)
        for _ in range(header.snapshot_slots):
            found = decode_slot(window.slot(next_slot), seed, header.salt)
            if found is None:
                raise self._damage("its journal is incomplete")
            yield self._units.read(found)
            self._slots.append(next_slot)
            seed, next_slot = found.checksum, found.next_slot
        self._seed, self._spare = seed, [next_slot]
        batch: list[PlacedSlot] = []
        whole: list[PlacedSlot] = []
        while found := decode_slot(window.slot(next_slot), seed, header.salt):
            yield from self._accept(whole)
            whole = []
            batch.append((next_slot, found))
            seed, next_slot = found.checksum, found.next_slot
            if found.flags & COMMIT:
                whole, batch = batch, []
        if whole and (self.commits < known or self._has_its_data(whole)):
            yield from self._accept(whole)
        if self.commits < known:
            missing = known - self.commits
            raise self._damage(f"its journal is cut short: the last {missing} flushes are missing")

    def check_end(self) -> None:
        """Checks that the chain ends where replay stopped. All slots in use must be marked before.

        Unless it was closed properly, there may be slots of later batches: then one in between is
        damaged. Raises `DamagedDiskError`.
        """
        header = self.header
        if header.format == 1 or (header.is_closed and header.end == self.commits):
            return
        for start, stop in self._allocator.free_runs(WINDOW // SLOT_SIZE):
            data = bytearray((stop - start) * SLOT_SIZE)
            got = self._file.read_into(data, start * SLOT_SIZE)
            with memoryview(data)[:got] as view:
                for at in range(0, got, SLOT_SIZE):
                    slot = view[at : at + SLOT_SIZE]
                    # The next batch may have been cut short; one behind it proves that it was not.
                    if number_behind(slot, header.salt, self.commits) > 1:
                        raise self._damage("its journal is damaged before its last flushes")

    def resume(self) -> None:
        """Prepares to append after the replayed batches, which are made durable first.

        After a kill they may not be on the medium yet. The remains of a batch that does not count
        are overwritten, or the next batch could complete it.
        """
        (next_slot,) = self._spare
        self._reserve_slots(next_slot)
        for slot in self._slots:
            self._allocator.mark(slot, 1, USED)
        found = bytearray(SLOT_SIZE)
        got = self._file.read_into(found, next_slot * SLOT_SIZE)
        if any(found[:got]):
            self._file.write(bytes(SLOT_SIZE), next_slot * SLOT_SIZE)
        if not self._has_copy and self.header.format > 1:
            self._write_header(self.header.copy())
        self.flush()

    # ── adding ───────────────────────────────────────────────────────────────────────────────────

    @property
    def ready(self) -> int:
        """How many slots are kept ready for records."""
        return len(self._spare) - 1

    def allocate(self) -> None:
        """Allocates storage for the next slots, which were named before the file was opened.

        The older copy of the header is replaced by one that says that the file is written to. It
        becomes durable with the first batch: if it is lost, the batch is still found after the end.
        Raises `StorageError`.
        """
        if self._is_allocated:
            return
        self._file.allocate(self._spare[0] * SLOT_SIZE, SLOT_SIZE)
        header = replace(self.header.copy(), is_closed=False)
        if header.format == 1:  # where the older copy may be a hole
            if not self._is_header_durable:
                self.flush()
            self._file.allocate(header.offset, SLOT_SIZE)
            self._switch(replace(header, format=2, end=self.commits))
        else:
            if not self._is_header_durable:
                self.flush()
            self._file.write(self._encoded(header), header.offset)
            self.header, self._is_header_durable = header, False
        self._is_allocated = True

    def make_space(self) -> None:
        """Keeps slots ready for more records. Raises `StorageFullError`."""
        self.allocate()
        slot, count = self._allocator.take(_SLOTS_AT_ONCE, USED)
        self._spare += range(slot, slot + count)
        self._note_capacity()

    def append(self, records: Sequence[Record], *, is_data_durable: bool) -> None:
        """Appends a batch, whose space is reserved; it and its data are durable when it returns."""
        self.allocate()
        units = encode_units(records, self._checksums)
        count = slots_for(count_units(units))
        slots, next_slot = self._spare[:count], self._spare[count]
        flags = 0 if is_data_durable else CHECKED
        number = self.commits + 1
        self._seed = self._write(self._seed, slots, next_slot, units, flags, number)
        self._slots += slots
        del self._spare[:count]
        self._note_capacity()
        self.commits, self.session = number, self.this_session

    def rewrite(self, records: Sequence[Record], contents: Contents, *, is_change: bool) -> None:
        """Replaces the chain by a snapshot. All or nothing; durable when it returns.

        With `is_change` the snapshot differs from the state after the last batch: it counts as a
        commit. Raises `StorageFullError` when there is no space for both, and other
        `StorageError`s.
        """
        self.allocate()
        units = encode_units(records, self._checksums)
        slots = self._take(slots_for(count_units(units)) + 1)
        next_slot = slots.pop()
        serial, salt = self.header.serial + 1, new_salt()
        commits = self.commits + is_change
        session = self.this_session if is_change else self.session
        header = Header(serial, salt, slots[0], len(slots), commits, contents, session, commits)
        try:
            seed = self._write(salt, slots, next_slot, units, 0, commits, salt)
            self._switch(header)
        except BaseException:
            if self.failure is None:
                self._allocator.give_back([*slots, next_slot])
            raise
        self._allocator.give_back(self._slots)
        self._allocator.give_back(self._spare)
        self._slots, self._spare, self._seed = slots, [next_slot], seed
        self.commits, self.session = commits, session
        self._rewrite_waits_for = 0
        self._note_capacity()

    def relabel(self, contents: Contents) -> None:
        """Replaces the contents in the header, at the same size.

        All or nothing; durable when it returns. It takes no space. Raises `StorageError`.
        """
        self.allocate()
        serial, end = self.header.serial + 1, self.commits
        self._switch(replace(self.header, serial=serial, contents=contents, end=end, format=2))

    def close(self) -> None:
        """Notes in the header that the chain is complete, unless that is noted.

        Raises `StorageError`; the next start then searches for the end.
        """
        if self.failure is None and not self.header.is_closed and self.header.format > 1:
            header = replace(self.header.copy(), end=self.commits, is_closed=True)
            self._write_header(header)
            self.flush()

    def put_off_rewriting(self) -> None:
        """Lets it grow twice as long before the next rewrite, as there was no space for this
        one."""
        self._rewrite_waits_for = 2 * len(self._slots)

    def flush(self) -> None:
        """Makes what was written durable."""
        try:
            self._file.flush()
        except StorageError as error:
            # what is lost now stays lost, even if a later flush succeeds
            self.failure = error
            raise
        self._is_header_durable = True

    # ── inside ───────────────────────────────────────────────────────────────────────────────────

    def _accept(self, batch: list[PlacedSlot]) -> Iterator[Sequence[Record]]:
        for slot, found in batch:
            yield self._units.read(found)
            self._slots.append(slot)
            self._seed, self._spare = found.checksum, [found.next_slot]
            self.session = found.session
        self.commits += bool(batch)

    def _has_its_data(self, batch: list[PlacedSlot]) -> bool:
        last = batch[-1][1]
        if not last.flags & CHECKED:
            return True
        try:
            records = [record for _, found in batch for record in self._units.read(found)]
        except IndexError:
            return False  # the file ends before its data: its growth was lost with a power failure
        slots = merged((slot, slot + count) for _, count, slot in records if slot)
        checksum = 0
        for start, stop in slots:
            for at in range(start, stop, WINDOW // SLOT_SIZE):
                data = bytearray(min(WINDOW, (stop - at) * SLOT_SIZE))
                got = self._file.read_into(data, at * SLOT_SIZE)
                with memoryview(data) as view:
                    if last.format == 1:
                        checksum = zlib.crc32(view[:got], checksum)
                    elif got < len(data) or self._checksums.check(at, view) is not None:
                        return False
        return last.format > 1 or checksum == last.data_checksum

    def _write(
        self,
        seed: int,
        slots: list[int],
        next_slot: int,
        units: bytes,
        flags: int,
        number: int,
        salt: int | None = None,
    ) -> int:
        """Writes a batch and flushes; returns the checksum of its last slot."""
        if salt is None:
            salt = self.header.salt
        parts: list[bytes] = []
        start = slots[0]
        following = [*slots[1:], next_slot]
        for slot, then, part in zip(slots, following, unpacked_units(units), strict=True):
            of_slot = flags | COMMIT if then == next_slot else 0
            data, seed = encode_slot(seed, then, of_slot, part, salt, number, self.this_session)
            if slot != start + len(parts) or len(parts) == WINDOW // SLOT_SIZE:
                self._file.write(b"".join(parts), start * SLOT_SIZE)
                parts, start = [], slot
            parts.append(data)
        self._file.write(b"".join(parts), start * SLOT_SIZE)
        self.flush()
        return seed

    def _take(self, wanted: int) -> list[int]:
        slots: list[int] = []
        reserve, self._allocator.reserve = self._allocator.reserve, 0  # the reserve is for this
        try:
            while len(slots) < wanted:
                slot, count = self._allocator.take(wanted - len(slots), USED)
                slots += range(slot, slot + count)
        except StorageError:
            self._allocator.give_back(slots)
            raise
        finally:
            self._allocator.reserve = reserve
        return slots

    def _switch(self, header: Header) -> None:
        """Makes `header` the one that counts. When that fails, it is unknown which one does.

        The second copy becomes durable with the next flush: until then the first one suffices.
        """
        self._write_header(header)
        self.flush()
        self._write_header(header.copy())

    def _write_header(self, header: Header) -> None:
        """Overwrites the older copy, once the newer one is durable."""
        encoded = self._encoded(header)
        if not self._is_header_durable:
            self.flush()
        self._is_header_durable = False
        try:
            self._file.write(encoded, header.offset)
        except StorageError as error:
            self.failure = error
            raise
        self.header = header

    def _encoded(self, header: Header) -> bytes:
        try:
            return header.encode()
        except ValueError as error:
            raise StorageError(self._path, str(error)) from error

    def _reserve_slots(self, next_slot: int) -> None:
        self._allocator.mark(0, FIRST_SLOT, USED)
        self._allocator.mark(next_slot, 1, USED)
        self._spare = [next_slot]
        self._note_capacity()

    def _note_capacity(self) -> None:
        self.capacity = (len(self._spare) - 1) * UNITS_IN_SLOT

    def _damage(self, what: str) -> DamagedDiskError:
        return DamagedDiskError(self._path, what)


def merged(ranges: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Sorts ranges from start to stop, and joins those that touch or overlap."""
    start = stop = -1
    for first, last in sorted(ranges):
        if first > stop:
            if stop > start:
                yield start, stop
            start, stop = first, last
        else:
            stop = max(stop, last)
    if stop > start:
        yield start, stop
