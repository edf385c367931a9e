"""Images of any size whose bytes are computed when they are read."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE_SIZE = 4096


@dataclass(frozen=True, slots=True)
class SyntheticImage:
    """An image of `size` bytes that depend on nothing but their offset and `seed`.

    The bytes look random: no two pages, and no two ranges of a page, are alike, so a block at the
    wrong offset, of the wrong image or of zeros never compares equal. Two images with one seed and
    different sizes agree as far as both go. Nothing is kept in memory; about 250 MB/s come out of
    one core.
    """

    size: int
    seed: int = 0

    def __post_init__(self) -> None:
        if self.size < 0:
            raise ValueError(f"an image cannot have {self.size} bytes")

    def read(self, offset: int, length: int) -> bytes:
        """The bytes at `offset`: `length` of them, fewer at the end of the image, as a file has it.

        Raises ValueError when `offset` or `length` is negative.
        """
        if offset < 0 or length < 0:
            raise ValueError(f"cannot read {length} bytes at offset {offset}")
        stop = min(offset + length, self.size)
        if offset >= stop:
            return b""
        first, last = offset // PAGE_SIZE, (stop - 1) // PAGE_SIZE
        data = b"".join(self._page(index) for index in range(first, last + 1))
        start = offset - first * PAGE_SIZE
        return data[start : start + stop - offset]

    def chunks(self, chunk_size: int = 1 << 20) -> Iterator[bytes]:
        """The whole image in order, `chunk_size` bytes at a time."""
        for offset in range(0, self.size, chunk_size):
            yield self.read(offset, chunk_size)

    def _page(self, index: int) -> bytes:
        return hashlib.shake_128(b"%d/%d" % (self.seed, index)).digest(PAGE_SIZE)
