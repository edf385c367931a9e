"""The bytes of a block store's journal: headers that say where it begins, records, and snapshots.

Every record has a checksum that is seeded with the salt of its header. The salt is drawn anew for
each header, so that a record left over from before, or from an attempt that failed, is never taken
for one of this journal. Everything is little-endian.
"""

from __future__ import annotations

import struct
import sys
import zlib
from array import array
from collections.abc import Collection, Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Final

from ..platform.base import ReadableBuffer
from ..records.journal_header import copy_offset, decode_header, encode_header, newest

HEADER_SIZE: Final = 4096
RECORDS_START: Final = 2 * HEADER_SIZE
RECORD_SIZE: Final = 32
STORED, FREED, FRESH = 1, 2, 3

_MAGIC: Final = b"AEROBLK2"
_RECORD: Final = struct.Struct("<QIIIIII")
"""block, slot, checksum of the data, kind, seconds since the epoch, 0, checksum of the record."""
_CHECKED: Final = RECORD_SIZE - 4  # the part of a record that its checksum covers
_WORDS: Final = RECORD_SIZE // 4


@dataclass(frozen=True, slots=True)
class StoredImage:
    """Which image a store holds blocks of: the version's size and validator, and the block size."""

    size: int
    validator: str
    block_size: int

    def block_length(self, block: int) -> int:
        """Bytes in a block: the block size, less in the image's last."""
        return min(self.block_size, self.size - block * self.block_size)

    @property
    def seed(self) -> int:
        """Seeds its blocks' checksums, so that they differ from those of another version."""
        return zlib.crc32(f"{self.size}/{self.block_size}/{self.validator}".encode())


@dataclass(frozen=True, slots=True)
class Header:
    """Where the records begin, and of which image. The valid one with the higher serial counts.

    The first `count` records are a snapshot, one for each stored block, and have a checksum as a
    whole; `fresh_until` is as it was then.
    """

    serial: int
    salt: int
    start: int
    count: int
    checksum: int
    fresh_until: int
    image: StoredImage

    @property
    def offset(self) -> int:
        """Its offset in the journal. The other copy is never touched while this one counts."""
        return copy_offset(self.serial, HEADER_SIZE)

    def encode(self) -> bytes:
        """Its bytes. Raises ValueError when they do not fit."""
        encoded = encode_header(_MAGIC, asdict(self))
        if len(encoded) > HEADER_SIZE:
            raise ValueError(f"a validator of {len(self.image.validator)} characters is too long")
        return encoded

    @classmethod
    def decode(cls, data: ReadableBuffer) -> Header | None:
        """The header at its offset; None when there is none, or not all of it."""
        fields = decode_header(_MAGIC, data)
        if fields is None:
            return None
        return cls(**{**fields, "image": StoredImage(**fields["image"])})


def block_checksum(seed: int, block: int, data: ReadableBuffer) -> int:
    """The checksum of a block's bytes, bound by `seed` to this version and block number."""
    return zlib.crc32(data, zlib.crc32(block.to_bytes(8, "little"), seed))


def reseeded(checksum: int, block: int, length: int, before: int, after: int) -> int:
    """`block_checksum` by the seed `after`, of data whose checksum by the seed `before` is known.

    CRC-32 is affine: another start changes the result by as much for any data of that `length`.
    """
    number = block.to_bytes(8, "little")
    change = zlib.crc32(number, before) ^ zlib.crc32(number, after)
    zeros = _zeros(length)
    return checksum ^ zlib.crc32(zeros, change) ^ zlib.crc32(zeros)


@lru_cache(maxsize=4)
def _zeros(length: int) -> bytes:
    return bytes(length)


def newest_header(journal: memoryview) -> Header | None:
    """The header that counts."""
    return newest(Header.decode(journal[at : at + HEADER_SIZE]) for at in (0, HEADER_SIZE))


def encode_record(
    salt: int, block: int, slot: int, checksum: int, kind: int, seconds: int
) -> bytes:
    """One record, of `RECORD_SIZE` bytes."""
    record = _RECORD.pack(block, slot, checksum, kind, seconds, 0, 0)[:_CHECKED]
    return record + zlib.crc32(record, salt).to_bytes(4, "little")


def decode_records(
    records: memoryview, salt: int
) -> Iterator[tuple[int, int, int, int, int] | None]:
    """Block, slot, checksum of the data, kind and seconds of each record; None for a damaged one.

    An incomplete record at the end is ignored.
    """
    crc32, position = zlib.crc32, 0
    whole = records[: len(records) // RECORD_SIZE * RECORD_SIZE]
    for block, slot, checksum, kind, seconds, _, own in _RECORD.iter_unpack(whole):
        if crc32(records[position : position + _CHECKED], salt) == own:
            yield block, slot, checksum, kind, seconds
        else:
            yield None
        position += RECORD_SIZE


def encode_snapshot(
    salt: int, blocks: Collection[int], slots: Iterable[int], checksums: Iterable[int]
) -> tuple[bytes, int]:
    """A record for each stored block, and the checksum of them all."""
    count = len(blocks)
    # Column by column: a call for each record takes five times as long, and blocks all reads
    # meanwhile.
    words = array("I", bytes(count * RECORD_SIZE))
    words[0::_WORDS] = array("I", [block & 0xFFFFFFFF for block in blocks])
    words[1::_WORDS] = array("I", [block >> 32 for block in blocks])
    words[2::_WORDS] = array("I", slots)
    words[3::_WORDS] = array("I", checksums)
    words[4::_WORDS] = array("I", [STORED]) * count
    _swap_if_big_endian(words)
    crc32, starts = zlib.crc32, range(0, count * RECORD_SIZE, RECORD_SIZE)
    with memoryview(words).cast("B") as view:
        own = array("I", [crc32(view[start : start + _CHECKED], salt) for start in starts])
    _swap_if_big_endian(own)
    words[_WORDS - 1 :: _WORDS] = own
    snapshot = words.tobytes()
    return snapshot, crc32(snapshot, salt)


def decode_snapshot(
    records: memoryview, header: Header
) -> tuple[array[int], array[int], array[int]] | None:
    """Blocks, slots and checksums of the header's snapshot; None when it is not whole.

    Its records can be decoded one by one then.
    """
    snapshot = records[: header.count * RECORD_SIZE]
    if zlib.crc32(snapshot, header.salt) != header.checksum:
        return None
    words = array("I")
    words.frombytes(snapshot)
    _swap_if_big_endian(words)
    if any(words[1::_WORDS]):  # blocks past 2**32: not worth a second column
        return None
    return words[0::_WORDS], words[2::_WORDS], words[3::_WORDS]


def _swap_if_big_endian(words: array[int]) -> None:
    if sys.byteorder == "big":
        words.byteswap()
