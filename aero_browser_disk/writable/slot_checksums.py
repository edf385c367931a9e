"""The CRC-32 of the data in each slot, and whether it was verified in this session.

A slot is verified at its first read in a session. The journal has the checksums; in files of an
earlier format they are computed at the first read.
"""

from __future__ import annotations

import zlib
from array import array
from collections.abc import Sequence
from typing import Final

from ..platform.base import ReadableBuffer
from .granule_table import GRANULE

_KNOWN, _UNKNOWN, _SEEN = 0, 1, 2
_GROWTH: Final = 1024  # slots at once


class SlotChecksums:
    """Five bytes for each slot up to the last that has data."""

    def __init__(self) -> None:
        self._checksums = array("I")
        self._states = bytearray()
        self._has_unknown = False  # since it was opened

    def note_written(self, slot: int, data: ReadableBuffer) -> None:
        """Notes what this session wrote to slots from `slot` on."""
        count = len(data) // GRANULE
        self._extend(slot + count)
        if count == 1:
            self._checksums[slot] = zlib.crc32(data)
            self._states[slot] = _SEEN
            return
        crc32, checksums = zlib.crc32, self._checksums
        with memoryview(data) as view:
            for at in range(0, len(data), GRANULE):
                checksums[slot] = crc32(view[at : at + GRANULE])
                slot += 1
        slot -= count
        self._states[slot : slot + count] = bytes((_SEEN,)) * count

    def expect(self, slot: int) -> None:
        """Notes that a slot is buffered and will be written: it need not be verified until then."""
        if slot >= len(self._states):
            self._extend(slot + 1)
        self._states[slot] = _SEEN

    def note_some_read(
        self, slots: Sequence[int], checksums: Sequence[int], last_slot: int
    ) -> None:
        """Takes over the checksums of any slots, up to `last_slot`, from the journal."""
        self._extend(last_slot + 1)
        known = self._checksums
        for slot, checksum in zip(slots, checksums, strict=True):
            known[slot] = checksum
        if self._has_unknown:
            for slot in slots:
                self._states[slot] = _KNOWN

    def note_read(self, slot: int, checksums: Sequence[int]) -> None:
        """Takes over the checksums of slots from the journal."""
        count = len(checksums)
        self._extend(slot + count)
        self._checksums[slot : slot + count] = array("I", checksums)
        self._states[slot : slot + count] = bytes((_KNOWN,)) * count

    def forget(self, slot: int, count: int) -> None:
        """Notes that the journal has no checksums of these slots."""
        self._extend(slot + count)
        self._states[slot : slot + count] = bytes((_UNKNOWN,)) * count
        self._has_unknown = True

    def get(self, slot: int, count: int) -> array[int] | None:
        """The checksums of adjacent slots; None unless all are known."""
        states = self._states[slot : slot + count]
        if len(states) < count or _UNKNOWN in states:
            return None
        return self._checksums[slot : slot + count]

    def are_seen(self, slot: int, count: int) -> bool:
        """Whether adjacent slots are all verified."""
        if count == 1:
            return slot < len(self._states) and self._states[slot] == _SEEN
        return self._states[slot : slot + count] == bytes((_SEEN,)) * count

    def check(self, slot: int, data: memoryview) -> int | None:
        """Verifies what was read of slots from `slot` on; returns the first damaged one."""
        for index in range(len(data) // GRANULE):
            at = slot + index
            checksum = zlib.crc32(data[index * GRANULE : (index + 1) * GRANULE])
            self._extend(at + 1)
            if self._states[at] != _UNKNOWN and self._checksums[at] != checksum:
                return at
            self._checksums[at] = checksum
            self._states[at] = _SEEN
        return None

    def _extend(self, slots: int) -> None:
        missing = slots - len(self._states)
        if missing > 0:
            missing += _GROWTH
            self._states.extend(bytes(missing))
            self._checksums.frombytes(bytes(missing * self._checksums.itemsize))
