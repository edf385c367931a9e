"""Background sources: the blocks of a boot profile, or the whole image."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from .block_fetch import PackedBlocks
from .boot_profile import BootProfile
from .fetch_queue import IsMissing

_BRIDGED = 1  # a gap of so many blocks costs less than a separate request


class ProfileReplay:
    """Fetches the blocks of a boot profile, in requests of at most `max_blocks` blocks.

    Adjacent blocks are fetched together, in the order in which the boot first needs any block of a
    run: fewer round trips gain more than the exact order does (measured by replaying a Debian boot:
    1.08 times the bound, against 1.14 in exact order).
    """

    def __init__(self, blocks: Sequence[int], max_blocks: int) -> None:
        self._runs = deque(_runs_by_first_use(blocks, max_blocks))

    def is_done(self) -> bool:
        """Whether all of it was requested."""
        return not self._runs

    def next_run(self, is_missing: IsMissing) -> range | None:
        while self._runs:
            run = self._runs.popleft()
            start = next((block for block in run if is_missing(block)), None)
            if start is not None:
                stop = start + 1
                while stop < run.stop and is_missing(stop):
                    stop += 1
                if stop < run.stop:
                    self._runs.appendleft(range(stop, run.stop))
                return range(start, stop)
        return None


def _runs_by_first_use(blocks: Sequence[int], max_blocks: int) -> list[range]:
    first_use = {block: position for position, block in enumerate(blocks)}
    runs: list[range] = []
    for block in sorted(first_use):
        near = runs and block - runs[-1].stop <= _BRIDGED
        if near and block - runs[-1].start < max_blocks:
            runs[-1] = range(runs[-1].start, block + 1)
        else:
            runs.append(range(block, block + 1))
    return sorted(runs, key=lambda run: min(first_use.get(b, len(blocks)) for b in run))


class BundleReplay:
    """Fetches the parts of a boot bundle in their order, at most `max_requests` at a time.

    Later parts would only compete with those that the boot needs now. Parts whose blocks are all
    cached are skipped.
    """

    def __init__(self, parts: Iterable[PackedBlocks], max_requests: int = 2) -> None:
        self._parts = deque(parts)
        self._max_requests = max_requests
        self._under_way = 0

    def is_done(self) -> bool:
        """Whether all of it was requested."""
        return not self._parts

    def next_run(self, is_missing: IsMissing) -> PackedBlocks | None:
        while self._parts and self._under_way < self._max_requests:
            part = self._parts.popleft()
            if any(map(is_missing, part.blocks)):
                return PackedBlocks(part.blocks, partial(self._load, part))
        return None

    async def _load(self, part: PackedBlocks) -> bytes:
        self._under_way += 1
        try:
            return await part.load()
        finally:
            self._under_way -= 1


class WholeImage:
    """Fetches every block that is missing, from the first to the last, while `wanted`.

    Stops when the cache has no free space: blocks that evict others would be fetched forever.
    """

    def __init__(self, blocks: int, max_blocks: int, has_free_space: Callable[[], bool]) -> None:
        self.wanted = False
        self._blocks = blocks
        self._max_blocks = max_blocks
        self._has_free_space = has_free_space
        self._next = 0

    def next_run(self, is_missing: IsMissing) -> range | None:
        if not self.wanted or not self._has_free_space():
            return None
        run = self._run_from(self._next, is_missing) or self._run_from(0, is_missing)
        self._next = run.stop if run else 0
        return run

    def _run_from(self, start: int, is_missing: IsMissing) -> range | None:
        first = next((b for b in range(start, self._blocks) if is_missing(b)), None)
        if first is None:
            return None
        stop = first + 1
        while stop - first < self._max_blocks and is_missing(stop):
            stop += 1
        return range(first, stop)


def blocks_of(profile: BootProfile, block_size: int) -> tuple[int, ...]:
    """A profile's blocks in another block size, each once, in the same order."""
    if profile.block_size == block_size:
        return profile.blocks
    found: dict[int, None] = {}
    for block in profile.blocks:
        start = block * profile.block_size
        stop = min(start + profile.block_size, profile.size)
        for ours in range(start // block_size, -(-stop // block_size)):
            found[ours] = None
    return tuple(found)
