"""Which block of a disk lies in which frame of shared memory.

`web/shared-blocks.mjs` describes the memory itself. A block may be in any of the `WAYS` frames of one
set, so that a reader finds it by looking at one cache line, and the table needs no memory but the
frames' own heads, whatever the size of the disk. In a set, a frame goes that was not read since it
was looked at last (the clock algorithm), readers leaving marks.
"""

from __future__ import annotations

from dataclasses import dataclass

from .platform.base import SharedMemory

WAYS = 8
MOST_BLOCKS = 1 << 31
SMALLEST_FRAME = 4096
LARGEST_FRAME = 65_536  # a miss brings a whole one in, for a read that may want 512 bytes of it
NOTHING = -1


@dataclass(frozen=True, slots=True)
class Geometry:
    """How shared memory is divided: frames of `1 << frame_shift` bytes in `1 << set_shift` sets."""

    frame_shift: int
    set_shift: int
    size: int
    """Of the disk, in bytes."""

    @property
    def frame_size(self) -> int:
        """Bytes in a frame, and in a block but the last."""
        return 1 << self.frame_shift

    @property
    def frames(self) -> int:
        """How many there are."""
        return WAYS << self.set_shift

    def block_length(self, block: int) -> int:
        """Bytes in that block."""
        return min(self.frame_size, self.size - (block << self.frame_shift))

    def set_of(self, block: int) -> int:
        """The set whose frames may hold that block: neighbours for neighbours, mixed for strides."""
        shift = self.set_shift
        return (block ^ block >> shift ^ block >> 2 * shift) & ((1 << shift) - 1)


def geometry_for(size: int, block_size: int, memory_bytes: int) -> Geometry:
    """Frames like the disk's blocks, but small enough for one sector and few enough to number.

    As many as `memory_bytes` hold, down to a power of two; one set at least.
    """
    frame = max(SMALLEST_FRAME, min(block_size, LARGEST_FRAME))
    frame = 1 << frame.bit_length() - 1
    while size > frame * MOST_BLOCKS:
        frame *= 2
    sets = max(1, memory_bytes // (frame * WAYS))
    return Geometry(frame.bit_length() - 1, sets.bit_length() - 1, size)


class FrameTable:
    """The blocks in the frames."""

    def __init__(self, geometry: Geometry, memory: SharedMemory) -> None:
        self.geometry = geometry
        self.changes = 0
        """How often `forget` was called: what was read before that and put later may be stale."""
        self._memory = memory
        self._frames: dict[int, int] = {}  # by block
        self._blocks = [NOTHING] * geometry.frames
        self._hands = bytearray(1 << geometry.set_shift)  # by set: the way to look at next

    def __contains__(self, block: int) -> bool:
        return block in self._frames

    def __len__(self) -> int:
        return len(self._frames)

    def take(self, block: int) -> int:
        """A frame for a block, at the cost of the block in it. To be filled at once."""
        set_ = self.geometry.set_of(block)
        first = set_ * WAYS
        blocks = self._blocks
        hand = self._hands[set_]
        frame = first + hand
        if blocks[frame] != NOTHING:
            frame = first + self._next_unread(set_, hand)
            self._frames.pop(blocks[frame], None)
        self._hands[set_] = (frame - first + 1) % WAYS
        self._frames[block] = frame
        blocks[frame] = block
        return frame

    def give_back(self, block: int) -> None:
        """Notes that nothing came into the frame that was taken for a block."""
        self._blocks[self._frames.pop(block)] = NOTHING

    def forget(self, offset: int, length: int) -> None:
        """Empties the frames of a range of bytes that are about to be, or just were, others."""
        self.changes += 1
        shift = self.geometry.frame_shift
        touched = range(offset >> shift, (offset + length - 1 >> shift) + 1 if length else 0)
        if len(touched) > len(self._frames):
            found = [block for block in self._frames if block in touched]
        else:
            found = [block for block in touched if block in self._frames]
        for block in found:
            self._memory.drop(self._frames[block])
            self.give_back(block)

    def _next_unread(self, set_: int, hand: int) -> int:
        marks = self._memory.take_marks(set_)
        for step in range(WAYS):
            way = (hand + step) % WAYS
            if not marks >> way & 1:
                return way
        return hand
