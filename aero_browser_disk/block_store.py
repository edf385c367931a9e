"""Blocks of one image in two files: packed slots, and the journal that says what lies in them.

`blocks` holds one block a slot, the last block of the image short. `journal` starts with two header
places, of which the valid one with the higher serial counts, and goes on with records of 32 bytes:
block, slot, checksum of the data, each with a checksum of its own. The data's checksum is seeded
with the block's number and the record's with the header's serial, so that nothing can be taken for
something else or be left over from before.

A block is written, then its record. A record that is not whole is passed over, and a block is
served once its checksum was seen to match in this session. So after a crash at any instant, in
whatever order the writes before it reached the disk, a block is there or it is missing; it is never
wrong. Compaction writes the live records to a free part of the journal and then switches headers.
"""

from __future__ import annotations

import json
import struct
import zlib
from array import array
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Final

from .errors import StorageFullError
from .platform.base import File, ReadableBuffer, Storage, WritableBuffer

_MAGIC: Final = b"AEROBLK1"
_HEADER: Final = struct.Struct("<8sII")  # magic, length of what follows, its checksum
_HEADER_PLACE: Final = 4096
_RECORDS_START: Final = 2 * _HEADER_PLACE
_RECORD: Final = struct.Struct("<QIIIIII")
"""block, slot, checksum of the data, kind, seconds since the epoch, 0, checksum of the record."""
_CHECKED: Final = _RECORD.size - 4  # the part of a record that its checksum covers

_HELD, _FREED, _FRESH = 1, 2, 3


@dataclass(frozen=True, slots=True)
class StoredImage:
    """Which image a store holds blocks of: the version's size and validator, and the block size."""

    size: int
    validator: str
    block_size: int

    def block_length(self, block: int) -> int:
        """Bytes in a block: the block size, less in the image's last."""
        return min(self.block_size, self.size - block * self.block_size)


@dataclass(frozen=True, slots=True)
class _Header:
    serial: int
    start: int
    image: StoredImage

    def encode(self) -> bytes:
        body = json.dumps(asdict(self)).encode()
        return _HEADER.pack(_MAGIC, len(body), zlib.crc32(body)) + body

    @property
    def place(self) -> int:
        return self.serial % 2 * _HEADER_PLACE

    @classmethod
    def decode(cls, data: bytes) -> _Header | None:
        magic, length, checksum = _HEADER.unpack_from(data)
        body = data[_HEADER.size : _HEADER.size + length]
        if magic != _MAGIC or zlib.crc32(body) != checksum or len(body) != length:
            return None
        fields = json.loads(body)
        return cls(fields["serial"], fields["start"], StoredImage(**fields["image"]))


class BlockStore:
    """The files. Which blocks are worth keeping is for `BlockCache` to say."""

    def __init__(self, blocks: File, journal: File) -> None:
        self.held: OrderedDict[int, int] = OrderedDict()
        """The slot of each block held, least recently used first; changed by the methods only."""
        self.free_slots: list[int] = []
        """Slots of the file that no block holds."""
        self.fresh_until = 0
        """Until when the host vouches for the version, in seconds since the epoch."""
        self.damaged_records = 0
        """Records passed over when the store was opened."""
        self._blocks = blocks
        self._journal = journal
        self._header: _Header | None = None
        self._block_size = 0
        self._checksums = array("I")
        self._trusted = bytearray()  # by slot: 1 once the checksum matched in this session
        self._used = bytearray()  # by slot: 1 once a use of it was journaled in this session
        self._pending = bytearray()  # records not yet in the journal
        self._end = _RECORDS_START
        self._records = 0
        self._spare_records = 1024  # dead records that are not worth a compaction

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
        """Empties the store and binds it to `image`."""
        serial = self._header.serial + 1 if self._header else 1
        self.held.clear()
        self.free_slots.clear()
        self._checksums, self._trusted, self._used = array("I"), bytearray(), bytearray()
        self.fresh_until = 0
        self._pending.clear()
        self._records = 0
        self._end = _RECORDS_START
        self._switch(_Header(serial, _RECORDS_START, image))
        self._block_size = image.block_size
        self._journal.truncate(_RECORDS_START)
        self._blocks.truncate(0)

    # ── blocks ───────────────────────────────────────────────────────────────────────────────────

    def read_into(self, block: int, start: int, target: WritableBuffer) -> bool:
        """Fills `target` from byte `start` of a held block, and on into those that lie behind it.

        False when a block that it takes is not held, does not lie behind the one before, or is not
        what was written: such a block is not held any more.
        """
        slot = self.held.get(block)
        if slot is None:
            return False
        block_size = self._block_size
        stop = start + len(target)
        if stop <= block_size:
            if not self._trusted[slot] and not self._verify(block, slot):
                return False
        elif not self._is_run(block, slot, -(-stop // block_size)):
            return False
        if self._blocks.read_into(target, slot * block_size + start) == len(target):
            return True
        self.free(block)
        return False

    def write(self, block: int, slot: int, data: ReadableBuffer) -> None:
        """Puts blocks, one behind the other, into slots that no held block has.

        `block` and `slot` are the first of as many as `data` holds. Raises `StorageFullError` when
        there is no room for all: then none of them is held.
        """
        self.commit()  # what was in those slots must be gone from the journal before its bytes are
        block_size = self._block_size
        with memoryview(data) as view:
            count = -(-len(view) // block_size)
            self._make_slots(slot + count)
            self._trusted[slot : slot + count] = bytes(count)
            self._blocks.write(view, slot * block_size)
            for index in range(count):
                piece = view[index * block_size : (index + 1) * block_size]
                self._checksums[slot + index] = _block_checksum(block + index, piece)
                self.held[block + index] = slot + index
                self._append(block + index, slot + index, _HELD)
        self._trusted[slot : slot + count] = b"\1" * count
        self._used[slot : slot + count] = b"\1" * count

    def free(self, block: int) -> None:
        """Forgets a held block; its slot may be written from now on."""
        slot = self.held.pop(block)
        self.free_slots.append(slot)
        self._append(block, slot, _FREED)

    def note_use(self, blocks: Iterable[int]) -> None:
        """Makes held blocks the most recently used, in this order.

        The first use of each in a session is journaled, so that the order survives a kill about as
        it was, at the cost of one record a block.
        """
        for block in blocks:
            slot = self.held.get(block)
            if slot is not None:
                self.held.move_to_end(block)
                if not self._used[slot]:
                    self._used[slot] = 1
                    self._append(block, slot, _HELD)

    def slots(self) -> int:
        """How many slots the file has, free ones included."""
        return -(-self._blocks.size() // self._block_size)

    def cut_slots(self, count: int) -> None:
        """Gives the room of the slots from `count` on back. No held block may lie there."""
        if self.slots() > count:
            self.commit()
            self._blocks.truncate(count * self._block_size)
        self.free_slots = [slot for slot in self.free_slots if slot < count]

    # ── the journal ──────────────────────────────────────────────────────────────────────────────

    def vouch(self, fresh_until: float) -> None:
        """Notes until when the host vouches for the version, in seconds since the epoch."""
        self.fresh_until = int(fresh_until)
        self._append(0, 0, _FRESH)

    def commit(self) -> None:
        """Writes the records that are not yet in the journal."""
        if self._pending:
            self._journal.write(self._pending, self._end)
            self._end += len(self._pending)
            self._pending.clear()
            if self._records - 2 * len(self.held) > self._spare_records:
                self._try_to_compact()

    def compact(self) -> None:
        """Rewrites the journal with one record for each held block, in order of recency."""
        header = self._bound_header()
        needed = (len(self.held) + 1) * _RECORD.size
        front = header.start - _RECORDS_START >= needed
        start = _RECORDS_START if front else self._end
        fresh = _Header(header.serial + 1, start, header.image)
        self._header, self._records = fresh, 0
        self._pending.clear()
        self._append(0, 0, _FRESH)
        for block, slot in self.held.items():
            self._append(block, slot, _HELD)
        records, self._pending = self._pending, bytearray()
        try:
            self._journal.write(records, start)
            self._journal.flush()
            self._switch(fresh)
        except BaseException:
            self._header = header
            raise
        self._end = start + len(records)
        if front:
            self._journal.truncate(self._end)

    def flush(self) -> None:
        """Returns once all that was written is durable, the order of recency too."""
        if self._header:
            self.compact()
        self._blocks.flush()
        self._journal.flush()

    def close(self) -> None:
        """Closes the files. Idempotent."""
        self._blocks.close()
        self._journal.close()

    def _try_to_compact(self) -> None:
        try:
            self.compact()
        except StorageFullError:  # a longer journal does no harm: try again much later
            self._spare_records *= 2

    # ── inside ───────────────────────────────────────────────────────────────────────────────────

    def _replay(self) -> None:
        """Reads the journal: what is held, as far as it can be believed."""
        data = bytearray(self._journal.size())
        view = memoryview(data)[: self._journal.read_into(data, 0)]
        places = (view[p : p + _HEADER_PLACE] for p in (0, _HEADER_PLACE))
        headers = [_Header.decode(bytes(p)) for p in places if len(p) >= _HEADER.size]
        self._header = max((h for h in headers if h), key=lambda h: h.serial, default=None)
        if self._header is None:
            return
        self._block_size = self._header.image.block_size
        records = view[self._header.start :]
        records = records[: len(records) // _RECORD.size * _RECORD.size]
        self._replay_records(records, self._header)
        self._end = self._header.start + len(records)

    def _replay_records(self, records: memoryview, header: _Header) -> None:
        blocks_in_image = -(-header.image.size // header.image.block_size)
        slots = self.slots()
        self._make_slots(slots)
        block_in: dict[int, int] = {}  # by slot
        crc32, position = zlib.crc32, 0
        for block, slot, checksum, kind, seconds, _, own in _RECORD.iter_unpack(records):
            whole = crc32(records[position : position + _CHECKED], header.serial) == own
            position += _RECORD.size
            if not whole or block >= blocks_in_image:
                self.damaged_records += 1
                continue
            self._records += 1
            if kind == _FRESH:
                self.fresh_until = seconds
                continue
            self.held.pop(block, None)
            # a slot that changed hands, in case the record that freed it was lost
            if block_in.get(slot, block) != block and self.held.get(block_in[slot]) == slot:
                del self.held[block_in[slot]]
            if kind == _HELD and slot < slots:
                self.held[block] = slot
                block_in[slot] = block
                self._checksums[slot] = checksum
        used = set(self.held.values())
        self.free_slots = [slot for slot in range(slots) if slot not in used]

    def _is_run(self, block: int, slot: int, count: int) -> bool:
        """Whether so many blocks lie one behind the other, each as it was written."""
        slots = list(map(self.held.get, range(block, block + count)))
        if slots != list(range(slot, slot + count)):
            return False
        if self._trusted.find(0, slot, slot + count) < 0:
            return True
        doubtful = [i for i in range(count) if not self._trusted[slot + i]]
        return all(self._verify(block + i, slot + i) for i in doubtful)

    def _verify(self, block: int, slot: int) -> bool:
        """Whether a slot holds its block; if not, the block is not held any more."""
        image = self._bound()
        data = bytearray(image.block_length(block))
        whole = self._blocks.read_into(data, slot * image.block_size) == len(data)
        if not whole or _block_checksum(block, data) != self._checksums[slot]:
            self.free(block)
            return False
        self._trusted[slot] = 1
        return True

    def _append(self, block: int, slot: int, kind: int) -> None:
        header = self._bound_header()
        checksum = self._checksums[slot] if kind == _HELD else 0
        seconds = self.fresh_until if kind == _FRESH else 0
        record = _RECORD.pack(block, slot, checksum, kind, seconds, 0, 0)[:_CHECKED]
        self._pending += record
        self._pending += zlib.crc32(record, header.serial).to_bytes(4, "little")
        self._records += 1

    def _switch(self, header: _Header) -> None:
        self._journal.write(header.encode(), header.place)
        self._journal.flush()
        self._header = header

    def _make_slots(self, count: int) -> None:
        missing = count - len(self._trusted)
        if missing > 0:
            self._checksums.frombytes(bytes(missing * self._checksums.itemsize))
            self._trusted.extend(bytes(missing))
            self._used.extend(bytes(missing))

    def _bound_header(self) -> _Header:
        assert self._header is not None, "begin() comes first"
        return self._header

    def _bound(self) -> StoredImage:
        return self._bound_header().image


def _block_checksum(block: int, data: ReadableBuffer) -> int:
    return zlib.crc32(data, zlib.crc32(block.to_bytes(8, "little")))
