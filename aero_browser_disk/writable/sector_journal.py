"""The bytes that say what lies in a sector store: headers, and a chain of journal slots.

The file is one row of slots. Slots 0 and 1 are the places of the header; the valid one with the
higher serial counts. It names the first slot of a chain: each slot of the chain holds records and
names the next. The first slots of the chain are a snapshot of all that there was when the header
was written, what follows are batches, each the changes of one commit.

A journal slot's checksum is seeded with that of the slot before it, the first one's with the salt
of the header, so that nothing left over from before is taken for a part of the chain. Everything is
little-endian.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Final

from ..platform.base import ReadableBuffer
from ..records.journal_header import decode_header, encode_header, newest
from .granule_table import GRANULE

SLOT_SIZE: Final = GRANULE
FIRST_SLOT: Final = 2
"""The first that is no place of a header."""

COMMIT: Final = 1
"""The last slot of a batch, or of the snapshot."""
CHECKED: Final = 2
"""The batch's data may not have been durable when this was written: its checksum must match."""

_MAGIC: Final = b"AEROSEC1"
_SLOT_MAGIC: Final = b"AEJ1"
_SLOT_HEAD: Final = struct.Struct("<4sIIIII")
"""magic, checksum of what follows, next slot of the chain, records, flags, checksum of the data."""
_CHECKED_FROM: Final = 8
_RECORD: Final = struct.Struct("<QII")  # granule << 8 | mask, count, slot
_MOST_SLOTS: Final = 1 << 32

RECORDS_IN_SLOT: Final = (SLOT_SIZE - _SLOT_HEAD.size) // _RECORD.size

Record = tuple[int, int, int]
"""The first granule of a run << 8 | the mask of each, their count, the slot of the first."""


@dataclass(frozen=True, slots=True)
class Contents:
    """What a store is of."""

    size: int
    """Bytes in the disk."""
    identity: str
    """Drawn when it was created: no other has it."""
    base: str | None = None
    """The version of the disk that this is an overlay of; None for an image."""
    base_identity: str | None = None
    """The mark of the commit that writes this overlay into its base, until that commit ends."""
    commit_mark: str | None = None
    """The mark of the commit that wrote here last. Any other write removes it first."""


@dataclass(frozen=True, slots=True)
class Header:
    """Where the chain begins. `commits` is how many there had been before the chain's first."""

    serial: int
    salt: int
    chain: int
    snapshot_slots: int
    commits: int
    contents: Contents

    @property
    def place(self) -> int:
        """Its offset in the file. The other place is never touched while it counts."""
        return self.serial % 2 * SLOT_SIZE

    def encode(self) -> bytes:
        """Its bytes, a slot full. Raises ValueError when they do not fit."""
        encoded = encode_header(_MAGIC, asdict(self))
        if len(encoded) > SLOT_SIZE:
            raise ValueError("what the header says of the base is too long")
        return encoded.ljust(SLOT_SIZE, b"\0")

    @classmethod
    def decode(cls, data: ReadableBuffer) -> Header | None:
        """The header in its place; None when there is none, or not all of it."""
        fields = decode_header(_MAGIC, data)
        if fields is None:
            return None
        return cls(**{**fields, "contents": Contents(**fields["contents"])})


@dataclass(frozen=True, slots=True)
class JournalSlot:
    """One slot of the chain, decoded."""

    checksum: int
    next_slot: int
    flags: int
    data_checksum: int
    records: tuple[Record, ...]


def newest_header(places: memoryview) -> Header | None:
    """The header that counts, of the file's first two slots."""
    return newest(Header.decode, (places[at : at + SLOT_SIZE] for at in (0, SLOT_SIZE)))


def encode_slot(
    seed: int, next_slot: int, flags: int, data_checksum: int, records: Iterable[Record]
) -> tuple[bytes, int]:
    """A slot of the chain, and its checksum, which seeds that of the next."""
    packed = b"".join([_RECORD.pack(*record) for record in records])
    head = _SLOT_HEAD.pack(
        _SLOT_MAGIC, 0, next_slot, len(packed) // _RECORD.size, flags, data_checksum
    )
    checked = (head[_CHECKED_FROM:] + packed).ljust(SLOT_SIZE - _CHECKED_FROM, b"\0")
    checksum = zlib.crc32(checked, seed)
    return _SLOT_MAGIC + checksum.to_bytes(4, "little") + checked, checksum


def decode_slot(data: memoryview, seed: int) -> JournalSlot | None:
    """The slot that follows one whose checksum is `seed`; None when it is anything else."""
    if len(data) < SLOT_SIZE:
        return None
    magic, checksum, next_slot, count, flags, data_checksum = _SLOT_HEAD.unpack_from(data)
    if magic != _SLOT_MAGIC or zlib.crc32(data[_CHECKED_FROM:SLOT_SIZE], seed) != checksum:
        return None
    end = _SLOT_HEAD.size + count * _RECORD.size
    records = tuple(_RECORD.iter_unpack(data[_SLOT_HEAD.size : end]))
    return JournalSlot(checksum, next_slot, flags, data_checksum, records)


def encode_chain(
    seed: int,
    slots: Iterable[int],
    next_slot: int,
    records: Sequence[Record],
    data_checksum: int | None,
) -> tuple[list[tuple[int, bytes]], int]:
    """One batch in as many slots as it takes, slot and bytes of each; and the last one's checksum.

    `next_slot` is where the batch after it will begin. `data_checksum` is None when the data is
    durable already.
    """
    places = list(slots)
    chain = []
    last = len(places) - 1
    for index, slot in enumerate(places):
        part = records[index * RECORDS_IN_SLOT : (index + 1) * RECORDS_IN_SLOT]
        following = places[index + 1] if index < last else next_slot
        flags = COMMIT if index == last else 0
        if index == last and data_checksum is not None:
            flags |= CHECKED
        encoded, seed = encode_slot(seed, following, flags, data_checksum or 0, part)
        chain.append((slot, encoded))
    return chain, seed


def slots_for(records: int) -> int:
    """How many slots of the chain a batch of so many records takes."""
    return max(1, -(-records // RECORDS_IN_SLOT))
