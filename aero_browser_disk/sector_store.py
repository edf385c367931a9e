"""The sectors that were written of one disk, packed into one file that a crash cannot spoil.

The file is a row of slots of 4 KiB. What is written goes to a slot that nothing committed lies in;
`commit` then adds a batch to the chain of journal slots (see `sector_journal`) and makes both
durable; only after that may the slots that were replaced be used again. A small batch is made
durable together with its data in one flush, and carries a checksum of the data: if a crash comes
between, the batch counts when all of it is there. A large one is added after its data is durable.
So at any instant, in whatever order what was written reaches the medium, the next start finds all
that was committed, and of the rest all or nothing.

Room is made when something is written: slots for the data, for the records that a commit will add,
and for a snapshot of them all. A commit needs no more, and a disk that is full stays usable.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from itertools import groupby
from typing import Final, TypeVar

from .batch_chain import BatchChain
from .errors import StorageError, StorageFullError
from .granule_table import ALL, GRANULE, SECTORS, GranuleTable, entry_at
from .open_batch import OVERWRITABLE_AT_ONCE, OpenBatch
from .platform.base import File, ReadableBuffer, Storage, WritableBuffer
from .sector_journal import SLOT_SIZE, Contents, Header, slots_for
from .slot_space import FRESH, SlotSpace

SECTOR: Final = GRANULE // SECTORS
Range = tuple[int, int]
"""Offset and length in bytes."""
Taken = TypeVar("Taken")

_RUN_OF_ITS_OWN: Final = 16  # granules that are not worth to be buffered
_MOST_DISCARDED: Final = 1 << 16  # granules at once
_MOST_CHECKED: Final = 512  # granules in a batch that has a checksum
_LITTLE_TO_GAIN: Final = 8  # journal slots that are not worth to write the others anew


class SectorStore:
    """The file. What lies beneath what was not written is for the disk above to say."""

    def __init__(self, path: str, file: File) -> None:
        self.changes = 0
        """How often the contents were changed since the store was opened."""
        self._path = path
        self._file = file
        self._table = GranuleTable()
        self._space = SlotSpace(file)
        self._chain = BatchChain(path, file, self._space)
        self._batch = OpenBatch(file, self._space, self._chain)
        self._used = 0  # slots that hold data

    # ── opening ──────────────────────────────────────────────────────────────────────────────────

    @classmethod
    async def create(cls, storage: Storage, path: str, contents: Contents) -> SectorStore:
        """Makes a store in a file that is not there yet, or in which none was ever made.

        Raises `StorageError`, also when there is a store already, and `StorageFullError`.
        """
        store = cls(path, await storage.open(path))
        try:
            store._begin(contents)
        except BaseException:
            store.close()
            raise
        return store

    @classmethod
    async def open(cls, storage: Storage, path: str) -> SectorStore | None:
        """Opens the store in a file; None when none was ever made there.

        Raises `StorageBusyError` when another tab has it, `StorageError` when it is damaged.
        """
        try:
            file = await storage.open(path, create=False)
        except FileNotFoundError:
            return None
        store = cls(path, file)
        try:
            header = store._chain.read_header()
            if header is not None:
                store._replay(header)
                return store
        except BaseException:
            store.close()
            raise
        store.close()
        return None

    @property
    def contents(self) -> Contents:
        """What it is of."""
        return self._chain.header.contents

    @property
    def failure(self) -> StorageError | None:
        """Why nothing is written any more, after a flush failed."""
        return self._chain.failure

    @property
    def revision(self) -> int:
        """Counts what was committed, with what was written since as one more."""
        return self._chain.commits + self.is_dirty

    @property
    def is_dirty(self) -> bool:
        """Whether anything was written since the last commit."""
        return not self._batch.is_empty

    @property
    def used_bytes(self) -> int:
        """Bytes of room that what was written takes, in granules."""
        return self._used * GRANULE

    @property
    def file_bytes(self) -> int:
        """Bytes in the file."""
        return self._space.slots * SLOT_SIZE

    def commit_and_close(self) -> None:
        """Closes the file, after a commit unless one failed. Raises `StorageError`, and closes."""
        try:
            if self.failure is None:
                self.commit()
        finally:
            self.close()

    def close(self) -> None:
        """Closes the file; what was not committed is gone. Idempotent."""
        self._file.close()

    # ── reading ──────────────────────────────────────────────────────────────────────────────────

    def read_into(self, offset: int, target: WritableBuffer) -> list[Range]:
        """Fills `target` from `offset` as far as sectors there were written; returns the rest.

        Raises `StorageError`.
        """
        granule, start = divmod(offset, GRANULE)
        length = len(target)
        if start + length <= GRANULE:  # one granule, which is what guests mostly ask for
            entry = self._table[granule]
            if not entry:
                return [(offset, length)] if length else []
            if entry & ALL == ALL:
                self._read_slot(entry >> SECTORS, start, target)
                return []
        missing: list[Range] = []
        end = offset + length
        at = offset
        with memoryview(target) as view:
            for first, count, entry in self._table.runs(granule, -(-end // GRANULE)):
                start = max(first * GRANULE, offset)
                stop = min((first + count) * GRANULE, end)
                _add(missing, at, start)
                if entry & ALL == ALL:
                    skipped = start - first * GRANULE
                    self._read_run(entry, skipped, view[start - offset : stop - offset])
                else:
                    self._read_sectors(first, count, entry, offset, view, missing)
                at = stop
        _add(missing, at, end)
        return missing

    def locate(self, offset: int, length: int) -> tuple[File, int] | None:
        """The file and the place in it of bytes that lie there as a whole, until the next call.

        None when they lie apart, in memory, or take no room.
        """
        granule, start = divmod(offset, GRANULE)
        count = -(-(start + length) // GRANULE)
        first, found, entry = next(self._table.runs(granule, granule + count), (granule, 0, 0))
        slot = entry >> SECTORS
        if first != granule or found < count or entry & ALL != ALL or not slot:
            return None
        if not self._batch.buffered.keys().isdisjoint(range(slot, slot + count)):
            return None
        return self._file, slot * SLOT_SIZE + start

    def is_untouched(self, offset: int, length: int) -> bool:
        """Whether nothing was written of the granules that a range lies in."""
        runs = self._table.runs(offset // GRANULE, -(-(offset + length) // GRANULE))
        return next(runs, None) is None

    def ranges(self, start: int, stop: int) -> Iterator[tuple[int, int, bool]]:
        """What was written from byte `start` to `stop`: offset, length, and whether it is zeros.

        Zeros are those that take no room; others count as data. In order, as long as can be.
        """
        at = end = 0
        zeros = False
        for offset, length, is_zeros in self._pieces(start // GRANULE, -(-stop // GRANULE)):
            first, last = max(offset, start), min(offset + length, stop)
            if first >= last:
                continue
            if first == end and is_zeros == zeros and end > at:
                end = last
            else:
                if end > at:
                    yield at, end - at, zeros
                at, end, zeros = first, last, is_zeros
        if end > at:
            yield at, end - at, zeros

    # ── writing ──────────────────────────────────────────────────────────────────────────────────

    def edges(self, offset: int, length: int) -> list[int]:
        """Offsets of the sectors that a write covers a part of and of which nothing is here."""
        if not length or not (offset | length) % SECTOR:
            return []
        end = offset + length
        first, last = offset - offset % SECTOR, (end - 1) // SECTOR * SECTOR
        cut = {first} if offset % SECTOR else set()
        if end % SECTOR and end != self.contents.size:
            cut.add(last)
        return [sector for sector in sorted(cut) if not self._holds(sector)]

    def write(
        self, offset: int, data: ReadableBuffer, beneath: Mapping[int, bytes] | None = None
    ) -> None:
        """Writes any bytes. `beneath` has the sectors that `edges` asked for; others are zeros.

        Raises `StorageFullError` and other `StorageError`s; nothing of it is written then, unless
        the file failed in the middle of it.
        """
        length = len(data)
        if not length:
            return
        self._check()
        with memoryview(data) as view:
            if (offset | length) % SECTOR:
                with memoryview(self._padded(offset, view, beneath or {})) as padded:
                    self._write_sectors(offset - offset % SECTOR, padded)
            else:
                self._write_sectors(offset, view)
        self.changes += 1

    def discard(self, offset: int, length: int, *, hide: bool) -> None:
        """Forgets what whole granules hold, so that they take no room; the rest is made zeros.

        With `hide` they read as zeros from now on, without it as what lies beneath. Raises as
        `write`; a part of it may be done then.
        """
        end = offset + length
        first, last = -(-offset // GRANULE), end // GRANULE
        if end == self.contents.size:
            last = -(-end // GRANULE)
        if first >= last:
            self._write_zeros(offset, length)
            return
        self._write_zeros(offset, first * GRANULE - offset)
        self._write_zeros(last * GRANULE, end - last * GRANULE)
        for start in range(first, last, _MOST_DISCARDED):
            self._check()
            self._with_room(lambda: self._batch.reserve(0, 1, is_new=False))
            self._replace(start, min(_MOST_DISCARDED, last - start), ALL if hide else 0)
            self.changes += 1

    def commit(self) -> None:
        """Returns once all that was written is durable.

        Raises `StorageError`; what was written is then still here, but may not be after a crash.
        """
        self._check_failure()
        self._batch.write_out()
        if not self._batch.is_empty:
            is_large = self._batch.fresh_slots > _MOST_CHECKED
            if is_large:
                self._chain.flush()
            self._chain.append(list(self._batch.records(self._table)), is_data_durable=is_large)
            self._batch.settle()
        if self._chain.is_long:
            self._try_to_rewrite()

    def compact(self) -> None:
        """Commits, writes the chain anew, as short as can be, and gives free room back.

        Raises `StorageFullError` when there is no room for both chains; all is as it was then.
        """
        self.commit()
        self._batch.give_pool_back()
        self._rewrite(self.contents)

    def rebind(self, contents: Contents) -> None:
        """Commits, and says anew what the store is of. Durable when it returns; all or nothing.

        What lies beyond a smaller size is forgotten. Raises `StorageError`.
        """
        self.commit()
        if contents.size < self.contents.size:
            self._cut(contents.size)
        self._rewrite_or_fail(contents)

    def clear(self, contents: Contents) -> None:
        """Forgets everything. Durable when it returns; all or nothing. Raises `StorageError`."""
        self._check_failure()
        self._replace(0, -(-self.contents.size // GRANULE), 0)
        self.changes += 1
        self._rewrite_or_fail(contents)

    # ── inside: reading ──────────────────────────────────────────────────────────────────────────

    def _read_slot(self, slot: int, start: int, target: WritableBuffer) -> None:
        buffered = self._batch.buffered.get(slot)
        if buffered is not None:
            target[:] = buffered[start : start + len(target)]
        elif not slot:
            target[:] = bytes(len(target))
        elif self._file.read_into(target, slot * SLOT_SIZE + start) != len(target):
            raise self._damage("it is too short")

    def _read_run(self, entry: int, start: int, target: memoryview) -> None:
        """Reads slots that lie one behind the other, from byte `start` of the first."""
        slot = entry >> SECTORS
        if not slot or start + len(target) <= SLOT_SIZE:
            self._read_slot(slot, start, target)
            return
        if self._file.read_into(target, slot * SLOT_SIZE + start) != len(target):
            raise self._damage("it is too short")
        for buffered, data in self._batch.buffered.items():
            at = (buffered - slot) * SLOT_SIZE - start
            if -SLOT_SIZE < at < len(target):
                part = target[max(0, at) : at + SLOT_SIZE]
                skipped = max(0, -at)
                part[:] = data[skipped : skipped + len(part)]

    def _read_sectors(
        self,
        first: int,
        count: int,
        entry: int,
        offset: int,
        view: memoryview,
        missing: list[Range],
    ) -> None:
        """Reads granules of which not all sectors were written, as far as `view` takes them."""
        end = offset + len(view)
        for index in range(count):
            base = (first + index) * GRANULE
            slot = entry_at(entry, index) >> SECTORS
            for start, stop, held in _sector_runs(entry & ALL):
                low, high = max(base + start, offset), min(base + stop, end)
                if low >= high:
                    continue
                if held:
                    self._read_slot(slot, low - base, view[low - offset : high - offset])
                else:
                    _add(missing, low, high)

    def _pieces(self, start: int, stop: int) -> Iterator[tuple[int, int, bool]]:
        for first, count, entry in self._table.runs(start, stop):
            if entry & ALL == ALL:
                yield first * GRANULE, count * GRANULE, entry == ALL
                continue
            for granule in range(first, first + count):
                for low, high, held in _sector_runs(entry & ALL):
                    if held:
                        yield granule * GRANULE + low, high - low, entry <= ALL

    def _holds(self, sector: int) -> bool:
        """Whether the sector at that offset was written."""
        return bool(self._table[sector // GRANULE] >> sector % GRANULE // SECTOR & 1)

    # ── inside: writing ──────────────────────────────────────────────────────────────────────────

    def _check(self) -> None:
        """Raises why nothing can be written; sees to it that what is not committed is bounded."""
        self._check_failure()
        self._batch.limit_memory()
        if self._batch.is_large:
            self.commit()

    def _check_failure(self) -> None:
        if self._chain.failure is not None:
            raise self._chain.failure

    def _padded(self, offset: int, data: memoryview, beneath: Mapping[int, bytes]) -> bytearray:
        """`data` grown to whole sectors, by what the first and the last hold now."""
        start = offset - offset % SECTOR
        stop = -(-(offset + len(data)) // SECTOR) * SECTOR
        padded = bytearray(stop - start)
        for sector in {start, stop - SECTOR}:
            at = sector - start
            if self._holds(sector):
                with memoryview(padded)[at : at + SECTOR] as part:
                    self.read_into(sector, part)
            elif sector in beneath:
                padded[at : at + len(beneath[sector])] = beneath[sector]
        padded[offset - start : offset - start + len(data)] = data
        return padded

    def _write_sectors(self, offset: int, data: memoryview) -> None:
        granule, start = divmod(offset, GRANULE)
        end = start + len(data)
        if end <= GRANULE:  # one granule, which is what guests mostly write
            is_new = self._table[granule] <= ALL
            self._with_room(lambda: self._batch.reserve(1, 1, is_new=is_new))
            self._write_granule(granule, start, data)
            return
        first, last = granule + (start > 0), end // GRANULE + granule
        if last - first >= _RUN_OF_ITS_OWN:
            head = first * GRANULE - offset
            stop = last * GRANULE - offset
            self._write_with_run(granule, start, data[:head], data[head:stop], data[stop:])
            return
        is_new = not self._has_slots(granule, -(-(offset + len(data)) // GRANULE))
        count = last - first + 2
        self._with_room(lambda: self._batch.reserve(count, count, is_new=is_new))
        self._write_small(granule, start, data)

    def _write_with_run(
        self, granule: int, start: int, head: memoryview, run: memoryview, tail: memoryview
    ) -> None:
        """Writes whole granules with, before and behind them, parts of others."""
        first = granule + bool(head)
        count = len(run) // GRANULE
        is_new = not self._has_slots(granule, first + count + bool(tail))

        def take() -> list[Range]:
            self._batch.reserve(2, 2, is_new=is_new)
            return self._batch.take_run(count, is_new=is_new)

        try:
            slots = self._with_room(take)
        except StorageFullError:
            if is_new:
                raise
            self._write_over(granule, start, b"".join((head, run, tail)))
            return
        self._write_run(first, run, slots)
        self._write_small(granule, start, head)
        self._write_small(first + count, 0, tail)

    def _write_over(self, granule: int, start: int, data: bytes) -> None:
        """Writes over what there is, little by little, where there is hardly room."""
        with memoryview(data) as view:
            at = 0
            while at < len(view):
                length = OVERWRITABLE_AT_ONCE * GRANULE - start
                with view[at : at + length] as part:
                    self._with_room(
                        lambda: self._batch.reserve(
                            OVERWRITABLE_AT_ONCE, OVERWRITABLE_AT_ONCE, is_new=False
                        )
                    )
                    self._write_small(granule, start, part)
                at += length
                granule += OVERWRITABLE_AT_ONCE
                start = 0

    def _write_small(self, granule: int, start: int, data: memoryview) -> None:
        """Writes granules, or parts of them, one by one. The room for it is there."""
        at = 0
        while at < len(data):
            length = min(GRANULE - start, len(data) - at)
            self._write_granule(granule, start, data[at : at + length])
            at += length
            granule += 1
            start = 0

    def _write_granule(self, granule: int, start: int, data: memoryview) -> None:
        length = len(data)
        entry = self._table[granule]
        slot = entry >> SECTORS
        mask = ((1 << length // SECTOR) - 1) << start // SECTOR
        if self._space.states[slot] == FRESH:
            self._write_again(slot, start, data)
            if entry | mask != entry:
                self._table.put_single(granule, entry | mask)
                self._batch.note_change(granule, granule + 1, ())
            return
        if length == GRANULE:
            whole = bytearray(data)
        else:
            whole = bytearray(GRANULE)
            if slot:
                self._read_slot(slot, 0, whole)
            whole[start : start + length] = data
        fresh = self._batch.next_slot()
        self._batch.buffered[fresh] = whole
        self._replace(granule, 1, fresh << SECTORS | entry & ALL | mask)

    def _write_again(self, slot: int, start: int, data: memoryview) -> None:
        """Writes to a slot of which nothing was committed."""
        buffered = self._batch.buffered.get(slot)
        if buffered is None:
            # Not in the file at once: a write that is refused half way must not have begun.
            buffered = bytearray(GRANULE)
            self._read_slot(slot, 0, buffered)
            self._batch.buffered[slot] = buffered
        buffered[start : start + len(data)] = data

    def _write_run(self, granule: int, data: memoryview, slots: list[Range]) -> None:
        """Writes whole granules, straight into the file."""
        at = 0
        try:
            for start, stop in slots:
                length = (stop - start) * GRANULE
                self._file.write(data[at : at + length], start * SLOT_SIZE)
                at += length
        except BaseException:
            self._batch.give_back(slots)
            raise
        self._batch.note_written(slots)
        for start, stop in slots:
            self._replace(granule, stop - start, start << SECTORS | ALL)
            granule += stop - start

    def _write_zeros(self, offset: int, length: int) -> None:
        for at in range(offset, offset + length, GRANULE):
            self.write(at, bytes(min(GRANULE, offset + length - at)), {})

    def _replace(self, granule: int, count: int, entry: int) -> None:
        """Puts a run into the table, and sees to what it replaces."""
        gone = self._table.put(granule, count, entry)
        self._used += (count if entry > ALL else 0) - len(gone)
        self._batch.note_change(granule, granule + count, gone)

    def _has_slots(self, start: int, stop: int) -> bool:
        """Whether each of the granules takes room already."""
        held = sum(n for _, n, entry in self._table.runs(start, stop) if entry > ALL)
        return held == stop - start

    def _with_room(self, take: Callable[[], Taken]) -> Taken:
        """What `take` takes, for which others' room may have to be freed first."""
        try:
            return take()
        except StorageFullError:
            free = self._space.free
            self.commit()
            if len(self._chain) > slots_for(self._batch.snapshot_records) + _LITTLE_TO_GAIN:
                self._try_to_rewrite()
            if self._space.free <= free:
                raise
            return take()

    # ── inside: the chain ────────────────────────────────────────────────────────────────────────

    def _try_to_rewrite(self) -> None:
        try:
            self._rewrite(self.contents)
        except StorageFullError:
            self._chain.put_off_rewriting()

    def _rewrite_or_fail(self, contents: Contents) -> None:
        try:
            self._rewrite(contents)
            self._rewrite(contents)  # where there was no room before, so that the file can shrink
        except StorageError as error:
            self._chain.failure = error  # what is in memory is not what the file says
            raise

    def _rewrite(self, contents: Contents) -> None:
        """Writes the chain anew, as the table says; all other room is free then."""
        self._batch.write_out()
        end = -(-max(self.contents.size, contents.size) // GRANULE)
        records = [
            (granule << SECTORS | entry & ALL, count, entry >> SECTORS)
            for granule, count, entry in self._table.runs(0, end)
        ]
        self._space.look_from_the_start()
        self._chain.rewrite(records, contents)
        self._batch.settle()
        self._batch.snapshot_records = len(records)
        self._batch.keep_for_snapshot()
        self._space.cut()

    # ── inside: opening ──────────────────────────────────────────────────────────────────────────

    def _begin(self, contents: Contents) -> None:
        if self._chain.read_header() is not None:
            raise StorageError(self._path, "there is something already")
        try:
            self._chain.begin(contents)
        except StorageError:
            self._file.truncate(0)  # a header that is there in part may be all that it takes
            raise

    def _replay(self, header: Header) -> None:
        """Reads the chain: what is in the store."""
        for records in self._chain.replay(header):
            self._batch.snapshot_records += 2 * len(records)
            gone = self._table.put_records(records)
            self._space.give_back(gone)
            try:
                self._used += self._space.settle_records(records) - len(gone)
            except IndexError:
                raise self._damage("its journal speaks of slots that it has not") from None
        self._space.recount()
        self._batch.keep_for_snapshot()
        self._chain.resume()

    def _cut(self, size: int) -> None:
        """Forgets what lies beyond a size, down to the byte."""
        sector_end = -(-size // SECTOR) * SECTOR
        if size < sector_end and self._holds(size - size % SECTOR):
            self._write_zeros(size, sector_end - size)
        granule, start = divmod(sector_end, GRANULE)
        if start:
            entry = self._table[granule]
            left = entry & ~(ALL << start // SECTOR & ALL)
            self._table.put_single(granule, left if left & ALL else 0)
            if entry > ALL and not left & ALL:
                self._batch.note_change(granule, granule + 1, [entry >> SECTORS])
                self._used -= 1
            granule += 1
        self._replace(granule, -(-self.contents.size // GRANULE) - granule, 0)

    def _damage(self, what: str) -> StorageError:
        return StorageError(self._path, f"{what}. Nothing of it was changed.")


def _add(ranges: list[Range], start: int, stop: int) -> None:
    """Adds what lies from `start` to `stop`, joined with the range before when they touch."""
    if start >= stop:
        return
    if ranges and sum(ranges[-1]) == start:
        start = ranges.pop()[0]
    ranges.append((start, stop - start))


@cache
def _sector_runs(mask: int) -> tuple[tuple[int, int, bool], ...]:
    """The parts of a granule from start to stop, in bytes, that a mask has and that it has not."""
    bits = [mask >> index & 1 for index in range(SECTORS)]
    parts = []
    at = 0
    for is_held, group in groupby(bits):
        stop = at + len(list(group)) * SECTOR
        parts.append((at, stop, bool(is_held)))
        at = stop
    return tuple(parts)
