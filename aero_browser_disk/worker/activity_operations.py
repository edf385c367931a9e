"""The operations on a disk's activity: its map, its timeline, its trace."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

from ..errors import InvalidOptionError
from ..platform.failures import Value
from ..streaming.activity import Activity, Kind
from ..streaming.disk_map import DiskMap, MappedDisk
from ..ui.activity_view import cell_text, map_view, timeline_view
from .operations import OpenDisks, Operation, whole

_EMULATOR = 2  # see Activity.reader_level


class ActivityOperations:
    """The operations of the page's map and timeline. The first look at a disk starts its
    recording."""

    def __init__(self, disks: OpenDisks[Any]) -> None:
        self._disks = disks
        self._levels: WeakKeyDictionary[Activity, int] = WeakKeyDictionary()
        self._maps: WeakKeyDictionary[MappedDisk, DiskMap] = WeakKeyDictionary()

    def operations(self) -> Mapping[str, Operation]:
        """The operations by name."""
        return {
            "activity.look": self._look,
            "activity.cell": self._cell,
            "activity.trace": self._trace,
            "activity.report": self._report,
        }

    async def _look(self, disk: int, start: Value, length: Value, cells: Value) -> Value:
        """The map of `length` bytes from `start`, in at most `cells` cells; the timeline."""
        shown = self._map(disk)
        return {
            "map": map_view(shown, whole("start", start), whole("length", length), _cells(cells)),
            "timeline": timeline_view(shown.disk.activity.intervals()),
        }

    async def _cell(self, disk: int, offset: Value, length: Value) -> str:
        """The cell of `length` bytes at `offset` in words."""
        found = self._map(disk).disk
        # A map of its own: the one that is drawn remembers what it counted.
        cells = DiskMap(found).cells(whole("offset", offset), whole("length", length), 1)
        return cell_text(cells, 0, found.info.size, is_all_here=found.is_all_here)

    async def _trace(self, disk: int) -> bytes:
        """What was recorded, as a JSON document."""
        found = self._map(disk).disk
        return found.activity.trace(found.info.size, found.info.version)

    async def _report(self, disk: int, events: Sequence[Sequence[Value]]) -> None:
        """What the emulator did, as its adapter saw it: kind, offset and length of each.

        Much of it is served from shared memory, where nothing else sees it. No events: the emulator
        is off, and the disk itself reports them again.
        """
        activity = self._map(disk).disk.activity
        self._levels.setdefault(activity, activity.reader_level)
        activity.reader_level = _EMULATOR if events else self._levels[activity]
        for kind, offset, length in events:
            reported: Kind = "write" if kind == "write" else "hit"
            activity.note(reported, whole("offset", offset), whole("length", length), _EMULATOR)

    def _map(self, number: int) -> DiskMap:
        disk: MappedDisk = self._disks[number]
        shown = self._maps.get(disk)
        if shown is None:
            disk.activity.on = True
            shown = self._maps[disk] = DiskMap(disk)
        return shown


def _cells(value: Value) -> int:
    count = whole("cells", value)
    if count < 1:
        raise InvalidOptionError("cells", value, "at least one cell")
    return count
