"""The map of a save: for each range of sectors that was written, where its content is.

Rows are in order and do not overlap. Encoded, a row is three or four numbers, each as LEB128 (seven
bits a byte, the lowest first, the top bit set but in the last byte): the sectors between the row
before and this one, its sectors, and the code of its chunk. Code 0 means zeros; 1 that the content
follows that of the last row with content, in the same chunk; 2 and more chunk `code - 2`, and then
the sector of the chunk's content at which it begins.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterator
from typing import Final

from ..errors import SaveTooLargeError

SECTOR: Final = 512
CHUNK_SECTORS: Final = 512
"""The most sectors in the content of a chunk: 256 KiB."""
ZEROS: Final = -1
"""In place of a chunk's number: the sectors are zeros."""
MAX_ROWS: Final = 1 << 20
MAX_ENCODED: Final = 8 << 20
"""Bytes of an encoded map, unpacked."""

_FOLLOWS: Final = 1
_FIRST_CHUNK: Final = 2
_MAX_SHIFT: Final = 63

Row = tuple[int, int, int, int]
"""First sector, sectors, the chunk's number or `ZEROS`, the sector of the chunk's content."""


class SaveMap:
    """The rows, in columns: 26 bytes each."""

    def __init__(self) -> None:
        self._firsts = array("Q")
        self._counts = array("Q")
        self._chunks = array("q")
        self._offsets = array("H")

    def __len__(self) -> int:
        return len(self._firsts)

    def __getitem__(self, index: int) -> Row:
        return self._firsts[index], self._counts[index], self._chunks[index], self._offsets[index]

    def __iter__(self) -> Iterator[Row]:
        return zip(self._firsts, self._counts, self._chunks, self._offsets, strict=True)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SaveMap) and self._columns == other._columns

    __hash__ = None  # type: ignore[assignment]  # it changes

    @property
    def end(self) -> int:
        """The sector behind the last row."""
        return self._firsts[-1] + self._counts[-1] if self._firsts else 0

    def add(self, first: int, count: int, chunk: int, offset: int = 0) -> None:
        """Appends a row, joined with the last one if it continues that."""
        continues = self._firsts and first == self.end and chunk == self._chunks[-1]
        if continues and (chunk == ZEROS or offset == self._offsets[-1] + self._counts[-1]):
            self._counts[-1] += count
            return
        self._firsts.append(first)
        self._counts.append(count)
        self._chunks.append(chunk)
        self._offsets.append(offset)

    def between(self, first: int, stop: int) -> Iterator[Row]:
        """The rows that have sectors from `first` to `stop`, whole, in order."""
        index = max(0, bisect_right(self._firsts, first) - 1)
        while index < len(self) and self._firsts[index] < stop:
            if self._firsts[index] + self._counts[index] > first:
                yield self[index]
            index += 1

    def overlaid(self, over: SaveMap) -> SaveMap:
        """The rows of `over`, and of these what it does not cover."""
        found = SaveMap()
        at = 0
        for row in over:
            self._copy(found, at, row[0])
            found.add(*row)
            at = row[0] + row[1]
        self._copy(found, at, max(at, self.end))
        return found

    def changed_from(self, before: SaveMap) -> SaveMap | None:
        """Rows that make this map of `before`; None if it has fewer sectors: nothing takes away."""
        known = set(before)
        found = SaveMap()
        for row in self:
            if row not in known:
                found.add(*row)
        return found if before.overlaid(found) == self else None

    def by_chunk(self) -> Iterator[Row]:
        """All rows, those of one chunk after another; zeros come first."""
        for index in sorted(range(len(self)), key=self._chunks.__getitem__):
            yield self[index]

    @property
    def _columns(self) -> tuple[array[int], ...]:
        return self._firsts, self._counts, self._chunks, self._offsets

    def _copy(self, to: SaveMap, first: int, stop: int) -> None:
        """Adds the rows from `first` to `stop`, cut there."""
        if first >= stop:
            return
        for start, count, chunk, offset in self.between(first, stop):
            skipped = max(0, first - start)
            left = min(start + count, stop) - start - skipped
            to.add(start + skipped, left, chunk, offset + skipped if chunk != ZEROS else offset)

    def encode(self) -> bytes:
        """The bytes of the rows. Raises `SaveTooLargeError`."""
        if len(self) > MAX_ROWS:
            raise SaveTooLargeError("separate ranges", len(self), MAX_ROWS)
        encoded = bytearray()
        at = last_end = 0
        last_chunk = ZEROS
        for first, count, chunk, offset in self:
            _put(encoded, first - at)
            _put(encoded, count)
            at = first + count
            if chunk == ZEROS:
                encoded.append(0)
                continue
            if chunk == last_chunk and offset == last_end:
                encoded.append(_FOLLOWS)
            else:
                _put(encoded, chunk + _FIRST_CHUNK)
                _put(encoded, offset)
            last_chunk, last_end = chunk, offset + count
        return bytes(encoded)

    @classmethod
    def decode(cls, encoded: bytes, sectors: int, chunks: int) -> SaveMap:
        """The rows of a disk of so many sectors, in so many chunks.

        Raises `ValueError` for a map that is not encoded as above, has a row beyond the disk's end,
        or more than `MAX_ROWS` of them, or names a chunk or content that there is not. Takes time
        and memory in proportion to the length of `encoded`.
        """
        found = cls()
        numbers = _Numbers(encoded)
        at = last_end = 0
        last_chunk = ZEROS
        while not numbers.is_at_end:
            if len(found) >= MAX_ROWS:
                raise ValueError(f"its map has more than {MAX_ROWS:,} rows")
            first = at + numbers.next()
            count = numbers.next()
            at = first + count
            if not count or at > sectors:
                raise ValueError("a row of its map lies outside the disk")
            code = numbers.next()
            if not code:
                found.add(first, count, ZEROS)
                continue
            chunk, offset = last_chunk, last_end
            if code != _FOLLOWS:
                chunk, offset = code - _FIRST_CHUNK, numbers.next()
            if not 0 <= chunk < chunks or offset + count > CHUNK_SECTORS:
                raise ValueError("a row of its map names content that is not there")
            found.add(first, count, chunk, offset)
            last_chunk, last_end = chunk, offset + count
        return found


class _Numbers:
    """Reads numbers of LEB128."""

    def __init__(self, encoded: bytes) -> None:
        self._encoded = encoded
        self._at = 0

    @property
    def is_at_end(self) -> bool:
        return self._at == len(self._encoded)

    def next(self) -> int:
        number = shift = 0
        while self._at < len(self._encoded):
            byte = self._encoded[self._at]
            self._at += 1
            number |= (byte & 0x7F) << shift
            if byte < 0x80:
                if number >> _MAX_SHIFT:
                    break
                return number
            shift += 7
            if shift >= _MAX_SHIFT:
                raise ValueError("a number of its map is too large")
        raise ValueError("its map breaks off")


def _put(encoded: bytearray, number: int) -> None:
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
