"""Which file lies where on a disk, as far as that was learnt on the way."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from .tree import Extent

_MOST = 1 << 17  # extents that are remembered


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """What lies at a byte of a disk: the volume by its name, what it is, and the file if known."""

    volume: str | None
    kind: str
    path: str | None


class KnownPlaces:
    """Extents of files, looked up by the bytes of the disk. The first ones learnt stay."""

    def __init__(self) -> None:
        self._places: dict[int, tuple[int, str]] = {}  # where an extent begins: its end, its file
        self._starts: list[int] | None = None

    def note(self, path: str, extents: Sequence[Extent]) -> None:
        """These are where a file is."""
        for extent in extents:
            if extent.place is not None and len(self._places) < _MOST:
                self._places[extent.place] = extent.place + extent.length, path
                self._starts = None

    def path_at(self, offset: int) -> str | None:
        """The file that has this byte of the disk, if it is known."""
        if self._starts is None:
            self._starts = sorted(self._places)
        index = bisect_right(self._starts, offset) - 1
        if index < 0:
            return None
        end, path = self._places[self._starts[index]]
        return path if offset < end else None
