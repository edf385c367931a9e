"""Which slots of a store's file are free, and where the next ones are to be had."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from ..errors import StorageFullError
from ..platform.base import File
from .sector_journal import SLOT_SIZE

FREE, SETTLED, FRESH, HELD = 0, 1, 2, 3
"""What a slot is: nobody's; part of what was committed; written since; kept for the store's use."""

_GROWTH: Final = 64  # slots at least that a file grows by, where there is room for them
_FEW: Final = 256  # free slots that are not worth to be looked for
_MANY: Final = 8  # nor fewer than one of so many
_MOST_GROWTH: Final = 2048


class SlotSpace:
    """A byte for each slot of a file. The file grows before a slot is given away, not when used.

    `reserve` is how many slots are never given away by `take`.
    """

    def __init__(self, file: File) -> None:
        self.states = bytearray(file.size() // SLOT_SIZE)
        self.reserve = 0
        self._file = file
        self._free = len(self.states)
        self._cursor = 0  # where to look for free ones next

    @property
    def slots(self) -> int:
        """How many slots the file has."""
        return len(self.states)

    @property
    def free(self) -> int:
        """How many of them are nobody's."""
        return self._free

    def mark(self, slot: int, count: int, state: int) -> None:
        """Says what slots are; the file is taken to reach there."""
        missing = slot + count - len(self.states)
        if missing > 0:
            self.states.extend(bytes(missing))
            self._free += missing
        before = self.states.count(FREE, slot, slot + count)
        self.states[slot : slot + count] = bytes((state,)) * count
        self._free += (count if state == FREE else 0) - before

    def give_back(self, slots: Iterable[int]) -> None:
        """Frees slots."""
        states = self.states
        for slot in slots:
            self._free += states[slot] != FREE
            states[slot] = FREE

    def settle_records(self, records: Iterable[tuple[int, int, int]]) -> int:
        """Makes the slots of records (any, count, first slot) settled; returns how many they are.

        Raises IndexError when the file has not so many. `recount` comes after the last.
        """
        states, settled = self.states, bytes((SETTLED,))
        total = 0
        for _, count, slot in records:
            if not slot:
                continue
            total += count
            if count == 1:
                states[slot] = SETTLED
            elif slot + count <= len(states):
                states[slot : slot + count] = settled * count
            else:
                raise IndexError(slot)
        return total

    def recount(self) -> None:
        """Counts the free slots anew."""
        self._free = self.states.count(FREE)

    def settle(self, start: int, stop: int) -> None:
        """Makes those from `start` to `stop` that are fresh settled."""
        part = self.states[start:stop]
        self.states[start:stop] = part.replace(bytes((FRESH,)), bytes((SETTLED,)))

    def take(self, most: int, state: int) -> tuple[int, int]:
        """Gives away at most so many adjacent slots: the first, and how many.

        Raises `StorageFullError` when there is none beyond the reserve and none can be made.
        """
        if self._free <= self.reserve:
            self._grow(self.reserve - self._free + most)
        states = self.states
        slot = states.find(FREE, self._cursor)
        if slot < 0:
            slot = states.find(FREE) if self._is_worth_a_search() else self._appended(most)
        count = min(most, self._free - self.reserve, _free_run(states, slot, most))
        states[slot : slot + count] = bytes((state,)) * count
        self._free -= count
        self._cursor = slot + count
        return slot, count

    def provide(self, free: int) -> None:
        """Sees to so many free slots. Raises `StorageFullError` when the file cannot grow."""
        if self._free < free:
            self._grow(free - self._free, needed=free - self._free)

    def look_from_the_start(self) -> None:
        """Takes the next slots from as far forward as there are some."""
        self._cursor = 0

    def cut(self) -> None:
        """Gives the room of the free slots at the file's end back, but for the reserve."""
        end = len(self.states.rstrip(b"\0"))
        spare = max(0, self.reserve - self.states.count(FREE, 0, end))
        if end + spare + _GROWTH < len(self.states):
            del self.states[end + spare :]
            self._free = self.states.count(FREE)
            self._cursor = min(self._cursor, end)
            # Last: when it fails, slots that the file still has are merely not given away.
            self._file.truncate(len(self.states) * SLOT_SIZE)

    def _is_worth_a_search(self) -> bool:
        """Whether to use the gaps that overwriting left, rather than let the file grow."""
        return self._free - self.reserve > max(_FEW, len(self.states) // _MANY)

    def _appended(self, most: int) -> int:
        try:
            return self._grow(most)
        except StorageFullError:
            return self.states.find(FREE)

    def _grow(self, most: int, needed: int = 1) -> int:
        """Makes the file longer by some slots, as many as needed at least; returns the first."""
        first = len(self.states)
        count = max(most, min(max(_GROWTH, first // 64), _MOST_GROWTH))
        needed = max(needed, self.reserve + 1 - self._free)
        while True:
            try:
                self._file.truncate((first + count) * SLOT_SIZE)
            except StorageFullError:
                if count <= needed:
                    raise
                count = max(count // 2, needed)
            else:
                self.states.extend(bytes(count))
                self._free += count
                return first


def _free_run(states: bytearray, slot: int, most: int) -> int:
    part = states[slot : slot + most]
    return len(part) - len(part.lstrip(b"\0"))
