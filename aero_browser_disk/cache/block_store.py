"""Blocks of one image in two files: packed slots, and the journal that says what lies in them.

`blocks` holds one block a slot, the last block of the image short. `journal` starts with two header
places, of which the valid one with the higher serial counts, and goes on with records: block, slot,
checksum of the data, each with a checksum of its own; see `block_journal`. The data's checksum is
seeded with the version and the block's number and the record's with its header's salt, so that
nothing can be taken for something else or be left over from before.

A block is written, then its record. A record that is not whole is passed over, and a block is
served once its checksum was seen to match in this session. So after a crash at any instant, in
whatever order the writes before it reached the disk, a block is there or it is missing; it is never
wrong. What was committed survives the end of the process, and, once flushed, of the power.
Compaction writes the live records to a free part of the journal and then switches headers.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice

from ..errors import StorageError, StorageFullError
from ..platform.base import File, ReadableBuffer, Storage, WritableBuffer
from ..records.journal_header import new_salt
from .block_journal import (
    FREED,
    FRESH,
    HELD,
    RECORD_SIZE,
    RECORDS_START,
    Header,
    StoredImage,
    block_checksum,
    decode_records,
    decode_snapshot,
    encode_record,
    encode_snapshot,
    newest_header,
)

__all__ = ["BlockStore", "StoredImage"]

_FEW_RECORDS = 1024  # after a snapshot that are not worth another
_LATEST = 0xFFFFFFFF  # the last second that a record can hold
_ELDEST_AT_ONCE = 256
_DOUBTFUL = array("q", [1 << 62])


class BlockStore:
    """The files. Which blocks are worth keeping is for `BlockCache` to say."""

    def __init__(self, blocks: File, journal: File) -> None:
        self.held: dict[int, int] = {}
        """The slot of each block held, least recently used first; changed by the methods only."""
        self.free_slots: list[int] = []
        """Slots of the file that no block holds."""
        self.fresh_until = 0
        """Until when the host vouches for the version, in seconds since the epoch."""
        self.damaged_records = 0
        """Records passed over when the store was opened."""
        self.file = blocks
        """The file that the blocks lie in, for reading only."""
        self._blocks = blocks
        self._journal = journal
        self._header: Header | None = None
        self._is_header_lost = False  # after a failure, none knows which header is in the file
        self._block_size = self._seed = 0
        self._eldest: dict[int, None] = {}  # the head of `held`, as far as it is known
        self._checksums = array("I")
        # By slot: how far its block is ahead of it, once its checksum matched in this session. So
        # blocks lie one behind the other, all of them trusted, where a run of these is equal.
        self._shifts = array("q")
        self._used = bytearray()  # by slot: 1 once a use of it was journaled
        self._allocated = bytearray()  # by slot: 1 once the device has storage for all of it
        self._written_since = 0  # blocks, since that began anew
        self._pending = bytearray()  # records not yet in the journal
        self._is_behind = False  # too many were pending: only a snapshot will do
        self._end = RECORDS_START
        self._snapshot_waits_for = 0  # records, after want of room

    @classmethod
    async def open(cls, storage: Storage, folder: str) -> BlockStore:
        """Opens the store in `folder`, empty when there is none or none that can be read.

        Raises `StorageBusyError` when another tab has it, and what else the storage raises.
        """
        blocks = await storage.open(f"{folder}/blocks")
        try:
            journal = await storage.open(f"{folder}/journal")
        except BaseException:
            blocks.close()
            raise
        store = cls(blocks, journal)
        try:
            store._replay()
        except BaseException:
            store.close()
            raise
        return store

    @property
    def image(self) -> StoredImage | None:
        """The image that the blocks belong to; None in a new store."""
        return self._header.image if self._header else None

    def begin(self, image: StoredImage) -> None:
        """Empties the store and binds it to `image`.

        Raises `StorageError`; then the store is as it was, or it is empty.
        """
        salt, serial = new_salt(), self._header.serial + 1 if self._header else 1
        header = Header(serial, salt, RECORDS_START, 0, salt, 0, image)
        self._switch(header)
        self._bind(header)
        self.held.clear()
        self._eldest.clear()
        self._shifts, self._used, self._checksums = array("q"), bytearray(), array("I")
        self._allocated = bytearray()
        self.fresh_until = self._written_since = self._snapshot_waits_for = 0
        self._pending.clear()
        self._is_behind = False
        self._end = RECORDS_START
        try:
            self._journal.truncate(RECORDS_START)
            self._blocks.truncate(0)
        finally:
            self.note_free_slots()

    # ── blocks ───────────────────────────────────────────────────────────────────────────────────

    def read_into(self, block: int, start: int, target: WritableBuffer) -> bool:
        """Fills `target` from byte `start` of a held block, and on into those that lie behind it.

        False when a block that it takes is not held, does not lie behind the one before, or is not
        what was written: such a block is not held any more.
        """
        length = len(target)
        place = self.locate(block, start, length)
        if place is None:
            return False
        if self._blocks.read_into(target, place) == length:
            return True
        self.free(block)
        return False

    def locate(self, block: int, start: int, length: int) -> int | None:
        """Where in the file of the blocks lie `length` bytes from byte `start` of a held block.

        None where `read_into` says False.
        """
        slot = self.held.get(block)
        if slot is None:
            return None
        block_size = self._block_size
        stop = start + length
        if stop <= block_size:
            if self._shifts[slot] != block - slot and not self._verify(block, slot):
                return None
        elif not self._is_run(block, slot, -(-stop // block_size)):
            return None
        return slot * block_size + start

    def write(self, block: int, slot: int, data: ReadableBuffer) -> None:
        """Puts blocks, one behind the other, into slots that no held block has.

        `block` and `slot` are the first of as many as `data` holds. Raises `StorageFullError` when
        there is no room for all: then none of them is held, and the file has not grown.
        """
        self.commit()  # what was in those slots must be gone from the journal before its bytes are
        block_size = self._block_size
        with memoryview(data) as view:
            count = -(-len(view) // block_size)
            self._make_slots(slot + count)
            self._write_slots(slot, view)
            held, checksums, seed = self.held, self._checksums, self._seed
            for index in range(count):
                piece = view[index * block_size : (index + 1) * block_size]
                checksums[slot + index] = block_checksum(seed, block + index, piece)
                before = held.pop(block + index, slot)
                self._shifts[before] = _DOUBTFUL[0]
                held[block + index] = slot + index
            self._append_run(block, slot, count)
        self._shifts[slot : slot + count] = array("q", [block - slot]) * count
        self._written_since += count
        if self._written_since > len(self.held) // 2:
            # From now on a use of any block is news again: half of the others came after the last.
            self._used, self._written_since = bytearray(len(self._used)), 0
        self._used[slot : slot + count] = b"\1" * count

    def move(self, block: int, slot: int) -> bool:
        """Brings a held block to a slot that no held block has; its place in the order stays.

        False when it is not what was written: such a block is not held any more. Raises as `write`.
        """
        data = bytearray(self._bound().block_length(block))
        if not self.read_into(block, 0, data):
            return False
        self.commit()
        before = self.held[block]
        self._write_slots(slot, memoryview(data))
        self._checksums[slot] = self._checksums[before]
        self._shifts[slot] = block - slot
        self.held[block] = slot
        self.free_slots.append(before)
        self._append(block, slot, HELD)
        return True

    def free(self, block: int) -> None:
        """Forgets a held block; its slot may be written from now on."""
        slot = self.held.pop(block)
        self._shifts[slot] = _DOUBTFUL[0]
        self._eldest.pop(block, None)
        self.free_slots.append(slot)
        self._append(block, slot, FREED)

    def eldest(self) -> int | None:
        """The least recently used block; None when none is held."""
        if not self._eldest:
            # Not one by one: the head of a dict that lost its first items is slow to find.
            self._eldest = dict.fromkeys(islice(self.held, _ELDEST_AT_ONCE))
        return next(iter(self._eldest), None)

    def note_use(self, blocks: Sequence[int]) -> None:
        """Makes held blocks the most recently used, in this order.

        The first use of each is journaled, and again once half of the store has been written anew.
        So the order survives a kill about as it was, at the cost of few records a block.
        """
        held, eldest, used = self.held, self._eldest, self._used
        last_uses = dict.fromkeys(reversed(blocks))  # only the last use of each counts
        moved = [block for block in reversed(last_uses) if block in held]
        # All at once, which takes a third of the time that one after the other does.
        slots = list(map(held.pop, moved))
        held.update(zip(moved, slots, strict=True))
        for block in eldest.keys() & last_uses.keys():
            del eldest[block]
        if all(map(used.__getitem__, slots)):
            return
        for block, slot in zip(moved, slots, strict=True):
            if not used[slot]:
                used[slot] = 1
                self._append(block, slot, HELD)

    def slots(self) -> int:
        """How many slots the file has, free ones included."""
        return -(-self._blocks.size() // self._block_size)

    def note_free_slots(self) -> None:
        """Looks anew for the slots of the file that no block holds."""
        is_taken = bytearray(self.slots())
        for slot in self.held.values():
            is_taken[slot] = 1
        self.free_slots = [slot for slot, taken in enumerate(is_taken) if not taken]

    def cut_slots(self, count: int) -> None:
        """Gives the room of the slots from `count` on back, with the blocks that lie there."""
        if self.slots() > count:
            for block in [block for block, slot in self.held.items() if slot >= count]:
                self.free(block)
            self._blocks.truncate(count * self._block_size)
            self._allocated[count:] = bytes(len(self._allocated) - count)
        self.free_slots = [slot for slot in self.free_slots if slot < count]

    def is_allocated(self, slot: int) -> bool:
        """Whether there is storage for a slot of the file: others are holes, as far as is known."""
        return slot < len(self._allocated) and bool(self._allocated[slot])

    # ── the journal ──────────────────────────────────────────────────────────────────────────────

    def vouch(self, fresh_until: float) -> None:
        """Notes until when the host vouches for the version, in seconds since the epoch."""
        until = max(0, min(int(fresh_until), _LATEST))
        if until != self.fresh_until:
            self.fresh_until = until
            self._append(0, 0, FRESH)

    def commit(self) -> None:
        """Writes the records that are not yet in the journal: they survive this process then.

        Raises `StorageFullError` when there is no room for them; they are kept for the next time.
        """
        self._check_header()
        if self._is_behind:
            self.compact()
        elif self._pending:
            self._write_journal(self._pending, self._end)
            self._end += len(self._pending)
            self._pending.clear()
            header = self._bound_header()
            records = (self._end - header.start) // RECORD_SIZE - header.count
            if records > max(_FEW_RECORDS + len(self.held) // 2, self._snapshot_waits_for):
                self._try_to_compact(records)

    def compact(self) -> None:
        """Rewrites the journal with one record for each held block, in order of recency.

        Raises `StorageFullError` when there is no room for both; nothing has changed then.
        """
        self._check_header()
        header, salt = self._bound_header(), new_salt()
        slots = self.held.values()
        checksums = map(self._checksums.__getitem__, slots)
        snapshot, checksum = encode_snapshot(salt, self.held.keys(), slots, checksums)
        is_front = header.start - RECORDS_START >= len(snapshot)
        start = RECORDS_START if is_front else self._end
        self._write_journal(snapshot, start)
        self._journal.flush()
        fresh = replace(
            header,
            serial=header.serial + 1,
            salt=salt,
            start=start,
            count=len(self.held),
            checksum=checksum,
            fresh_until=self.fresh_until,
        )
        self._switch(fresh)
        self._header = fresh
        self._pending.clear()
        self._is_behind = False
        self._snapshot_waits_for = 0
        self._end = start + len(snapshot)
        if is_front:
            self._journal.truncate(self._end)

    def flush(self) -> None:
        """Returns once all that was written is durable, the order of recency too."""
        if self._header:
            self.commit()
            self._try_to_compact(0)
        self._blocks.flush()
        self._journal.flush()

    def close(self) -> None:
        """Closes the files. Idempotent."""
        self._blocks.close()
        self._journal.close()

    def _try_to_compact(self, records: int) -> None:
        try:
            self.compact()
        except StorageFullError:  # a longer journal does no harm: try again much later
            self._snapshot_waits_for = 2 * records

    def _append(self, block: int, slot: int, kind: int) -> None:
        checksum = self._checksums[slot] if kind == HELD else 0
        seconds = self.fresh_until if kind == FRESH else 0
        salt = self._bound_header().salt
        self._pending += encode_record(salt, block, slot, checksum, kind, seconds)
        self._bound_pending()

    def _append_run(self, block: int, slot: int, count: int) -> None:
        """Notes that blocks are held, one behind the other."""
        salt = self._bound_header().salt
        checksums = self._checksums[slot : slot + count]
        for index, checksum in enumerate(checksums):
            self._pending += encode_record(salt, block + index, slot + index, checksum, HELD, 0)
        self._bound_pending()

    def _bound_pending(self) -> None:
        if len(self._pending) > 2 * (_FEW_RECORDS + len(self.held)) * RECORD_SIZE:
            # The storage must have been full for long. A snapshot will say it all in less.
            self._pending.clear()
            self._is_behind = True

    def _write_journal(self, records: ReadableBuffer, offset: int) -> None:
        try:
            self._journal.write(records, offset)
        except StorageFullError:
            if self._journal.size() > self._end:
                self._journal.truncate(self._end)  # a part of it: others need the room
            raise

    def _switch(self, header: Header) -> None:
        """Makes `header` the one that counts. When that fails, nobody knows which one does."""
        try:
            encoded = header.encode()
        except ValueError as error:
            raise StorageError("journal", str(error)) from error
        self._is_header_lost = True
        self._journal.write(encoded, header.place)
        self._journal.flush()
        self._is_header_lost = False

    def _check_header(self) -> None:
        if self._is_header_lost:  # a record might follow a header that does not count
            raise StorageError("journal", "its header could not be written")

    # ── inside ───────────────────────────────────────────────────────────────────────────────────

    def _replay(self) -> None:
        """Reads the journal: what is held, as far as it can be believed."""
        data = bytearray(self._journal.size())
        view = memoryview(data)[: self._journal.read_into(data, 0)]
        header = newest_header(view)
        if header is None:
            return
        self._bind(header)
        self.fresh_until = header.fresh_until
        self._make_slots(self.slots())
        records = view[header.start :]
        self._end = header.start + len(records) // RECORD_SIZE * RECORD_SIZE
        if self._replay_snapshot(records, header):
            records = records[header.count * RECORD_SIZE :]
        if records:
            self._replay_records(records, header)
        for block, slot in self.held.items():
            self._allocated[slot] = header.image.block_length(block) == self._block_size
        self.note_free_slots()

    def _replay_snapshot(self, records: memoryview, header: Header) -> bool:
        """Takes over a snapshot if it is whole and so is the file: a hundred thousand at once."""
        found = decode_snapshot(records, header)
        if found is None:
            return False
        blocks, slots, checksums = found
        if slots and max(slots) >= self.slots():
            return False
        self.held = dict(zip(blocks, slots, strict=True))
        for slot, checksum in zip(slots, checksums, strict=True):
            self._checksums[slot] = checksum
        return True

    def _replay_records(self, records: memoryview, header: Header) -> None:
        blocks_in_image = -(-header.image.size // header.image.block_size)
        slots = self.slots()
        held, block_in = self.held, dict(zip(self.held.values(), self.held, strict=True))
        for record in decode_records(records, header.salt):
            if record is None or record[0] >= blocks_in_image:
                self.damaged_records += 1
                continue
            block, slot, checksum, kind, seconds = record
            if kind == FRESH:
                self.fresh_until = seconds
                continue
            held.pop(block, None)
            # a slot that changed hands, in case the record that freed it was lost
            before = block_in.get(slot, block)
            if before != block and held.get(before) == slot:
                del held[before]
            if kind == HELD and slot < slots:
                held[block] = slot
                block_in[slot] = block
                self._checksums[slot] = checksum

    def _is_run(self, block: int, slot: int, count: int) -> bool:
        """Whether so many blocks lie one behind the other, each as it was written."""
        shift = block - slot
        if self._shifts[slot : slot + count] == array("q", [shift]) * count:
            return True
        slots = list(map(self.held.get, range(block, block + count)))
        if slots != list(range(slot, slot + count)):
            return False
        doubtful = [i for i in range(count) if self._shifts[slot + i] != shift]
        return all(self._verify(block + i, slot + i) for i in doubtful)

    def _verify(self, block: int, slot: int) -> bool:
        """Whether a slot holds its block; if not, the block is not held any more."""
        image = self._bound()
        data = bytearray(image.block_length(block))
        whole = self._blocks.read_into(data, slot * image.block_size) == len(data)
        if not whole or block_checksum(self._seed, block, data) != self._checksums[slot]:
            self.free(block)
            return False
        self._shifts[slot] = block - slot
        return True

    def _write_slots(self, slot: int, data: memoryview) -> None:
        count = -(-len(data) // self._block_size)
        self._shifts[slot : slot + count] = _DOUBTFUL * count
        size = self._blocks.size()
        try:
            self._blocks.write(data, slot * self._block_size)
        except StorageFullError:
            if self._blocks.size() > size:
                self._blocks.truncate(size)  # a part of them: the journal needs the room
            raise
        whole = len(data) // self._block_size
        self._allocated[slot : slot + whole] = b"\1" * whole

    def _make_slots(self, count: int) -> None:
        missing = count - len(self._shifts)
        if missing > 0:
            self._checksums.frombytes(bytes(missing * self._checksums.itemsize))
            self._shifts.extend(_DOUBTFUL * missing)
            self._used.extend(bytes(missing))
            self._allocated.extend(bytes(missing))

    def _bind(self, header: Header) -> None:
        self._header = header
        self._block_size, self._seed = header.image.block_size, header.image.seed

    def _bound_header(self) -> Header:
        assert self._header is not None, "begin() comes first"
        return self._header

    def _bound(self) -> StoredImage:
        return self._bound_header().image
