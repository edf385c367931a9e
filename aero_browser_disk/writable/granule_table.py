"""The slot of each granule of a disk: a table in pages, small for sparse and for dense disks.

An entry is a slot and a mask of the sectors in it, `slot << 8 | mask`. Slot 0 means zeros that take
no space, and entry 0 a granule that was never written. In a run, adjacent granules are in adjacent
slots, with the same mask.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from heapq import merge
from typing import Final

from .range_set import RangeSet

GRANULE: Final = 4096
SECTORS: Final = 8
"""Sectors in a granule, a bit of the mask each."""
ALL: Final = 0xFF
"""The mask of a whole granule, and the entry of one that is all zeros."""

_PAGE: Final = 32  # granules in a page
_STEP: Final = 1 << SECTORS  # from an entry to that of the next slot


class GranuleTable:
    """An entry for each granule: 14 bytes where many lie together, 450 for a lonely one.

    Pages of zeros are stored as ranges, whose cost does not depend on their length.
    """

    def __init__(self) -> None:
        self._pages: dict[int, array[int]] = {}
        self._zeros = RangeSet()  # of page numbers: none of these is in `_pages`

    def __getitem__(self, granule: int) -> int:
        """The entry of a granule."""
        number = granule // _PAGE
        page = self._pages.get(number)
        if page is not None:
            return page[granule % _PAGE]
        return ALL if self._zeros and number in self._zeros else 0

    @property
    def parts(self) -> int:
        """How many pages and ranges of zeros it has."""
        return len(self._pages) + len(self._zeros)

    def copy(self) -> GranuleTable:
        """A table with the same entries."""
        copied = GranuleTable()
        copied._pages = {number: page[:] for number, page in self._pages.items()}
        for start, stop in self._zeros:
            copied._zeros.add(start, stop)
        return copied

    def put(self, granule: int, count: int, entry: int) -> Sequence[int]:
        """Sets the entries of a run that begins with `entry`; returns the slots that they had."""
        if count == 1 and entry >= _STEP:  # the most common write of guests
            number, index = divmod(granule, _PAGE)
            page = self._pages.get(number)
            if page is None:
                page = self._new_page(number)
            old = page[index]
            page[index] = entry
            return (old >> SECTORS,) if old >= _STEP else ()
        gone = array("I")
        step = _STEP if entry >= _STEP else 0
        end = granule + count
        if not step:  # whole pages at once, however many
            first, last = -(-granule // _PAGE), end // _PAGE
            if first < last:
                self._put_pages(first, last, entry, gone)
                self._put_part(granule, first * _PAGE, entry, gone)
                granule = last * _PAGE
        while granule < end:
            stop = min(end, granule // _PAGE * _PAGE + _PAGE)
            self._put_part(granule, stop, entry, gone)
            entry += step * (stop - granule)
            granule = stop
        return gone

    def put_single(self, granule: int, entry: int) -> None:
        """Sets the entry of one granule."""
        number, index = divmod(granule, _PAGE)
        page = self._pages.get(number)
        if page is None:
            page = self._new_page(number)
        page[index] = entry

    def put_records(self, records: Iterable[tuple[int, int, int]]) -> array[int]:
        """Sets runs: first granule << 8 | mask, count, first slot. Returns the slots they had.

        As a hundred thousand `put`s, in a tenth of the time.
        """
        pages, gone = self._pages, array("I")
        has_zeros = bool(self._zeros)
        for word, count, slot in records:
            granule = word >> SECTORS
            if count != 1:
                gone.extend(self.put(granule, count, slot << SECTORS | word & ALL))
                has_zeros = bool(self._zeros)
                continue
            number = granule // _PAGE
            page = pages.get(number)
            if page is None:
                page = pages[number] = self._new_page(number) if has_zeros else _EMPTY[:]
            else:
                old = page[granule % _PAGE]
                if old >= _STEP:
                    gone.append(old >> SECTORS)
            page[granule % _PAGE] = slot << SECTORS | word & ALL
        return gone

    def runs(self, start: int, stop: int) -> Iterator[tuple[int, int, int]]:
        """What was written from granule `start` to `stop`: first granule, count, first entry.

        Between two runs nothing was written. The table may change meanwhile; the current page is
        then old or new.
        """
        first = count = entry = done = 0  # the run so far, and the page behind what was seen
        for number, zeros_end in self._parts(start // _PAGE, -(-stop // _PAGE)):
            if number < done:
                continue  # it was made since its range of zeros was read
            base = number * _PAGE
            if zeros_end:
                done = zeros_end
                page = _ZEROS
                index, end = max(start - base, 0), min(stop, zeros_end * _PAGE) - base
            else:
                found_page = self._pages.get(number)
                if found_page is None:
                    continue
                page = found_page
                index, end = max(start - base, 0), min(stop - base, _PAGE)
            while index < end:
                found = ALL if zeros_end else page[index]
                if not found:
                    index = _skip_empty(page, index, end)
                    continue
                length = end - index if zeros_end else _run_length(page, index, end)
                if count and first + count == base + index and _follows(entry, count, found):
                    count += length
                else:
                    if count:
                        yield first, count, entry
                    first, count, entry = base + index, length, found
                index += length
        if count:
            yield first, count, entry

    # ── inside ───────────────────────────────────────────────────────────────────────────────────

    def _parts(self, first: int, end: int) -> Iterable[tuple[int, int]]:
        """Numbers of pages from `first` to `end`, and the end of a range of zeros that begins there
        or 0 for a page, in order. Some of the pages may not be there.
        """
        pages: Iterable[tuple[int, int]] = ((number, 0) for number in self._numbers(first, end))
        if not self._zeros:
            return pages
        return merge(pages, list(self._zeros.between(first, end)))

    def _numbers(self, first: int, end: int) -> Sequence[int]:
        if end - first <= len(self._pages):
            return range(first, end)
        return sorted(number for number in self._pages if first <= number < end)

    def _put_part(self, start: int, stop: int, entry: int, gone: array[int]) -> None:
        """Sets the entries of a run within a page."""
        if start >= stop:
            return
        number, index = divmod(start, _PAGE)
        page = self._pages.get(number)
        if page is None:
            if not entry and number not in self._zeros:
                return
            page = self._new_page(number)
        length = stop - start
        gone.fromlist([old >> SECTORS for old in page[index : index + length] if old >= _STEP])
        page[index : index + length] = _run(entry, _STEP if entry >= _STEP else 0, length)

    def _put_pages(self, first: int, last: int, entry: int, gone: array[int]) -> None:
        """Sets all entries of whole pages to one that takes no slot."""
        pages = self._pages
        for number in self._numbers(first, last):
            page = pages.pop(number, None)
            if page is not None:
                gone.fromlist([old >> SECTORS for old in page if old >= _STEP])
        if entry == ALL:
            self._zeros.add(first, last)
            return
        self._zeros.remove(first, last)
        if entry:  # a part of a granule is zeros: never of many at once
            for number in range(first, last):
                pages[number] = array("Q", [entry]) * _PAGE

    def _new_page(self, number: int) -> array[int]:
        """Makes a page where there was none, or one out of a range of zeros."""
        zeros = self._zeros
        if zeros and number in zeros:
            zeros.remove(number, number + 1)
            page = _ZEROS[:]
        else:
            page = _EMPTY[:]
        self._pages[number] = page
        return page


def entry_at(entry: int, index: int) -> int:
    """The entry of a granule in a run, from the run's first."""
    return entry + index * _STEP if entry >= _STEP else entry


_EMPTY: Final = array("Q", bytes(8 * _PAGE))
_ZEROS: Final = array("Q", [ALL]) * _PAGE


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
    if page[index:end] == _run(entry, step, length):  # the usual case: one comparison for all of it
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
