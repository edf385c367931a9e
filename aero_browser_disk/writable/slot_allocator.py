"""Allocates slots in a store's file.

A store's file is a row of slots of 4 KiB. This module knows the state of each slot, finds free
ones, and makes the file longer when there are none. The device has storage for a slot before it is
handed out, so that an accepted write never fails for lack of space.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from typing import Final

from ..errors import StorageFullError
from ..platform.base import File
from .sector_journal import SLOT_SIZE

FREE, COMMITTED, FRESH, USED, UNALLOCATED = 0, 1, 2, 3, 4
"""The state of a slot: free; part of what was committed; written since the last commit; used by the
store itself, or taken and not written yet; free, but the device may have no storage for it."""

_GROWTH: Final = 64  # minimum of slots that a file grows by, if there is space
_FEW: Final = 256  # free slots that are too few to search for
_MANY: Final = 8  # or fewer than one of this many
_MAX_GROWTH: Final = 2048


class SlotHold:
    """Keeps the slots that commits replace from being used again, until it is released.

    Writes go first: when the device is full, the allocator takes the slots back, and the hold is
    lost.
    """

    def __init__(self) -> None:
        self.is_lost = False


class SlotAllocator:
    """The state of each slot of a file, one byte a slot.

    Storage is allocated for a slot before it is `FREE`: whoever takes it can write to it, even if
    the device or the quota is full by then. Slots that nobody used when the file was opened are
    `UNALLOCATED`. They are allocated when they are needed, before the file grows. `reserve` is the
    number of free slots that `take` never hands out.
    """

    def __init__(self, file: File) -> None:
        self.states = bytearray((UNALLOCATED,)) * (file.size() // SLOT_SIZE)
        self.reserve = 0
        self._file = file
        self._free = 0
        self._unallocated = len(self.states)
        self._first_unallocated = 0  # no free slot is before it
        self._end = 0  # of the file, before the last `take_unallocated`
        self._cursor = 0  # where to look for free ones next
        self._holds: list[SlotHold] = []
        self._held = array("I")  # slots that are free once nobody holds them

    @property
    def slots(self) -> int:
        """How many slots the file has."""
        return len(self.states)

    @property
    def free(self) -> int:
        """How many of them are free."""
        return self._free

    def mark(self, slot: int, count: int, state: int) -> None:
        """Sets the state of slots; the file is known to have them."""
        missing = slot + count - len(self.states)
        if missing > 0:
            self.states.extend(_UNALLOCATED * missing)
            self._unallocated += missing
        self._free -= self.states.count(FREE, slot, slot + count)
        self._unallocated -= self.states.count(UNALLOCATED, slot, slot + count)
        self.states[slot : slot + count] = bytes((state,)) * count
        if state == FREE:
            self._free += count
        elif state == UNALLOCATED:
            self._unallocated += count
            self._first_unallocated = min(self._first_unallocated, slot)

    def give_back(self, slots: Iterable[int]) -> None:
        """Frees slots."""
        states = self.states
        for slot in slots:
            self._free += states[slot] != FREE
            states[slot] = FREE

    def give_back_replaced(self, slots: Iterable[int]) -> None:
        """Frees slots that a commit replaced, at once or when the last hold is released."""
        if self._holds:
            self._held.extend(slots)
        else:
            self.give_back(slots)

    def hold(self) -> SlotHold:
        """Keeps committed slots as they are from now on."""
        hold = SlotHold()
        self._holds.append(hold)
        return hold

    def release(self, hold: SlotHold) -> None:
        """Ends a hold. Idempotent."""
        if hold in self._holds:
            self._holds.remove(hold)
            if not self._holds:
                self._free_held()

    def commit_records(self, records: Iterable[tuple[int, int, int]]) -> int:
        """Makes the slots of records (any, count, first slot) committed; returns how many they are.

        Raises IndexError when the file has not so many. `recount` comes after the last.
        """
        states, committed = self.states, bytes((COMMITTED,))
        total = 0
        for _, count, slot in records:
            if not slot:
                continue
            total += count
            if count == 1:
                states[slot] = COMMITTED
            elif slot + count <= len(states):
                states[slot : slot + count] = committed * count
            else:
                raise IndexError(slot)
        return total

    def recount(self) -> None:
        """Counts the free slots anew."""
        self._free = self.states.count(FREE)
        self._unallocated = self.states.count(UNALLOCATED)
        self._first_unallocated = 0

    def commit(self, start: int, stop: int) -> None:
        """Makes the fresh ones from `start` to `stop` committed."""
        part = self.states[start:stop]
        self.states[start:stop] = part.replace(bytes((FRESH,)), bytes((COMMITTED,)))

    def take(self, max_slots: int, state: int) -> tuple[int, int]:
        """Hands out at most `max_slots` adjacent slots: the first, and how many.

        Raises `StorageFullError` when there is none beyond the reserve and the file cannot grow.
        """
        if self._free <= self.reserve:
            self._grow(self.reserve - self._free + max_slots)
        states = self.states
        slot = states.find(FREE, self._cursor)
        if slot < 0:
            slot = states.find(FREE) if self.has_gaps else self._appended(max_slots)
        count = min(max_slots, self._free - self.reserve, _run(states, slot, max_slots, _FREE))
        states[slot : slot + count] = bytes((state,)) * count
        self._free -= count
        self._cursor = slot + count
        return slot, count

    def provide(self, free: int) -> None:
        """Provides this many free slots. Raises `StorageFullError` when the file cannot grow."""
        if self._free < free:
            self._grow(free - self._free, needed=free - self._free)

    def look_from_the_start(self) -> None:
        """Searches for the next slots from the beginning of the file."""
        self._cursor = 0

    def take_unallocated(self, wanted: int) -> list[tuple[int, int]]:
        """Hands out slots that the device may have no storage for, as runs from start to stop.

        The caller writes them at once, and gives them back if that fails.
        """
        runs: list[tuple[int, int]] = []
        self._end = len(self.states)
        if self._unallocated > self._few():
            while wanted:
                slot, count = self._find_unallocated(wanted)
                if slot == len(self.states):
                    break
                self.mark(slot, count, USED)
                runs.append((slot, slot + count))
                wanted -= count
        if wanted:
            slot = len(self.states)
            self.mark(slot, wanted, USED)
            runs.append((slot, slot + wanted))
        return runs

    def give_back_unallocated(self, runs: Iterable[tuple[int, int]]) -> None:
        """Takes back slots of the last `take_unallocated` that could not be written."""
        for start, stop in runs:
            self.mark(start, stop - start, UNALLOCATED)
        self._drop(self._end)

    def free_runs(self, max_slots: int) -> Iterator[tuple[int, int]]:
        """Free slots from start to stop, in order, at most so many at once."""
        free = self.states.replace(_UNALLOCATED, _FREE)
        stop = 0
        while (start := free.find(FREE, stop)) >= 0:
            stop = start + _run(free, start, max_slots, _FREE)
            yield start, stop

    def cut(self) -> None:
        """Returns the space of free slots at the file's end, but for the reserve."""
        end = len(self.states.rstrip(_UNUSED))
        spare = max(0, self.reserve - self.states.count(FREE, 0, end))
        if end + spare + _GROWTH < len(self.states):
            self._drop(end + spare)

    @property
    def has_gaps(self) -> bool:
        """Whether to fill the gaps that overwriting left, rather than grow the file."""
        return self._free - self.reserve > self._few()

    def _few(self) -> int:
        return max(_FEW, len(self.states) // _MANY)

    def _drop(self, end: int) -> None:
        """Returns the space of the slots from `end` on."""
        del self.states[end:]
        self.recount()
        self._cursor = min(self._cursor, end)
        # Last: if it fails, the file merely has slots that are not handed out.
        if self._file.size() > end * SLOT_SIZE:
            self._file.truncate(end * SLOT_SIZE)

    def _appended(self, max_slots: int) -> int:
        try:
            return self._grow(max_slots)
        except StorageFullError:
            return self.states.find(FREE)

    def _grow(self, max_slots: int, needed: int = 1) -> int:
        """Allocates some slots, as many as needed at least; returns the first.

        Raises `StorageFullError`; a part of them may be free then.
        """
        needed = max(needed, self.reserve + 1 - self._free)
        max_slots = max(max_slots, needed, min(max(_GROWTH, len(self.states) // 64), _MAX_GROWTH))
        first = -1
        while needed > 0:
            try:
                slot, count = self._allocate(*self._find_unallocated(max_slots), needed)
            except StorageFullError:
                if len(self._held) < needed:
                    raise
                self._end_holds()
                return self.states.find(FREE) if first < 0 else first
            self.mark(slot, count, FREE)
            first = slot if first < 0 else first
            needed -= count
            max_slots = max(needed, max_slots - count)
        return first

    def _end_holds(self) -> None:
        """Takes back what is held, as nothing else is free."""
        for hold in self._holds:
            hold.is_lost = True
        self._holds.clear()
        self._free_held()

    def _free_held(self) -> None:
        self.give_back(self._held)
        del self._held[:]

    def _allocate(self, slot: int, count: int, needed: int) -> tuple[int, int]:
        """Allocates storage for a run of slots, or for a part of it that is enough."""
        needed = min(count, needed)
        while True:
            try:
                self._file.allocate(slot * SLOT_SIZE, count * SLOT_SIZE)
            except StorageFullError:
                if count <= needed:
                    raise
                count = max(count // 2, needed)
            else:
                return slot, count

    def _find_unallocated(self, max_slots: int) -> tuple[int, int]:
        """The first of some adjacent slots, unallocated or behind the file's end, and how many."""
        slot = self.states.find(UNALLOCATED, self._first_unallocated) if self._unallocated else -1
        if slot < 0:
            return len(self.states), max_slots
        self._first_unallocated = slot
        return slot, _run(self.states, slot, max_slots, _UNALLOCATED)


_FREE: Final = bytes((FREE,))
_UNALLOCATED: Final = bytes((UNALLOCATED,))
_UNUSED: Final = _FREE + _UNALLOCATED


def _run(states: bytearray, slot: int, max_slots: int, state: bytes) -> int:
    part = states[slot : slot + max_slots]
    return len(part) - len(part.lstrip(state))
