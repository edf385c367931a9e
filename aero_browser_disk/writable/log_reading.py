"""Reads the file of a sector store: its header, its slots, and the intact part of a damaged log."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from ..errors import DamagedDiskError
from ..platform.base import File
from .sector_journal import (
    COMMIT,
    FIRST_SLOT,
    SLOT_SIZE,
    Header,
    JournalSlot,
    Record,
    UnitReader,
    decode_slot,
    number_behind,
    read_headers,
    slot_with_bit_flipped_back,
)
from .slot_checksums import SlotChecksums

WINDOW: Final = 1 << 20
"""Bytes of a file that are read at once."""


def read_header_copies(path: str, file: File) -> list[Header]:
    """The valid copies of the header; none in a file that never had one.

    Raises `DamagedDiskError` when both are lost.
    """
    slots = bytearray(FIRST_SLOT * SLOT_SIZE)
    got = file.read_into(slots, 0)
    copies = [header for header in read_headers(memoryview(slots)[:got]) if header]
    if not copies and file.size() > FIRST_SLOT * SLOT_SIZE:
        raise DamagedDiskError(path, "both copies of its header are lost")
    return copies


class SlotWindow:
    """Reads slots of a file, many at once."""

    def __init__(self, file: File) -> None:
        self._file = file
        self._start = 0
        self._data = memoryview(b"")

    def slot(self, slot: int) -> memoryview:
        """A slot's bytes, fewer at the end of the file."""
        at = (slot - self._start) * SLOT_SIZE
        if not 0 <= at < len(self._data):
            data = bytearray(WINDOW)
            got = self._file.read_into(data, slot * SLOT_SIZE)
            self._start, self._data, at = slot, memoryview(data)[:got], 0
        return self._data[at : at + SLOT_SIZE]


class IntactLog:
    """What is intact of a log that may be damaged; single flipped bits are flipped back."""

    def __init__(self, file: File, checksums: SlotChecksums, header: Header) -> None:
        self.commits = header.commits
        """How many commits were read so far, those before the chain included."""
        self.has_snapshot = False
        """Whether the snapshot was complete."""
        self.is_broken = False
        """Whether anything after what was read is known to be lost."""
        self._file = file
        self._header = header
        self._units = UnitReader(checksums, file.size() // SLOT_SIZE)

    def records(self) -> Iterator[Sequence[Record]]:
        """The records of the snapshot and of all complete batches, as far as the chain goes.

        Raises IndexError for slots beyond the file.
        """
        header = self._header
        before, next_slot = header.salt, header.chain
        for _ in range(header.snapshot_slots):
            found = self._slot(next_slot, before)
            if found is None:
                self.is_broken = True
                return
            yield self._units.read(found)
            before, next_slot = found.checksum, found.next_slot
        self.has_snapshot = True
        batch: list[JournalSlot] = []
        while found := self._slot(next_slot, before):
            batch.append(found)
            before, next_slot = found.checksum, found.next_slot
            if found.flags & COMMIT:
                for slot in batch:
                    yield self._units.read(slot)
                self.commits += 1
                batch = []
        window = SlotWindow(self._file)
        slots = range(FIRST_SLOT, self._file.size() // SLOT_SIZE)
        self.is_broken = any(
            number_behind(window.slot(slot), header.salt, self.commits) > 1 for slot in slots
        )

    def _slot(self, slot: int, before: int) -> JournalSlot | None:
        """A slot of the chain, if need be with one bit flipped back."""
        data = bytearray(SLOT_SIZE)
        self._file.read_into(data, slot * SLOT_SIZE)
        with memoryview(data) as view:
            found = decode_slot(view, before, self._header.salt)
        if found is not None or not any(data):
            return found
        repaired = slot_with_bit_flipped_back(bytes(data))
        if repaired is None:
            return None
        return decode_slot(memoryview(repaired), before, self._header.salt)
