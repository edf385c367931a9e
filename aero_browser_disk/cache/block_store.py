"""The blocks of one image in two files: packed slots, and a journal that says what is in them.

`blocks` has slots of one block each; the image's last block may be short. `journal` begins with two
copies of a header, of which the valid one with the higher serial counts. Records follow: block,
slot, checksum of the data, each with a checksum of its own (see `block_journal`). Checksums are
seeded, the data's with version and block number, a record's with its header's salt, so that nothing
left from before is taken for current.

A block is written, then its record. A torn record is skipped, and a block is served only after its
checksum matched in this session. So after a crash at any instant, whatever the order in which
writes reached the medium, a block is stored or missing, never wrong. What was committed survives
the end of the process and, once flushed, a power failure. Compaction writes the live records to a
free part of the journal, then switches headers.
"""

from __future__ import annotations

from array import array
from collections.abc import Collection, Sequence
from itertools import islice

from ..errors import StorageError, StorageFullError
from ..platform.base import File, ReadableBuffer, Storage, WritableBuffer
from .block_journal import (
    FREED,
    FRESH,
    RECORD_SIZE,
    STORED,
    Header,
    StoredImage,
    block_checksum,
    decode_records,
    decode_snapshot,
    reseeded,
)
from .journal_file import BlockIndex, JournalFile

__all__ = ["BlockStore", "StoredImage"]

_OLDEST_AT_ONCE = 256
_DOUBTFUL = array("q", [1 << 62])


class BlockStore:
    """Writes, finds and frees blocks in the two files. `BlockCache` decides which blocks to keep.

    `slot_of` is the index in memory, in order of use. Every change of it is a journal record, in
    memory first; `commit` writes the records, `flush` makes them durable.
    """

    def __init__(self, blocks: File, journal: File) -> None:
        index = BlockIndex()
        self.slot_of = index.slot_of
        """The slot of each stored block, least recently used first. Only methods change it."""
        self.free_slots: list[int] = []
        """Slots of the file without a block."""
        self.damaged_records = 0
        """Records passed over when the store was opened."""
        self.file = blocks
        """The file that the blocks lie in, for reading only."""
        self._blocks = blocks
        self._journal = JournalFile(journal, index)
        self._block_size = self._seed = 0
        self._oldest: dict[int, None] = {}  # the head of `slot_of`, as far as it is known
        self._checksums = index.checksums
        # By slot: block number minus slot number, once the checksum matched in this session. Where
        # a run of these is equal, adjacent blocks are in adjacent slots, all of them trusted.
        self._shifts = array("q")
        self._used = bytearray()  # by slot: 1 once a use of it was journaled
        self._allocated = bytearray()  # by slot: 1 once the device has storage for all of it
        self._written_since = 0  # blocks, since that began anew

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
        header = self._journal.header
        return header.image if header else None

    def begin(self, image: StoredImage) -> None:
        """Empties the store and binds it to `image`.

        Raises `StorageError`; then the store is as it was, or it is empty.
        """
        self._journal.begin(image)
        self._bind(image)
        self.slot_of.clear()
        self._oldest.clear()
        del self._checksums[:]
        self._shifts, self._used, self._allocated = array("q"), bytearray(), bytearray()
        self._written_since = 0
        try:
            self._journal.cut()
            self._blocks.truncate(0)
        finally:
            self.note_free_slots()

    def rebind(self, image: StoredImage, kept: Collection[int]) -> None:
        """Binds the store to another version in blocks of the same size; `kept` are the same in it.

        After a crash at any instant the store has the old version or the new one. What is kept is
        served once its checksum matched, as before. Nothing is kept when the storage fails or has
        no space for a second journal. Raises `StorageError` when it cannot be emptied either; then
        it is as `begin` leaves it.
        """
        old = self._bound()
        assert image.block_size == old.block_size
        whole = {
            block: slot
            for block, slot in self.slot_of.items()
            if block in kept and image.block_length(block) == old.block_length(block)
        }
        before, after = old.seed, image.seed
        for block, slot in whole.items():
            self._checksums[slot] = reseeded(
                self._checksums[slot], block, old.block_length(block), before, after
            )
        self.slot_of.clear()
        self.slot_of.update(whole)
        self._oldest.clear()
        try:
            self._journal.fresh_until = 0
            self._journal.compact(image)
        except StorageError:
            self.begin(image)
            return
        self._bind(image)
        self._shifts = array("q", _DOUBTFUL * len(self._shifts))
        self.note_free_slots()

    # ── blocks ───────────────────────────────────────────────────────────────────────────────────

    def read_into(self, block: int, start: int, target: WritableBuffer) -> bool:
        """Fills `target` from byte `start` of a stored block and on into the blocks after it.

        False when one of them is not stored, is not stored behind the one before, or is not what
        was written: such a block is freed.
        """
        length = len(target)
        offset = self.locate(block, start, length)
        if offset is None:
            return False
        if self._blocks.read_into(target, offset) == length:
            return True
        self.free(block)
        return False

    def locate(self, block: int, start: int, length: int) -> int | None:
        """The offset in the file `blocks` of `length` bytes from byte `start` of a stored block.

        None where `read_into` says False.
        """
        slot = self.slot_of.get(block)
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
        """Writes adjacent blocks to adjacent slots that are free.

        `block` and `slot` are the first of as many as `data` holds. Raises `StorageFullError` when
        there is no space for all: then none of them is stored, and the file has not grown.
        """
        self.commit()  # what was in those slots must be gone from the journal before its bytes are
        block_size = self._block_size
        with memoryview(data) as view:
            count = -(-len(view) // block_size)
            self._make_slots(slot + count)
            self._write_slots(slot, view)
            stored, checksums, seed = self.slot_of, self._checksums, self._seed
            for index in range(count):
                part = view[index * block_size : (index + 1) * block_size]
                checksums[slot + index] = block_checksum(seed, block + index, part)
                before = stored.pop(block + index, slot)
                self._shifts[before] = _DOUBTFUL[0]
                stored[block + index] = slot + index
            self._journal.append_run(block, slot, count)
        self._shifts[slot : slot + count] = array("q", [block - slot]) * count
        self._written_since += count
        if self._written_since > len(self.slot_of) // 2:
            # From now on every block's next use is journaled again: half of the store is newer than
            # the last.
            self._used, self._written_since = bytearray(len(self._used)), 0
        self._used[slot : slot + count] = b"\1" * count

    def move(self, block: int, slot: int) -> bool:
        """Moves a stored block to a free slot; its position in the order of use stays.

        False when it is not what was written: it is freed then. Raises as `write`.
        """
        data = bytearray(self._bound().block_length(block))
        if not self.read_into(block, 0, data):
            return False
        self.commit()
        before = self.slot_of[block]
        self._write_slots(slot, memoryview(data))
        self._checksums[slot] = self._checksums[before]
        self._shifts[slot] = block - slot
        self.slot_of[block] = slot
        self.free_slots.append(before)
        self._journal.append(block, slot, STORED)
        return True

    def free(self, block: int) -> None:
        """Forgets a stored block; its slot may be written from now on."""
        slot = self.slot_of.pop(block)
        self._shifts[slot] = _DOUBTFUL[0]
        self._oldest.pop(block, None)
        self.free_slots.append(slot)
        self._journal.append(block, slot, FREED)

    def least_recent(self) -> int | None:
        """The least recently used block; None when the store is empty."""
        if not self._oldest:
            # Not with next(iter()): finding the head of a dict that lost its first items is slow.
            self._oldest = dict.fromkeys(islice(self.slot_of, _OLDEST_AT_ONCE))
        return next(iter(self._oldest), None)

    def mark_used(self, blocks: Sequence[int]) -> None:
        """Makes stored blocks the most recently used, in this order.

        The first use of each is journaled, and again once half of the store has been written anew.
        So the order roughly survives a kill, at the cost of a few records a block.
        """
        stored, least_recent, used = self.slot_of, self._oldest, self._used
        last_uses = dict.fromkeys(reversed(blocks))  # only the last use of each counts
        moved = [block for block in reversed(last_uses) if block in stored]
        # All at once: a third of the time that one after the other takes.
        slots = list(map(stored.pop, moved))
        stored.update(zip(moved, slots, strict=True))
        for block in least_recent.keys() & last_uses.keys():
            del least_recent[block]
        if all(map(used.__getitem__, slots)):
            return
        for block, slot in zip(moved, slots, strict=True):
            if not used[slot]:
                used[slot] = 1
                self._journal.append(block, slot, STORED)

    def slots(self) -> int:
        """How many slots the file has, free ones included."""
        return -(-self._blocks.size() // self._block_size)

    def note_free_slots(self) -> None:
        """Recomputes which slots of the file have no block."""
        is_taken = bytearray(self.slots())
        for slot in self.slot_of.values():
            is_taken[slot] = 1
        self.free_slots = [slot for slot, taken in enumerate(is_taken) if not taken]

    def cut_slots(self, count: int) -> None:
        """Cuts the file after `count` slots, and frees the blocks in those that go."""
        if self.slots() > count:
            for block in [block for block, slot in self.slot_of.items() if slot >= count]:
                self.free(block)
            self._blocks.truncate(count * self._block_size)
            self._allocated[count:] = bytes(len(self._allocated) - count)
        self.free_slots = [slot for slot in self.free_slots if slot < count]

    def is_allocated(self, slot: int) -> bool:
        """Whether there is storage for a slot of the file: others are holes, as far as is known."""
        return slot < len(self._allocated) and bool(self._allocated[slot])

    # ── the journal ──────────────────────────────────────────────────────────────────────────────

    @property
    def fresh_until(self) -> int:
        """Until when the server promised the version to be current, in seconds since the epoch."""
        return self._journal.fresh_until

    def mark_fresh(self, fresh_until: float) -> None:
        """Notes until when the version is promised to be current, in seconds since the epoch."""
        self._journal.mark_fresh(fresh_until)

    def commit(self) -> None:
        """Writes the records that are not yet in the journal: they survive this process then.

        Raises `StorageFullError` when there is no space for them; they are kept for the next time.
        """
        self._journal.commit()

    def compact(self) -> None:
        """Rewrites the journal with one record for each stored block; raises as `commit`."""
        self._journal.compact()

    def flush(self) -> None:
        """Returns once all that was written is durable, the order of use too."""
        if self.image is not None:
            self._journal.commit()
            self._journal.try_to_compact()
        self._blocks.flush()
        self._journal.flush()

    def close(self) -> None:
        """Closes the files. Idempotent."""
        self._blocks.close()
        self._journal.close()

    # ── inside ───────────────────────────────────────────────────────────────────────────────────

    def _replay(self) -> None:
        """Reads the journal: what is stored, as far as its records are whole."""
        records, header = self._journal.read(), self._journal.header
        if records is None or header is None:
            return
        self._bind(header.image)
        self._make_slots(self.slots())
        if self._replay_snapshot(records, header):
            records = records[header.count * RECORD_SIZE :]
        if records:
            self._replay_records(records, header)
        for block, slot in self.slot_of.items():
            self._allocated[slot] = header.image.block_length(block) == self._block_size
        self.note_free_slots()

    def _replay_snapshot(self, records: memoryview, header: Header) -> bool:
        """Takes over a snapshot if it and the file are complete: a hundred thousand records at
        once."""
        found = decode_snapshot(records, header)
        if found is None:
            return False
        blocks, slots, checksums = found
        if slots and max(slots) >= self.slots():
            return False
        self.slot_of.update(zip(blocks, slots, strict=True))
        for slot, checksum in zip(slots, checksums, strict=True):
            self._checksums[slot] = checksum
        return True

    def _replay_records(self, records: memoryview, header: Header) -> None:
        blocks_in_image = -(-header.image.size // header.image.block_size)
        slots = self.slots()
        stored, block_in = self.slot_of, dict(zip(self.slot_of.values(), self.slot_of, strict=True))
        for record in decode_records(records, header.salt):
            if record is None or record[0] >= blocks_in_image:
                self.damaged_records += 1
                continue
            block, slot, checksum, kind, seconds = record
            if kind == FRESH:
                self._journal.fresh_until = seconds
                continue
            stored.pop(block, None)
            # the slot has another block now, in case the record that freed it was lost
            before = block_in.get(slot, block)
            if before != block and stored.get(before) == slot:
                del stored[before]
            if kind == STORED and slot < slots:
                stored[block] = slot
                block_in[slot] = block
                self._checksums[slot] = checksum

    def _is_run(self, block: int, slot: int, count: int) -> bool:
        """Whether `count` adjacent blocks are in adjacent slots, each with its checksum
        verified."""
        shift = block - slot
        if self._shifts[slot : slot + count] == array("q", [shift]) * count:
            return True
        slots = list(map(self.slot_of.get, range(block, block + count)))
        if slots != list(range(slot, slot + count)):
            return False
        doubtful = [i for i in range(count) if self._shifts[slot + i] != shift]
        return all(self._verify(block + i, slot + i) for i in doubtful)

    def _verify(self, block: int, slot: int) -> bool:
        """Whether a slot has what was written to it; if not, its block is freed."""
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
                self._blocks.truncate(size)  # a part was written: the journal needs the space
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

    def _bind(self, image: StoredImage) -> None:
        self._block_size, self._seed = image.block_size, image.seed

    def _bound(self) -> StoredImage:
        image = self.image
        assert image is not None, "begin() comes first"
        return image
