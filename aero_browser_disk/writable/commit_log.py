"""The chain of journal slots in a sector store's file: batches read, added, and written anew."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Final

from ..errors import StorageError
from ..platform.base import File
from ..records.journal_header import new_salt
from .sector_journal import (
    CHECKED,
    COMMIT,
    FIRST_SLOT,
    RECORDS_IN_SLOT,
    SLOT_SIZE,
    Contents,
    Header,
    JournalSlot,
    Record,
    decode_slot,
    encode_chain,
    newest_header,
    slots_for,
)
from .slot_allocator import HELD, SlotSpace

_SLOTS_AT_ONCE: Final = 8
_FEW_SLOTS: Final = 256  # behind a snapshot that are not worth another
_WINDOW: Final = 1 << 20

Placed = tuple[int, JournalSlot]


class BatchChain:
    """The chain. Slots for the next batch, and for the beginning of the one behind, are kept ready.

    After a failure that leaves open what is on the medium, `failure` is why nothing is added any
    more; the next start finds what was durable.
    """

    def __init__(self, path: str, file: File, space: SlotSpace) -> None:
        self.header = Header(0, 0, 0, 0, 0, Contents(0, ""))
        self.commits = 0
        """How many batches there ever were."""
        self.failure: StorageError | None = None
        self.room = 0
        """How many records the next batch may have."""
        self._path = path
        self._file = file
        self._space = space
        self._places: list[int] = []
        self._spare: list[int] = []
        self._seed = 0  # of the next slot's checksum
        self._rewrite_waits_for = 0  # slots of the chain, after want of room
        self._is_allocated = False  # the slots that are written next, since the file was opened

    def __len__(self) -> int:
        return len(self._places)

    @property
    def is_long(self) -> bool:
        """Whether it is worth to be written anew."""
        least = max(_FEW_SLOTS, 3 * self.header.snapshot_slots)
        return len(self._places) > max(least, self._rewrite_waits_for)

    # ── opening ──────────────────────────────────────────────────────────────────────────────────

    def read_header(self) -> Header | None:
        """The header that counts; None when none was ever written.

        Raises `StorageError` when it is lost.
        """
        places = bytearray(FIRST_SLOT * SLOT_SIZE)
        got = self._file.read_into(places, 0)
        header = newest_header(memoryview(places)[:got])
        if header is None and self._file.size() > FIRST_SLOT * SLOT_SIZE:
            raise self._damage("its header is lost")
        return header

    def begin(self, contents: Contents) -> None:
        """Makes the first header of a file, with nothing in it."""
        self._file.allocate(0, FIRST_SLOT * SLOT_SIZE)
        self._switch(Header(1, new_salt(), FIRST_SLOT, 0, 0, contents))
        self._seed = self.header.salt
        self._hold(FIRST_SLOT)

    def replay(self, header: Header) -> Iterator[Sequence[Record]]:
        """The records of the snapshot and of all batches that count, in order.

        That a slot follows a batch proves that the batch was durable. Of the last one the data is
        looked at. Raises `StorageError` when the snapshot is not whole.
        """
        self.header, self.commits = header, header.commits
        seed, next_slot = header.salt, header.chain
        window = _Window(self._file)
        for _ in range(header.snapshot_slots):
            found = decode_slot(window.slot(next_slot), seed)
            if found is None:
                raise self._damage("its journal is not whole")
            yield found.records
            self._places.append(next_slot)
            seed, next_slot = found.checksum, found.next_slot
        self._seed, self._spare = seed, [next_slot]
        batch: list[Placed] = []
        whole: list[Placed] = []
        while found := decode_slot(window.slot(next_slot), seed):
            yield from self._accept(whole)
            whole = []
            batch.append((next_slot, found))
            seed, next_slot = found.checksum, found.next_slot
            if found.flags & COMMIT:
                whole, batch = batch, []
        if whole and self._has_its_data(whole):
            yield from self._accept(whole)

    def resume(self) -> None:
        """Goes on behind what was replayed, once that is durable and all that can be found.

        After a kill it may not be on the medium yet; and what is there of a batch that does not
        count could be completed by the next one to come.
        """
        (next_slot,) = self._spare
        self._hold(next_slot)
        for place in self._places:
            self._space.mark(place, 1, HELD)
        found = bytearray(SLOT_SIZE)
        got = self._file.read_into(found, next_slot * SLOT_SIZE)
        if any(found[:got]):
            self._file.write(bytes(SLOT_SIZE), next_slot * SLOT_SIZE)
        self.flush()

    # ── adding ───────────────────────────────────────────────────────────────────────────────────

    @property
    def ready(self) -> int:
        """How many slots are kept ready for records."""
        return len(self._spare) - 1

    def allocate(self) -> None:
        """Sees to storage for the slots that were named before the file was opened.

        Raises `StorageFullError`.
        """
        if not self._is_allocated:
            self._file.allocate((self.header.serial + 1) % 2 * SLOT_SIZE, SLOT_SIZE)
            self._file.allocate(self._spare[0] * SLOT_SIZE, SLOT_SIZE)
            self._is_allocated = True

    def make_room(self) -> None:
        """Keeps slots ready for more records. Raises `StorageFullError`."""
        self.allocate()
        slot, count = self._space.take(_SLOTS_AT_ONCE, HELD)
        self._spare += range(slot, slot + count)
        self._note_room()

    def append(self, records: Sequence[Record], *, is_data_durable: bool) -> None:
        """Adds a batch, for which there is room; it and its data are durable then."""
        checksum = None if is_data_durable else self._data_checksum(records)
        count = slots_for(len(records))
        places, next_slot = self._spare[:count], self._spare[count]
        self._seed = self._write(self._seed, places, next_slot, records, checksum)
        self._places += places
        del self._spare[:count]
        self._note_room()
        self.commits += 1

    def rewrite(self, records: Sequence[Record], contents: Contents, *, is_change: bool) -> None:
        """Begins anew with a snapshot. All or nothing, and durable when it returns.

        With `is_change` the snapshot is another state than the last batch left: one more commit.
        Raises `StorageFullError` when there is no room for both, and other `StorageError`s.
        """
        self.allocate()
        places = self._take(slots_for(len(records)) + 1)
        next_slot = places.pop()
        serial, salt = self.header.serial + 1, new_salt()
        commits = self.commits + is_change
        header = Header(serial, salt, places[0], len(places), commits, contents)
        try:
            seed = self._write(salt, places, next_slot, records, None)
            self._switch(header)
        except BaseException:
            if self.failure is None:
                self._space.give_back([*places, next_slot])
            raise
        self._space.give_back(self._places)
        self._space.give_back(self._spare)
        self._places, self._spare, self._seed = places, [next_slot], seed
        self.commits = commits
        self._rewrite_waits_for = 0
        self._note_room()

    def relabel(self, contents: Contents) -> None:
        """Says anew what the store is of, at the same size. All or nothing, durable, needs no room.

        Raises `StorageError`.
        """
        self.allocate()
        self._switch(replace(self.header, serial=self.header.serial + 1, contents=contents))

    def put_off_rewriting(self) -> None:
        """Lets it grow twice as long: there was no room to write it anew, and it does no harm."""
        self._rewrite_waits_for = 2 * len(self._places)

    def flush(self) -> None:
        """Makes what was written durable."""
        try:
            self._file.flush()
        except StorageError as error:
            # what was lost now stays lost, though a later flush may succeed
            self.failure = error
            raise

    # ── inside ───────────────────────────────────────────────────────────────────────────────────

    def _accept(self, batch: list[Placed]) -> Iterator[Sequence[Record]]:
        for place, found in batch:
            yield found.records
            self._places.append(place)
            self._seed, self._spare = found.checksum, [found.next_slot]
        self.commits += bool(batch)

    def _has_its_data(self, batch: list[Placed]) -> bool:
        last = batch[-1][1]
        if not last.flags & CHECKED:
            return True
        records = [record for _, found in batch for record in found.records]
        return self._data_checksum(records) == last.data_checksum

    def _data_checksum(self, records: Iterable[Record]) -> int:
        """Of what the file has in the slots of these records."""
        checksum = 0
        for start, stop in merged((slot, slot + count) for _, count, slot in records if slot):
            for at in range(start * SLOT_SIZE, stop * SLOT_SIZE, _WINDOW):
                piece = bytearray(min(_WINDOW, stop * SLOT_SIZE - at))
                got = self._file.read_into(piece, at)
                checksum = zlib.crc32(memoryview(piece)[:got], checksum)
        return checksum

    def _write(
        self,
        seed: int,
        places: list[int],
        next_slot: int,
        records: Sequence[Record],
        checksum: int | None,
    ) -> int:
        """Writes a batch and flushes; returns the checksum that seeds the next one's."""
        chain, last = encode_chain(seed, places, next_slot, records, checksum)
        parts: list[bytes] = []
        start = places[0]
        for slot, data in chain:
            if slot != start + len(parts) or len(parts) == _WINDOW // SLOT_SIZE:
                self._file.write(b"".join(parts), start * SLOT_SIZE)
                parts, start = [], slot
            parts.append(data)
        self._file.write(b"".join(parts), start * SLOT_SIZE)
        self.flush()
        return last

    def _take(self, wanted: int) -> list[int]:
        places: list[int] = []
        reserve, self._space.reserve = self._space.reserve, 0  # this is what it is for
        try:
            while len(places) < wanted:
                slot, count = self._space.take(wanted - len(places), HELD)
                places += range(slot, slot + count)
        except StorageError:
            self._space.give_back(places)
            raise
        finally:
            self._space.reserve = reserve
        return places

    def _switch(self, header: Header) -> None:
        """Makes `header` the one that counts. When that fails, nobody knows which one does."""
        try:
            encoded = header.encode()
        except ValueError as error:
            raise StorageError(self._path, str(error)) from error
        try:
            self._file.write(encoded, header.place)
        except StorageError as error:
            self.failure = error
            raise
        self.flush()
        self.header = header

    def _hold(self, next_slot: int) -> None:
        self._space.mark(0, FIRST_SLOT, HELD)
        self._space.mark(next_slot, 1, HELD)
        self._spare = [next_slot]
        self._note_room()

    def _note_room(self) -> None:
        self.room = (len(self._spare) - 1) * RECORDS_IN_SLOT

    def _damage(self, what: str) -> StorageError:
        return StorageError(self._path, f"{what}. Nothing of it was changed.")


class _Window:
    """Slots of a file, many of which are read at once."""

    def __init__(self, file: File) -> None:
        self._file = file
        self._start = 0
        self._data = memoryview(b"")

    def slot(self, slot: int) -> memoryview:
        """A slot's bytes, less at the end of the file."""
        at = (slot - self._start) * SLOT_SIZE
        if not 0 <= at < len(self._data):
            data = bytearray(_WINDOW)
            got = self._file.read_into(data, slot * SLOT_SIZE)
            self._start, self._data, at = slot, memoryview(data)[:got], 0
        return self._data[at : at + SLOT_SIZE]


def merged(ranges: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Ranges from start to stop, in order, those that touch or overlap made one."""
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
