"""Grows writes and discards that begin or end inside a sector to whole sectors."""

from __future__ import annotations

from collections.abc import Mapping

from .granule_table import ALL, GRANULE, GranuleTable
from .sector_reader import SECTOR, SectorReader
from .sector_writer import Edge


class SectorPadding:
    """Pads data with what its first and last sectors have now.

    Sectors that were never written come from `base_sectors`, by their offsets; others are zeros.
    The last sector of the disk may be short: `size` is that of the disk in bytes.
    """

    def __init__(self, table: GranuleTable, reader: SectorReader) -> None:
        self._table = table
        self._reader = reader

    def missing(self, offset: int, length: int, size: int) -> list[int]:
        """Offsets of the sectors that a write covers in part and that were never written."""
        if not length or not (offset | length) % SECTOR:
            return []
        end = offset + length
        first, last = offset - offset % SECTOR, (end - 1) // SECTOR * SECTOR
        cut = {first} if offset % SECTOR else set()
        if end % SECTOR and end != size:
            cut.add(last)
        return [sector for sector in sorted(cut) if not self._reader.has_sector(sector)]

    def padded(self, offset: int, data: memoryview, base_sectors: Mapping[int, bytes]) -> bytearray:
        """`data` padded to whole sectors with the current content of the first and the last."""
        start = offset - offset % SECTOR
        stop = -(-(offset + len(data)) // SECTOR) * SECTOR
        padded = bytearray(stop - start)
        for sector in {start, stop - SECTOR}:
            at = sector - start
            if self._reader.has_sector(sector):
                with memoryview(padded)[at : at + SECTOR] as part:
                    self._reader.read_into(sector, part)
            elif sector in base_sectors:
                padded[at : at + len(base_sectors[sector])] = base_sectors[sector]
        padded[offset - start : offset - start + len(data)] = data
        return padded

    def discarded(
        self,
        offset: int,
        length: int,
        size: int,
        base_sectors: Mapping[int, bytes],
        *,
        hide: bool,
    ) -> tuple[int, int, list[Edge]]:
        """What a discard consists of: its whole granules, from the first to behind the last, and
        the parts of granules before and after them."""
        end = offset + length
        first, last = -(-offset // GRANULE), end // GRANULE
        if end == size:
            last = -(-end // GRANULE)
        if first < last:
            cuts = [(offset, first * GRANULE), (last * GRANULE, end)]
        else:
            cuts = [(offset, min(first * GRANULE, end)), (first * GRANULE, end)]
            last = first
        edges = [
            self._edge(start, stop, size, base_sectors, hide=hide)
            for start, stop in cuts
            if start < stop
        ]
        return first, last, edges

    def _edge(
        self, start: int, stop: int, size: int, base_sectors: Mapping[int, bytes], *, hide: bool
    ) -> Edge:
        """A part of a granule that will be zeros."""
        granule, first = divmod(start, GRANULE)
        first, last = first // SECTOR, -(-(stop - granule * GRANULE) // SECTOR)
        mask = (1 << last) - (1 << first)
        cuts_sectors = start % SECTOR or (stop % SECTOR and stop != size)
        data = None
        if self._table[granule] > ALL or (hide and cuts_sectors):
            with memoryview(bytes(stop - start)) as zeros:
                data = self.padded(start, zeros, base_sectors)
        return Edge(granule, first * SECTOR, mask, data)
