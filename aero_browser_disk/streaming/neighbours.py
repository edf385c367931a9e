"""Whether reads come back to where others have been lately."""

from __future__ import annotations

from collections import OrderedDict

_REMEMBERED = 24  # units
_OFTEN = 0.2


class Neighbours:
    """Whether blocks next to those that were read are mostly read soon after.

    A recorded Debian boot comes back to half of the units of 192 KiB that it reads from, and at any
    time to a fifth of the latest ones. Reads of single pages all over an image come back to none.
    """

    def __init__(self, unit_blocks: int) -> None:
        self._unit_blocks = unit_blocks
        self._latest: OrderedDict[int, bool] = OrderedDict()  # units: whether reads came back
        self._share = 1.0  # of the units that are no longer remembered, the recent ones

    @property
    def are_read(self) -> bool:
        """Whether it is worth it to fetch them as well."""
        return self._share >= _OFTEN

    def note(self, first: int, last: int) -> None:
        """A read touches the blocks `first` to `last` for the first time."""
        for unit in {first // self._unit_blocks, last // self._unit_blocks}:
            self._latest[unit] = unit in self._latest
        while len(self._latest) > _REMEMBERED:
            _, came_back = self._latest.popitem(last=False)
            self._share += (came_back - self._share) * 2 / _REMEMBERED
