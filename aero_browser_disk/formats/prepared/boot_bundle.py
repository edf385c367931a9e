"""A boot bundle: the blocks that a boot reads, in its order, in parts that are separate files.

Each part unpacks to the bytes of its blocks, concatenated. Parts are fetched in order. Each is
verified by its name before any byte of it is used. After an interrupted boot only the missing parts
are fetched.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from ..block_runs import start_and_length
from .chunk_codec import KINDS
from .stored_files import DIGEST_LENGTH, StoredFile

FORMAT: Final = "aero-disk-boot-bundle"
MAX_BLOCKS: Final = 1 << 20
_VERSION: Final = 1
_SMALLEST_BLOCK, _LARGEST_BLOCK = 512, 8 << 20
_LARGEST_PART = 8 << 20  # bytes unpacked


@dataclass(frozen=True, slots=True)
class BundlePart:
    """A part: how it is stored, and the numbers of its blocks, in order."""

    kind: int
    file: StoredFile
    blocks: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class BootBundle:
    """The parts in the order of the boot. `block_size` is in bytes, a power of two.

    Raises `ValueError` when a block is not on a disk of `size` bytes, or comes twice.
    """

    size: int
    block_size: int
    parts: tuple[BundlePart, ...]

    def __post_init__(self) -> None:
        if not _SMALLEST_BLOCK <= self.block_size <= _LARGEST_BLOCK or self.block_size & (
            self.block_size - 1
        ):
            raise ValueError(f"a block cannot have {self.block_size} bytes")
        blocks = self.blocks
        if len(set(blocks)) != len(blocks) or len(blocks) > MAX_BLOCKS:
            raise ValueError("a block is there twice, or there are too many")
        count = -(-self.size // self.block_size)
        if blocks and not 0 <= min(blocks) <= max(blocks) < count:
            raise ValueError(f"the disk has blocks 0 to {count - 1} only")
        for part in self.parts:
            length = self.length_of(part)
            if not part.blocks or not part.file.length <= length <= _LARGEST_PART:
                raise ValueError(f"a part cannot have {length} bytes")

    @property
    def blocks(self) -> tuple[int, ...]:
        """All blocks, in order."""
        return tuple(block for part in self.parts for block in part.blocks)

    def length_of(self, part: BundlePart) -> int:
        """Bytes of a part, unpacked."""
        return sum(self.block_length(block) for block in part.blocks)

    def block_length(self, block: int) -> int:
        """Bytes of a block; the last one of the disk may be shorter."""
        return min(self.block_size, self.size - block * self.block_size)

    def encode(self) -> bytes:
        """The document; the same bundle gives the same bytes."""
        document = {
            "format": FORMAT,
            "version": _VERSION,
            "size": self.size,
            "block_size": self.block_size,
            "parts": [
                {
                    "sha256": part.file.digest.hex(),
                    "length": part.file.length,
                    "kind": KINDS[part.kind],
                    "runs": start_and_length(part.blocks),
                }
                for part in self.parts
            ],
        }
        return json.dumps(document, separators=(",", ":")).encode()

    @classmethod
    def decode(cls, encoded: bytes, size: int) -> BootBundle:
        """Reads the document of a disk of `size` bytes; raises `ValueError`."""
        document = json.loads(encoded)
        if not isinstance(document, dict) or document.get("format") != FORMAT:
            raise ValueError(f"not {FORMAT}")
        if document.get("version") != _VERSION:
            raise ValueError(f"{FORMAT} of a version that is not known here")
        if document.get("size") != size or not isinstance(document.get("parts"), list):
            raise ValueError("it is of another disk")
        budget = [MAX_BLOCKS]
        parts = tuple(_part(part, budget) for part in document["parts"])
        return cls(size, _whole(document.get("block_size")), parts)


def _part(part: Any, budget: list[int]) -> BundlePart:
    if not isinstance(part, dict) or set(part) != {"sha256", "length", "kind", "runs"}:
        raise ValueError("a part has sha256, length, kind and runs")
    kinds = {name: kind for kind, name in KINDS.items()}
    if not isinstance(part["kind"], str) or part["kind"] not in kinds:
        raise ValueError("a part is stored in a way that is not known here")
    digest = bytes.fromhex(part["sha256"]) if isinstance(part["sha256"], str) else b""
    if len(digest) != DIGEST_LENGTH:
        raise ValueError("a part is named by its SHA-256")
    file = StoredFile(digest, _whole(part["length"]))
    return BundlePart(kinds[part["kind"]], file, tuple(_blocks(part["runs"], budget)))


def _whole(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < 1 << 53:
        raise ValueError("not a whole number above 0")
    return value


def _blocks(runs: object, budget: list[int]) -> Iterator[int]:
    if not isinstance(runs, list) or len(runs) % 2:
        raise ValueError("runs must be pairs of whole numbers")
    for start, count in zip(runs[::2], runs[1::2], strict=True):
        for number in (start, count):
            if not isinstance(number, int) or isinstance(number, bool) or number < 0:
                raise ValueError("runs must be pairs of whole numbers")
        budget[0] -= count  # checked before the list is made
        if budget[0] < 0:
            raise ValueError("too many blocks")
        yield from range(start, start + count)
