"""Divides the memory that a disk shares into frames.

`web/lib/shared-protocol.mjs` describes that memory. A block may be in any of the `WAYS` frames of
one set, so a reader finds it by looking at one cache line. The table needs no memory beyond the
heads of the frames, whatever the size of the disk.
"""

from __future__ import annotations

from dataclasses import dataclass

WAYS = 8
MAX_BLOCKS = 1 << 31
SMALLEST_FRAME = 4096
LARGEST_FRAME = 65_536  # a miss fills a whole frame, for a read of perhaps 512 bytes


@dataclass(frozen=True, slots=True)
class Geometry:
    """How shared memory is divided: frames of `1 << frame_shift` bytes in `1 << set_shift` sets."""

    frame_shift: int
    set_shift: int
    size: int
    """The size of the disk in bytes."""

    @property
    def frame_size(self) -> int:
        """Bytes in a frame, and in every block except the last."""
        return 1 << self.frame_shift

    @property
    def frames(self) -> int:
        """The number of frames."""
        return WAYS << self.set_shift

    def block_length(self, block: int) -> int:
        """Bytes in that block."""
        return min(self.frame_size, self.size - (block << self.frame_shift))


def geometry_for(size: int, block_size: int, memory_bytes: int) -> Geometry:
    """Frames like the disk's blocks, but small enough for one sector and few enough to number.

    As many as `memory_bytes` hold, down to a power of two; one set at least.
    """
    frame = max(SMALLEST_FRAME, min(block_size, LARGEST_FRAME))
    frame = 1 << frame.bit_length() - 1
    while size > frame * MAX_BLOCKS:
        frame *= 2
    sets = max(1, memory_bytes // (frame * WAYS))
    return Geometry(frame.bit_length() - 1, sets.bit_length() - 1, size)
