"""Which changes of its base an overlay does not depend on.

An overlay depends on every sector of its base, but for two kinds:

- sectors that it has itself, written or discarded: those of the base are never seen
- all of a partition that it never wrote to, when the file systems of that partition and of every
  partition that it wrote to stand for themselves: FAT, exFAT, NTFS, ext2 to ext4, or ISO 9660, and
  not a part of a volume group or of a RAID. Such a partition changes as a whole.

What lies outside all partitions counts for all of them: tables and boot loaders. The partitions are
those of the table as it was: if reading it needs a sector that changed, there are none.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from ..disk import Disk, DiskInfo, DiskStats, RefusingWrites
from ..errors import DamagedFileSystemError, UnknownFileSystemError
from ..file_systems.partitions import Partition, read_partitions
from ..file_systems.recognition import begins_file_system, open_file_system
from ..file_systems.volume import Volume
from ..platform.base import WritableBuffer
from ..writable.range_set import RangeSet

_BOUND_TOGETHER: Final = ("LVM", "RAID")
_SECTOR: Final = 512


@dataclass(frozen=True, slots=True)
class Dependence:
    """The bytes of a base that changed, by what they mean for an overlay."""

    hidden: RangeSet
    """The overlay has them."""
    independent: RangeSet
    """They are in partitions that it does not depend on."""
    needed: RangeSet
    """It depends on them."""


async def dependence(disk: Disk, written: RangeSet, changed: RangeSet) -> Dependence:
    """Sorts what `changed` below an overlay, which has the `written` bytes.

    `disk` is the overlay over the new version. Raises what reading it does.
    """
    hidden, seen = RangeSet(), RangeSet()
    for start, stop in changed:
        at = start
        for begin, end in written.between(start, stop):
            hidden.add(begin, end)
            seen.add(at, begin)
            at = end
        seen.add(at, stop)
    independent, needed = RangeSet(), RangeSet()
    for start, stop in seen:
        needed.add(start, stop)
    for partition in await _independent_partitions(disk, written, seen) if seen else ():
        start, stop = partition.offset, partition.offset + partition.length
        for begin, end in seen.between(start, stop):
            independent.add(begin, end)
        needed.remove(start, stop)
    return Dependence(hidden, independent, needed)


async def _independent_partitions(disk: Disk, written: RangeSet, seen: RangeSet) -> list[Partition]:
    """The partitions that may change as a whole."""
    recording = _Recording(disk)
    try:
        first = await recording.read(0, min(_SECTOR, disk.info.size))
        partitions = await read_partitions(Volume(recording))
    except DamagedFileSystemError:
        return []
    was_the_same = not any(_touches(seen, *one) for one in recording.ranges)
    if not was_the_same or begins_file_system(first) or _overlap(partitions):
        return []
    used: list[Partition] = []
    unused: list[Partition] = []
    for partition in partitions:
        is_used = _touches(written, partition.offset, partition.offset + partition.length)
        (used if is_used else unused).append(partition)
    if not all([await _stands_alone(disk, partition) for partition in used]):
        return []
    changing = [one for one in unused if _touches(seen, one.offset, one.offset + one.length)]
    return [one for one in changing if await _stands_alone(disk, one)]


async def _stands_alone(disk: Disk, partition: Partition) -> bool:
    if any(word in partition.type for word in _BOUND_TOGETHER):
        return False
    try:
        await open_file_system(Volume(disk, partition.offset, partition.length))
    except (DamagedFileSystemError, UnknownFileSystemError):
        return False
    return True


def _overlap(partitions: list[Partition]) -> bool:
    ordered = sorted((one.offset, one.offset + one.length) for one in partitions)
    return any(a[1] > b[0] for a, b in pairwise(ordered))


def _touches(ranges: RangeSet, start: int, stop: int) -> bool:
    return next(_between(ranges, start, stop), None) is not None


def _between(ranges: RangeSet, start: int, stop: int) -> Iterator[tuple[int, int]]:
    return (one for one in ranges.between(start, stop) if one[0] < one[1])


class _Recording(RefusingWrites):
    """A disk that notes which bytes are read."""

    def __init__(self, disk: Disk) -> None:
        self.ranges: list[tuple[int, int]] = []
        self._disk = disk

    @property
    def info(self) -> DiskInfo:
        return self._disk.info

    def try_read_into(self, offset: int, target: WritableBuffer) -> bool:
        self.ranges.append((offset, offset + len(target)))
        return self._disk.try_read_into(offset, target)

    async def read_into(self, offset: int, target: WritableBuffer) -> None:
        self.ranges.append((offset, offset + len(target)))
        await self._disk.read_into(offset, target)

    async def read(self, offset: int, length: int) -> bytes:
        self.ranges.append((offset, offset + length))
        return await self._disk.read(offset, length)

    async def flush(self) -> None:
        """Nothing is written."""

    def stats(self) -> DiskStats:
        return self._disk.stats()

    async def close(self) -> None:
        """The disk is not its own."""
