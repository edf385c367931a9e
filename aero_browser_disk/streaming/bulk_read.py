"""Reads large parts of a disk, to verify, cache or copy them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence

from ..disk import Disk
from ..platform.concurrent_tasks import end_all
from .background_reads import background_reads
from .boot_profile import BootProfile

CHUNK = 4 << 20
_AT_ONCE = 4

Ranges = Sequence[tuple[int, int]]
"""(offset, length) of runs of bytes."""


async def read_in_order(disk: Disk, ranges: Ranges) -> AsyncIterator[bytes]:
    """The bytes of each range, in order; several reads are under way at once.

    They are not recorded in the boot profile. Raises what the disk raises.
    """
    under_way: list[asyncio.Task[bytes]] = []
    try:
        for offset, length in ranges:
            with background_reads():
                under_way.append(asyncio.ensure_future(disk.read(offset, length)))
            if len(under_way) >= _AT_ONCE:
                yield await under_way.pop(0)
        while under_way:
            yield await under_way.pop(0)
    finally:
        await end_all(under_way)


def chunks_of(offset: int, length: int, step: int = CHUNK) -> list[tuple[int, int]]:
    """The `length` bytes at `offset` as ranges of at most `step` bytes."""
    stop = offset + length
    return [(at, min(step, stop - at)) for at in range(offset, stop, step)]


def profile_ranges(profile: BootProfile) -> Iterator[tuple[int, int]]:
    """The blocks of a boot profile, in its order."""
    for block in profile.blocks:
        offset = block * profile.block_size
        yield offset, min(profile.block_size, profile.size - offset)
