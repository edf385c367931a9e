"""A boot profile: the blocks that a boot touches, in the order in which it first needs them.

It belongs to one version of an image. The blocks are written as runs of neighbours, since a boot
reads mostly forward: a Debian boot of 900 blocks takes about 2 KB.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from ..formats.block_runs import start_and_length
from ..remote.documents import is_whole, read_document, whole_number

PROFILE_RELATION: Final = "urn:aero-disk:boot-profile"
"""The relation type of a `Link` from an image to its boot profile."""
FORMAT: Final = "aero-disk-boot-profile"
# With blocks of 64 KiB that is 64 GiB: more than any boot reads, and small enough for memory.
MAX_BLOCKS: Final = 1 << 20
_VERSION: Final = 1
_SMALLEST_BLOCK, _LARGEST_BLOCK = 512, 64 * 1024 * 1024
_MAX_VALIDATOR: Final = 512
_FIELDS: Final = frozenset({"size", "validator", "block_size", "runs"})


@dataclass(frozen=True, slots=True)
class BootProfile:
    """Which blocks of an image, by number and each once, in the order of their first use.

    `size` (bytes) and `validator` (a strong ETag or a date, as the server sent it) name the version
    of the image; `block_size` is a power of two from 512 bytes to 64 MiB. Raises `ValueError` when
    a block is not in the image or comes twice.
    """

    size: int
    validator: str
    block_size: int
    blocks: tuple[int, ...]

    def __post_init__(self) -> None:
        if self.size < 0:
            raise ValueError(f"no image has {self.size} bytes")
        if not _SMALLEST_BLOCK <= self.block_size <= _LARGEST_BLOCK or self.block_size & (
            self.block_size - 1
        ):
            raise ValueError(f"a block cannot have {self.block_size} bytes")
        if len(self.validator) > _MAX_VALIDATOR or not self.validator.isprintable():
            raise ValueError("not a validator")
        if len(self.blocks) > MAX_BLOCKS:
            raise ValueError(f"a boot profile has at most {MAX_BLOCKS} blocks")
        if self.blocks and not 0 <= min(self.blocks) <= max(self.blocks) < self.block_count:
            raise ValueError(f"the image has blocks 0 to {self.block_count - 1} only")
        if len(set(self.blocks)) != len(self.blocks):
            raise ValueError("a block is there twice")

    @property
    def block_count(self) -> int:
        """Blocks in the image."""
        return -(-self.size // self.block_size)

    def fits(self, size: int, validator: str) -> bool:
        """Whether it was recorded from that version; always false without a validator."""
        return bool(validator) and (self.size, self.validator) == (size, validator)

    def encode(self) -> bytes:
        """The document; the same profile gives the same bytes."""
        document = {
            "format": FORMAT,
            "version": _VERSION,
            "size": self.size,
            "validator": self.validator,
            "block_size": self.block_size,
            "runs": start_and_length(self.blocks),
        }
        return json.dumps(document, separators=(",", ":")).encode()

    @classmethod
    def decode(cls, encoded: bytes | str) -> BootProfile:
        """Reads a document; raises `ValueError` that says what is wrong with it."""
        document = read_document(encoded, FORMAT, _VERSION, _FIELDS)
        validator = document.get("validator")
        if not isinstance(validator, str):
            raise ValueError("validator must be text")  # noqa: TRY004 - from a file, not an argument
        return cls(
            whole_number(document, "size"),
            validator,
            whole_number(document, "block_size"),
            tuple(_blocks(document.get("runs"))),
        )


def _blocks(runs: object) -> Iterator[int]:
    if not isinstance(runs, list) or len(runs) % 2 or not all(map(is_whole, runs)):
        raise ValueError("runs must be pairs of whole numbers")
    total = 0
    for start, length in zip(runs[::2], runs[1::2], strict=True):
        total += length
        # Checked before the list is made: a run is a few bytes in the file, 8 per block in memory.
        if start < 0 or length < 1 or total > MAX_BLOCKS:
            raise ValueError(f"{length} blocks from block {start} cannot be a run")
        yield from range(start, start + length)
