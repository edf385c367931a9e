"""What is fetched though no read asks for it: a boot profile's blocks, or the whole image."""

from __future__ import annotations

from collections.abc import Sequence

from .boot_profile import BootProfile
from .fetch_queue import IsMissing

_LOOK_AHEAD = 512  # a profile's blocks among which neighbours are sought


class ProfileReplay:
    """Fetches the blocks of a boot profile in about the order in which they were first read.

    Neighbours that the boot needs soon come in one request, of at most `most` blocks.
    """

    def __init__(self, blocks: Sequence[int], most: int) -> None:
        self._blocks = blocks
        self._position = {block: index for index, block in enumerate(blocks)}
        self._most = most
        self._next = 0

    def next_run(self, is_missing: IsMissing) -> range | None:
        while self._next < len(self._blocks):
            block = self._blocks[self._next]
            if is_missing(block):
                return self._run_around(block, is_missing)
            self._next += 1
        return None

    def _run_around(self, block: int, is_missing: IsMissing) -> range:
        horizon = self._next + _LOOK_AHEAD
        stop = block + 1
        while (
            stop - block < self._most
            and self._position.get(stop, horizon) < horizon
            and is_missing(stop)
        ):
            stop += 1
        return range(block, stop)


class WholeImage:
    """Fetches every block that is missing, from the first to the last, while `wanted`."""

    def __init__(self, blocks: int, most: int) -> None:
        self.wanted = False
        self._blocks = blocks
        self._most = most
        self._next = 0

    def next_run(self, is_missing: IsMissing) -> range | None:
        if not self.wanted:
            return None
        run = self._run_from(self._next, is_missing) or self._run_from(0, is_missing)
        self._next = run.stop if run else 0
        return run

    def _run_from(self, start: int, is_missing: IsMissing) -> range | None:
        first = next((b for b in range(start, self._blocks) if is_missing(b)), None)
        if first is None:
            return None
        stop = first + 1
        while stop - first < self._most and is_missing(stop):
            stop += 1
        return range(first, stop)


def blocks_of(profile: BootProfile, block_size: int) -> tuple[int, ...]:
    """A profile's blocks as blocks of another size, each once, in the same order."""
    if profile.block_size == block_size:
        return profile.blocks
    found: dict[int, None] = {}
    for block in profile.blocks:
        start = block * profile.block_size
        stop = min(start + profile.block_size, profile.size)
        for ours in range(start // block_size, -(-stop // block_size)):
            found[ours] = None
    return tuple(found)
