"""Which file is at an offset of a disk, as far as reads and listings have shown."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from .tree import Extent

_MAX_EXTENTS = 1 << 17  # extents that are remembered


@dataclass(frozen=True, slots=True)
class Location:
    """What lies at a byte of a disk: the volume by its name, what it is, and the file if known."""

    volume: str | None
    kind: str
    path: str | None


class KnownExtents:
    """Extents of files, looked up by the bytes of the disk. The first ones learnt stay."""

    def __init__(self) -> None:
        self._extents: dict[int, tuple[int, str]] = {}  # where an extent begins: its end, its file
        self._starts: list[int] | None = None

    def note(self, path: str, extents: Sequence[Extent]) -> None:
        """These are where a file is."""
        for extent in extents:
            if extent.disk_offset is not None and len(self._extents) < _MAX_EXTENTS:
                self._extents[extent.disk_offset] = extent.disk_offset + extent.length, path
                self._starts = None

    def path_at(self, offset: int) -> str | None:
        """The file that has this byte of the disk, if it is known."""
        if self._starts is None:
            self._starts = sorted(self._extents)
        index = bisect_right(self._starts, offset) - 1
        if index < 0:
            return None
        end, path = self._extents[self._starts[index]]
        return path if offset < end else None
