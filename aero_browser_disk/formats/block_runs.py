"""Blocks as runs of neighbours: how documents write them, and how they are delivered."""

from __future__ import annotations

from collections.abc import Iterable, Iterator


def runs_of(blocks: Iterable[int]) -> Iterator[range]:
    """Runs of consecutive blocks, in the order of `blocks`."""
    start = stop = 0
    for block in blocks:
        if block != stop or stop == start:
            if stop > start:
                yield range(start, stop)
            start = block
        stop = block + 1
    if stop > start:
        yield range(start, stop)


def start_and_length(blocks: Iterable[int]) -> list[int]:
    """The first block and the number of blocks of each run, one run after the other."""
    return [number for run in runs_of(blocks) for number in (run.start, len(run))]
