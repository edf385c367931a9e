"""Predicts reads that are a fixed distance apart, as when a file system's tables are read."""

from __future__ import annotations

from dataclasses import dataclass

from .fetch_queue import IsMissing

_MAX_WALKS = 16
_FURTHEST = 4 << 20  # bytes between two reads
_MAX_AHEAD = 16  # reads


@dataclass(slots=True, eq=False)
class _Walk:
    """Reads that each begin `step` blocks after the one before."""

    at: int  # the first block of the last read
    length: int  # its blocks
    step: int = 0  # 0 while there was only one
    ahead: int = 0  # reads that are predicted
    planned: int = 0  # the first block of the last read that was planned


class Strides:
    """Predicts reads once three were equally far apart. Each correct prediction doubles how many
    are predicted.

    Adjacent reads are streams, not strides.
    """

    def __init__(self, blocks: int, block_size: int) -> None:
        self._blocks = blocks
        self._furthest = _FURTHEST // block_size
        self._walks: list[_Walk] = []  # the most recently continued first

    def note(self, first: int, last: int) -> bool:
        """A read touches the blocks `first` to `last`; returns whether it was predicted."""
        length = last + 1 - first
        for walk in self._walks:
            if walk.step and walk.at + walk.step == first:
                walk.at, walk.length = first, length
                walk.planned = max(walk.planned, first)
                walk.ahead = min(max(1, walk.ahead) * 2, _MAX_AHEAD)
                self._put_first(walk)
                return True
        for walk in self._walks:
            if walk.length < first - walk.at <= self._furthest and not walk.ahead:
                self._put_first(_Walk(first, length, first - walk.at))
                break
        else:
            self._put_first(_Walk(first, length))
        return False

    def next_run(self, is_missing: IsMissing) -> range | None:
        """The next missing blocks of one predicted read."""
        for walk in self._walks:
            last = min(walk.at + walk.ahead * walk.step, self._blocks - walk.length)
            while walk.ahead and walk.planned + walk.step <= last:
                walk.planned += walk.step
                start = walk.planned
                if is_missing(start):
                    stop = start + 1
                    while stop < start + walk.length and is_missing(stop):
                        stop += 1
                    return range(start, stop)
        return None

    def _put_first(self, walk: _Walk) -> None:
        if walk in self._walks:
            self._walks.remove(walk)
        self._walks.insert(0, walk)
        del self._walks[_MAX_WALKS:]
