"""What a power cut leaves of a file: the durable bytes, and each unflushed change or not.

`failing_files` makes a storage of these.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

Fate = Literal["kept", "lost", "zeros", "junk"]
"""What a power cut makes of a fragment that was not flushed: it is kept; it is lost, and the old
bytes are still there; its range has zeros, or bytes that nobody wrote."""
FATES: tuple[Fate, ...] = ("kept", "lost", "zeros", "junk")

ChangeKind = Literal["create", "write", "truncate", "allocate"]

SECTOR = 512
DEVICE_BLOCK = 4096
"""The size of a device's blocks in bytes."""

# Inverted bits are the worst junk: they never equal what was written.
_JUNK = bytes(byte ^ 0xA5 for byte in range(256))


class Fragment(NamedTuple):  # the quickest to make: tests of crashes make millions
    """A part of a change that was not flushed, which the disk may or may not have kept.

    `create`, `truncate` and `allocate` are kept or lost whole (`zeros` and `junk` mean kept); a
    `write` comes in fragments that no disk tears, each within one sector of the file. `change`
    numbers the changes of a storage in the order they were made, `offset` and `length` are those of
    the fragment; of a `truncate`, `offset` is the new size.
    """

    path: str
    kind: ChangeKind
    change: int
    offset: int
    length: int


Fragments = list[tuple[Fragment, bytes]]
"""With the bytes of each."""


@dataclass(frozen=True, slots=True)
class Change:
    """A change that was not flushed. `offset` is the new size when it is a truncation.

    The data of an allocation are zeros.
    """

    kind: ChangeKind
    number: int
    offset: int
    data: bytes

    def fragments(self, path: str, atom: int) -> Fragments:
        """The untearable fragments with their bytes, cut where the file's atoms end."""
        if self.kind != "write":
            whole = Fragment(path, self.kind, self.number, self.offset, len(self.data))
            return [(whole, self.data)]
        stop = self.offset + len(self.data)
        starts = [self.offset, *range((self.offset // atom + 1) * atom, stop, atom)]
        return [
            (
                Fragment(path, "write", self.number, start, end - start),
                self.data[start - self.offset : end - self.offset],
            )
            for start, end in zip(starts, [*starts[1:], stop], strict=True)
        ]


class FileState:
    """A file's bytes as readers see them, as the medium has them, and the changes between.

    `blocks` are those of the device that it takes.
    """

    def __init__(self) -> None:
        self.data = bytearray()
        self.durable = bytearray()
        self.blocks: set[int] = set()
        self.durable_blocks: set[int] = set()
        self.unflushed: list[Change] = []
        self.is_held = False

    def write(self, number: int, offset: int, data: bytes) -> None:
        if data:
            _store(self.data, offset, data)
            self.blocks.update(device_blocks(offset, len(data)))
            self.unflushed.append(Change("write", number, offset, data))

    def truncate(self, number: int, size: int) -> None:
        _resize(self.data, size)
        _cut_blocks(self.blocks, size)
        self.unflushed.append(Change("truncate", number, size, b""))

    def allocate(self, number: int, offset: int, length: int) -> None:
        if length:
            _store(self.data, offset, bytes(length))
            self.blocks.update(device_blocks(offset, length))
            self.unflushed.append(Change("allocate", number, offset, bytes(length)))

    def damage(self, offset: int, data: bytes) -> None:
        """Changes bytes on the medium, as readers see them too."""
        _store(self.data, offset, data)
        _store(self.durable, offset, data)

    def flush(self) -> None:
        for change in self.unflushed:
            if change.kind in ("write", "allocate"):
                _store(self.durable, change.offset, change.data)
            elif change.kind == "truncate":
                _resize(self.durable, change.offset)
        self.durable_blocks = set(self.blocks)
        self.unflushed.clear()

    def after_power_cut(self) -> FileState:
        """The file with what was flushed."""
        after = FileState()
        after.data[:] = self.durable
        after.blocks |= self.durable_blocks
        return after

    def after_kill(self) -> FileState:
        """The file with all that was written."""
        after = FileState()
        after.data[:] = self.data
        after.blocks |= self.blocks
        return after

    def after_kill_in(self, fragments: Fragments) -> FileState:
        """The file with all that was written, but of the last change only these fragments."""
        after = self.after_power_cut()
        for change in self.unflushed[:-1]:
            whole = Fragment("", change.kind, change.number, change.offset, len(change.data))
            after.take(whole, change.data, "kept")
        for fragment, data in fragments:
            after.take(fragment, data, "kept")
        return after

    def take(self, fragment: Fragment, data: bytes, fate: Fate) -> None:
        """Lets a fragment, which held `data`, be there as its fate has it."""
        if fate == "lost":
            return
        if fragment.kind == "truncate":
            _resize(self.data, fragment.offset)
            _cut_blocks(self.blocks, fragment.offset)
        elif fragment.kind != "create":
            stored = _by_fate(data, fate) if fragment.kind == "write" else data
            _store(self.data, fragment.offset, stored)
            self.blocks.update(device_blocks(fragment.offset, fragment.length))


def device_blocks(offset: int, length: int) -> range:
    """The device's blocks that a range of a file lies in."""
    return range(offset // DEVICE_BLOCK, -(-(offset + length) // DEVICE_BLOCK) if length else 0)


def _cut_blocks(blocks: set[int], size: int) -> None:
    end = -(-size // DEVICE_BLOCK)
    blocks.difference_update([block for block in blocks if block >= end])


def _by_fate(data: bytes, fate: Fate) -> bytes:
    if fate == "zeros":
        return bytes(len(data))
    return data.translate(_JUNK) if fate == "junk" else data


def _store(target: bytearray, offset: int, data: bytes) -> None:
    if not data:
        return
    if offset > len(target):
        _resize(target, offset)
    target[offset : offset + len(data)] = data


def _resize(target: bytearray, size: int) -> None:
    if size < len(target):
        del target[size:]
    else:
        target.extend(bytes(size - len(target)))
