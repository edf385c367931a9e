"""Where each granule of a disk lies: a table in pages, small for sparse and for dense disks.

An entry is a slot and the sectors that lie there, `slot << 8 | mask`. Slot 0 stands for zeros that
take no room, and the entry 0 for a granule of which nothing was written. In a run each granule lies
in the slot behind that of the one before, with the same sectors.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

GRANULE: Final = 4096
SECTORS: Final = 8
"""Sectors in a granule, a bit of the mask each."""
ALL: Final = 0xFF
"""The mask of a whole granule, and the entry of one that is all zeros."""

_PAGE: Final = 32  # granules in a page
_STEP: Final = 1 << SECTORS  # from an entry to that of the next slot


class GranuleTable:
    """An entry for each granule: 14 bytes where many lie together, 450 for a lonely one."""

    def __init__(self) -> None:
        self._pages: dict[int, array[int]] = {}

    def __getitem__(self, granule: int) -> int:
        """The entry of a granule."""
        page = self._pages.get(granule // _PAGE)
        return page[granule % _PAGE] if page is not None else 0

    def put(self, granule: int, count: int, entry: int) -> list[int]:
        """Sets the entries of a run that begins with `entry`; returns the slots that they had."""
        gone: list[int] = []
        step = _STEP if entry >= _STEP else 0
        if not entry and not self._numbers(granule // _PAGE, -(-(granule + count) // _PAGE)):
            return gone
        while count > 0:
            number, index = divmod(granule, _PAGE)
            length = min(count, _PAGE - index)
            page = self._pages.get(number)
            if page is not None:
                gone += [old >> SECTORS for old in page[index : index + length] if old >= _STEP]
            if length == _PAGE and not step:
                self._put_page(number, entry)
            elif page is not None or entry:
                if page is None or page is _ZEROS:
                    page = self._pages[number] = (page or _EMPTY)[:]
                page[index : index + length] = _run(entry, step, length)
            granule += length
            count -= length
            entry += step * length
        return gone

    def put_single(self, granule: int, entry: int) -> None:
        """Sets the entry of one granule."""
        number = granule // _PAGE
        page = self._pages.get(number)
        if page is None or page is _ZEROS:
            page = self._pages[number] = (page or _EMPTY)[:]
        page[granule % _PAGE] = entry

    def put_records(self, records: Iterable[tuple[int, int, int]]) -> list[int]:
        """Sets runs: first granule << 8 | mask, count, first slot. Returns the slots they had.

        As a hundred thousand `put`s, in a tenth of the time.
        """
        pages, gone = self._pages, []
        for word, count, slot in records:
            if count != 1:
                gone += self.put(word >> SECTORS, count, slot << SECTORS | word & ALL)
                continue
            granule = word >> SECTORS
            number = granule // _PAGE
            page = pages.get(number)
            if page is None or page is _ZEROS:
                page = pages[number] = (page or _EMPTY)[:]
            index = granule % _PAGE
            if page[index] >= _STEP:
                gone.append(page[index] >> SECTORS)
            page[index] = slot << SECTORS | word & ALL
        return gone

    def runs(self, start: int, stop: int) -> Iterator[tuple[int, int, int]]:
        """What was written from granule `start` to `stop`: first granule, count, first entry.

        What lies between two runs is empty. The table may change meanwhile; what is then seen of
        the page at hand is old or new.
        """
        first = count = entry = 0  # the run so far
        for number in self._numbers(start // _PAGE, -(-stop // _PAGE)):
            page = self._pages.get(number)
            if page is None:
                continue
            base = number * _PAGE
            index, end = max(start - base, 0), min(stop - base, _PAGE)
            while index < end:
                found = page[index]
                if not found:
                    index = _skip_empty(page, index, end)
                    continue
                length = _run_length(page, index, end)
                if count and first + count == base + index and _follows(entry, count, found):
                    count += length
                else:
                    if count:
                        yield first, count, entry
                    first, count, entry = base + index, length, found
                index += length
        if count:
            yield first, count, entry

    def _numbers(self, first: int, end: int) -> Sequence[int]:
        if end - first <= len(self._pages):
            return range(first, end)
        return sorted(number for number in self._pages if first <= number < end)

    def _put_page(self, number: int, entry: int) -> None:
        if entry:
            self._pages[number] = _ZEROS if entry == ALL else array("Q", [entry]) * _PAGE
        else:
            self._pages.pop(number, None)


def entry_at(entry: int, index: int) -> int:
    """The entry of a granule in a run, from the run's first."""
    return entry + index * _STEP if entry >= _STEP else entry


_EMPTY: Final = array("Q", bytes(8 * _PAGE))
_ZEROS: Final = array("Q", [ALL]) * _PAGE
"""Stands in the table for every page that is all zeros, and is never written to."""


def _run(entry: int, step: int, length: int) -> array[int]:
    if step:
        return array("Q", range(entry, entry + step * length, step))
    return array("Q", [entry]) * length


def _follows(entry: int, count: int, next_entry: int) -> bool:
    return next_entry == entry_at(entry, count)


def _run_length(page: array[int], index: int, end: int) -> int:
    """How many entries of a page, from `index` on, are one run."""
    entry = page[index]
    step = _STEP if entry >= _STEP else 0
    if index + 1 == end or page[index + 1] != entry + step:
        return 1
    length = end - index
    if page[index:end] == _run(entry, step, length):  # mostly: one comparison for all of it
        return length
    length = 2
    while page[index + length] == entry + step * length:
        length += 1
    return length


def _skip_empty(page: array[int], index: int, end: int) -> int:
    """The first entry from `index` on that is not empty, or `end`."""
    if index == 0 and end == _PAGE and page == _EMPTY:
        return end
    while index < end and not page[index]:
        index += 1
    return index
