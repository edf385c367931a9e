"""A part of a disk that holds a file system: reads that stay inside it and let others run."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from ..disk import Disk
from ..errors import DamagedFileSystemError
from ..platform.concurrent_tasks import all_of
from ..streaming.background_reads import background_reads

_LONGEST_READ = 64 << 20
_LONGEST_TURN_S = 0.02
_AT_ONCE = 8  # reads of one caller


class Volume:
    """`length` bytes of a disk from `offset`, in bytes.

    An image is not trusted: a read past the end is a `DamagedFileSystemError`. Long work lets other
    tasks run between two reads.
    """

    def __init__(self, disk: Disk, offset: int = 0, length: int | None = None) -> None:
        self.disk = disk
        self.offset = offset
        self.length = disk.info.size - offset if length is None else length
        self._turn_ends = 0.0

    async def read(self, offset: int, length: int) -> bytes:
        """The `length` bytes at `offset` of the volume; raises what the disk does as well."""
        if offset < 0 or length < 0 or offset + length > self.length:
            raise DamagedFileSystemError(
                f"it refers to {length} bytes at {offset}, outside its {self.length} bytes"
            )
        if length > _LONGEST_READ:
            raise DamagedFileSystemError(f"it has {length} bytes that must be read at once")
        if time.monotonic() > self._turn_ends:
            await asyncio.sleep(0)
            self._turn_ends = time.monotonic() + _LONGEST_TURN_S
        with background_reads():
            return await self.disk.read(self.offset + offset, length)

    async def read_up_to(self, offset: int, length: int) -> bytes:
        """As `read`, but fewer bytes where the volume ends."""
        return await self.read(offset, max(0, min(length, self.length - offset)))

    async def read_each(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """The bytes of each (offset, length); several are under way at once."""
        found: list[bytes] = []
        for start in range(0, len(ranges), _AT_ONCE):
            some = ranges[start : start + _AT_ONCE]
            found += await all_of(self.read(*each) for each in some)
        return found
