"""The format of a sector store's journal: headers, and a chain of journal slots.

The file is one row of slots. Slots 0 and 1 have the header: two copies, of which the valid one with
the higher serial counts. It names the first slot of a chain: each slot of the chain holds units and
names the next. The first slots of the chain are a snapshot of the state when the header was
written; batches follow, each with the changes of one commit.

A journal slot has the checksum of the slot before it, the first one the salt of the header, so that
an old slot is never taken for a part of the chain. It has the salt and the number of its batch too,
so that it is recognised when the slot before it is damaged. Everything is little-endian.

A unit is 16 bytes: a run of granules; a single granule with the checksum of its data; or four
checksums of the granules of the run before it. Format 1, which has no checksums of the data, is
read, and becomes format 2 with the next commit.
"""

from __future__ import annotations

import struct
import sys
import zlib
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import repeat
from typing import Final

from ..platform.base import ReadableBuffer
from ..records.journal_header import copy_offset, decode_header, encode_header
from .bit_repair import with_bit_flipped_back
from .granule_table import GRANULE
from .slot_checksums import SlotChecksums

SLOT_SIZE: Final = GRANULE
FIRST_SLOT: Final = 2
"""The first slot behind the two copies of the header."""

COMMIT: Final = 1
"""The last slot of a batch, or of the snapshot."""
CHECKED: Final = 2
"""The batch's data may not have been durable when this was written: its checksums must match."""

_MAGIC_1: Final = b"AEROSEC1"
_MAGIC_2: Final = b"AEROSEC2"
_SLOT_MAGIC_1: Final = b"AEJ1"
_SLOT_HEAD_1: Final = struct.Struct("<4sIIIII")
"""magic, checksum of what follows, next slot of the chain, records, flags, checksum of the data."""
_SLOT_MAGIC_2: Final = b"AEJ2"
_SLOT_HEAD_2: Final = struct.Struct("<4sIIIHHIII")
"""magic, checksum of what follows, checksum of the slot before, next slot of the chain, units,
flags, salt, number of the commit, session."""
_CHECKED_FROM: Final = 8
_UNIT: Final = struct.Struct("<QII")
"""granule << 8 | mask | flags, count or the checksum of a single granule, slot."""
_SINGLE: Final = 1 << 63
_UNCHECKED: Final = 1 << 62  # a run whose checksums are not known
_WORD: Final = _UNCHECKED - 1
_TOP_BYTE: Final = 7  # of a word: it has both marks
_WITHOUT_MARKS: Final = bytes(byte & 0x3F for byte in range(256))
_CHECKSUMS_IN_UNIT: Final = 4
_NUMBERS: Final = 1 << 32

UNITS_IN_SLOT: Final = (SLOT_SIZE - _SLOT_HEAD_2.size) // _UNIT.size

Record = tuple[int, int, int]
"""The first granule of a run << 8 | the mask of each, their count, the slot of the first."""


@dataclass(frozen=True, slots=True)
class Contents:
    """The disk that a store belongs to."""

    size: int
    """Bytes in the disk."""
    identity: str
    """Random and unique, drawn when the store was created."""
    base: str | None = None
    """The version of the disk that this is an overlay of; None for an image."""
    base_identity: str | None = None
    """The mark of the commit that writes this overlay into its base, until that commit ends."""
    commit_mark: str | None = None
    """The mark of the commit that wrote here last. Any other write removes it first."""


@dataclass(frozen=True, slots=True)
class Header:
    """Where the chain begins. `commits` is how many there had been before the chain's first.

    `session` is the one that made the last of those. `end` commits were durable when the header was
    written: a chain that ends before is damaged. With `is_closed` there are no more.
    """

    serial: int
    salt: int
    chain: int
    snapshot_slots: int
    commits: int
    contents: Contents
    session: int = 0
    end: int = 0
    is_closed: bool = False
    format: int = 2

    @property
    def offset(self) -> int:
        """Its offset in the file. The other copy is never written while this one counts."""
        return copy_offset(self.serial, SLOT_SIZE)

    def copy(self) -> Header:
        """The same for the other offset."""
        return replace(self, serial=self.serial + 1)

    def encode(self) -> bytes:
        """Its bytes, a slot full. Raises ValueError when they do not fit."""
        encoded = encode_header(_MAGIC_2, asdict(self))
        if len(encoded) > SLOT_SIZE:
            raise ValueError("what the header says of the base is too long")
        return encoded.ljust(SLOT_SIZE, b"\0")

    @classmethod
    def decode(cls, data: ReadableBuffer) -> Header | None:
        """The header in a slot; None when there is none, or not all of it."""
        fields = decode_header(_MAGIC_2, data)
        if fields is None:
            fields = decode_header(_MAGIC_1, data)
            if fields is None:
                return None
            fields["format"] = 1
        return cls(**{**fields, "contents": Contents(**fields["contents"])})


@dataclass(frozen=True, slots=True)
class JournalSlot:
    """One slot of the chain, decoded. `units` are still packed."""

    format: int
    checksum: int
    next_slot: int
    flags: int
    units: bytes
    data_checksum: int = 0
    session: int = 0


def read_headers(slots: memoryview) -> tuple[Header | None, Header | None]:
    """The headers in the file's first two slots."""
    first, second = (Header.decode(slots[at : at + SLOT_SIZE]) for at in (0, SLOT_SIZE))
    return first, second


def commits_in(version: str | None, identity: str) -> int:
    """How many commits the disk of that identity had when this was its version; 0 if unknown."""
    parts = (version or "").split(":")
    if len(parts) < 3 or parts[1] != identity:
        return 0
    number = parts[2].partition(".")[0]
    return int(number) if number.isascii() and number.isdigit() and len(number) < 20 else 0


# ── slots ─────────────────────────────────────────────────────────────────────────────────────────


def encode_slot(
    before: int, next_slot: int, flags: int, units: bytes, salt: int, number: int, session: int
) -> tuple[bytes, int]:
    """A slot of the chain, and its checksum, which the next slot repeats."""
    count = len(units) // _UNIT.size
    head = _SLOT_HEAD_2.pack(
        _SLOT_MAGIC_2, 0, before, next_slot, count, flags, salt, number % _NUMBERS, session
    )
    checked = (head[_CHECKED_FROM:] + units).ljust(SLOT_SIZE - _CHECKED_FROM, b"\0")
    checksum = zlib.crc32(checked)
    return _SLOT_MAGIC_2 + checksum.to_bytes(4, "little") + checked, checksum


def decode_slot(data: memoryview, before: int, salt: int) -> JournalSlot | None:
    """The slot that follows one whose checksum is `before`; None when it is anything else."""
    if len(data) < SLOT_SIZE:
        return None
    if bytes(data[:4]) == _SLOT_MAGIC_1:
        return _decode_slot_1(data, before)
    magic, checksum, found, next_slot, count, flags, found_salt, _, session = (
        _SLOT_HEAD_2.unpack_from(data)
    )
    if (magic, found, found_salt) != (_SLOT_MAGIC_2, before, salt):
        return None
    if zlib.crc32(data[_CHECKED_FROM:SLOT_SIZE]) != checksum:
        return None
    units = bytes(data[_SLOT_HEAD_2.size : _SLOT_HEAD_2.size + count * _UNIT.size])
    return JournalSlot(2, checksum, next_slot, flags, units, session=session)


def _decode_slot_1(data: memoryview, before: int) -> JournalSlot | None:
    _, checksum, next_slot, count, flags, data_checksum = _SLOT_HEAD_1.unpack_from(data)
    if zlib.crc32(data[_CHECKED_FROM:SLOT_SIZE], before) != checksum:
        return None
    units = bytes(data[_SLOT_HEAD_1.size : _SLOT_HEAD_1.size + count * _UNIT.size])
    return JournalSlot(1, checksum, next_slot, flags, units, data_checksum)


def slot_with_bit_flipped_back(data: bytes) -> bytes | None:
    """A slot in which one bit was flipped, as it was; None when it is something else."""
    checksum = int.from_bytes(data[4:8], "little")
    checked = data[_CHECKED_FROM:]
    differing = zlib.crc32(checked) ^ checksum
    if differing.bit_count() <= 1:  # in the magic, or in the checksum itself
        return _SLOT_MAGIC_2 + (checksum ^ differing).to_bytes(4, "little") + checked
    repaired = with_bit_flipped_back(checked, checksum)
    return None if repaired is None else data[:_CHECKED_FROM] + repaired


def number_behind(data: memoryview, salt: int, commits: int) -> int:
    """How many commits after `commits` a slot of this chain belongs to; 0 for any other slot."""
    if len(data) < SLOT_SIZE or bytes(data[:4]) != _SLOT_MAGIC_2:
        return 0
    _, checksum, _, _, _, _, found_salt, number, _ = _SLOT_HEAD_2.unpack_from(data)
    if found_salt != salt or zlib.crc32(data[_CHECKED_FROM:SLOT_SIZE]) != checksum:
        return 0
    behind = (number - commits) % _NUMBERS
    return behind if behind < _NUMBERS // 2 else 0


def slots_for(units: int) -> int:
    """How many slots of the chain a batch of so many units takes."""
    return max(1, -(-units // UNITS_IN_SLOT))


# ── units ─────────────────────────────────────────────────────────────────────────────────────────


def units_for(runs: int, granules: int) -> int:
    """The maximum of units for so many runs with so many granules of data in total."""
    # A single granule has its checksum in its unit; a run of n has ceil(n / 4) units behind its
    # own, which is at most n / 2 and at most (n + 3) / 4.
    return runs + min(granules // 2, (granules + 3 * runs) // _CHECKSUMS_IN_UNIT)


def encode_units(records: Iterable[Record], checksums: SlotChecksums) -> bytes:
    """The units of records, with the checksums of their data as far as they are known."""
    parts: list[bytes] = []
    pack = _UNIT.pack
    for word, count, slot in records:
        if not slot:
            parts.append(pack(word, count, 0))
            continue
        known = checksums.get(slot, count)
        if known is None:
            parts.append(pack(word | _UNCHECKED, count, slot))
        elif count == 1:
            parts.append(pack(word | _SINGLE, known[0], slot))
        else:
            parts.append(pack(word, count, slot))
            if sys.byteorder == "big":
                known.byteswap()
            parts.append(known.tobytes())
            parts.append(bytes(-len(parts[-1]) % _UNIT.size))
    return b"".join(parts)


class UnitReader:
    """Reads the units of the slots of a chain, in order. A run may go on in the next slot."""

    def __init__(self, checksums: SlotChecksums, slots: int) -> None:
        """`slots` is how many the file has."""
        self._checksums = checksums
        self._slots = slots
        self._slot = 0  # of the next checksum of the run so far
        self._missing = 0  # checksums of it that are still missing

    def read(self, slot: JournalSlot) -> list[Record]:
        """The records of a slot; their checksums are noted.

        Raises IndexError for records of slots that the file has not.
        """
        if slot.format == 1:
            return self._read_format_1(slot.units)
        units = slot.units
        at = self._read_checksums(units, 0)
        singles = self._read_singles(units[at:])
        if singles is not None:
            return singles
        records: list[Record] = []
        while at < len(units):
            slots, checksums = array("I"), array("I")  # of single granules
            # As long as they are single granules: on a disk with scattered writes most are.
            for word, number, first in _UNIT.iter_unpack(units[at:] if at else units):
                at += _UNIT.size
                if word < _SINGLE:
                    break
                slots.append(first)
                checksums.append(number)
                records.append((word & _WORD, 1, first))
            else:
                self._take_singles(slots, checksums)
                break
            self._take_singles(slots, checksums)
            records.append((word & _WORD, number, first))
            self._check(first, number)
            if word & _UNCHECKED:
                self._checksums.forget(first, number)
            elif first:
                self._slot, self._missing = first, number
                at = self._read_checksums(units, at)
        return records

    def _read_format_1(self, units: bytes) -> list[Record]:
        records = list(_UNIT.iter_unpack(units))
        for _, count, first in records:
            self._check(first, count)
            if first:
                self._checksums.forget(first, count)
        return records

    def _read_singles(self, units: bytes) -> list[Record] | None:
        """The records of units that are all of single granules; None when others are among them.

        That is the case for most slots of a disk with scattered writes. Column by column, as a loop
        over the units takes three times as long.
        """
        tops = units[_TOP_BYTE :: _UNIT.size]
        if not tops or min(tops) < _SINGLE >> 56:
            return None
        unmarked = bytearray(units)
        unmarked[_TOP_BYTE :: _UNIT.size] = tops.translate(_WITHOUT_MARKS)
        words, numbers = array("Q", unmarked)[::2], array("I", units)
        if sys.byteorder == "big":
            words.byteswap()
            numbers.byteswap()
        slots = numbers[3::4]
        self._take_singles(slots, numbers[2::4])
        return list(zip(words, repeat(1), slots, strict=False))

    def _take_singles(self, slots: Sequence[int], checksums: Sequence[int]) -> None:
        if slots:
            last = max(slots)
            self._check(last, 1)
            self._checksums.note_some_read(slots, checksums, last)

    def _check(self, slot: int, count: int) -> None:
        if slot and slot + count > self._slots:
            raise IndexError(slot)

    def _read_checksums(self, units: bytes, at: int) -> int:
        """Reads checksums of the current run; returns where the next unit begins."""
        if not self._missing:
            return at
        found = array("I", units[at : at + self._missing * 4])
        if sys.byteorder == "big":
            found.byteswap()
        self._checksums.note_read(self._slot, found)
        self._slot += len(found)
        self._missing -= len(found)
        return at + -(-len(found) * 4 // _UNIT.size) * _UNIT.size


def unpacked_units(units: bytes) -> Sequence[bytes]:
    """Units cut at the ends of slots."""
    length = UNITS_IN_SLOT * _UNIT.size
    return [units[at : at + length] for at in range(0, len(units), length)] or [b""]


def count_units(units: bytes) -> int:
    """How many units they are."""
    return len(units) // _UNIT.size
