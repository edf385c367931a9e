"""Reads what is intact of a damaged sector store, as far as its journal goes; never changes it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..errors import DamagedDiskError
from ..platform.base import File, Storage
from ..records.journal_header import newest
from .bit_repair import with_bit_flipped_back
from .granule_table import ALL, GRANULE, SECTORS, GranuleTable
from .log_reading import IntactLog, read_header_copies
from .sector_journal import SLOT_SIZE, Contents, commits_in
from .sector_reader import sector_runs
from .slot_checksums import SlotChecksums


@dataclass(frozen=True, slots=True)
class IntactRange:
    """A range of the disk that was written. `data` is None for zeros and for lost data
    (`is_lost`)."""

    offset: int
    length: int
    data: bytes | None
    is_lost: bool = False


class Salvage:
    """An open store that is damaged. Single flipped bits are corrected."""

    def __init__(self, path: str, file: File) -> None:
        self.is_latest = True
        """Whether it is the latest state; else the state after an earlier flush."""
        self._path = path
        self._file = file
        self._table = GranuleTable()
        self._checksums = SlotChecksums()
        self._known_to: int | None = None  # granules from here on are lost; None when all are known

    @classmethod
    async def open(cls, storage: Storage, path: str, known_version: str | None = None) -> Salvage:
        """Opens the store in a file to save what is intact.

        Raises `FileNotFoundError`, `StorageBusyError`, and `DamagedDiskError` when nothing can be
        saved.
        """
        salvage = cls(path, await storage.open(path, create=False))
        try:
            salvage._read_journal(known_version)
        except BaseException:
            salvage.close()
            raise
        return salvage

    @property
    def contents(self) -> Contents:
        """What the store is of."""
        return self._contents

    def close(self) -> None:
        """Closes the file. Idempotent."""
        self._file.close()

    def ranges(self) -> Iterator[IntactRange]:
        """What was written, in order: one granule at a time, or a whole run of zeros."""
        size = self._contents.size
        end = -(-size // GRANULE)
        known_to = end if self._known_to is None else min(self._known_to, end)
        for first, count, entry in self._table.runs(0, known_to):
            if entry == ALL:
                yield self._range(first * GRANULE, count * GRANULE, None)
                continue
            for index in range(count):
                slot = (entry >> SECTORS) + index if entry > ALL else 0
                data = bytes(GRANULE) if not slot else self._read(slot)
                for start, stop, is_here in sector_runs(entry & ALL):
                    if is_here:
                        part = None if data is None else data[start:stop]
                        offset = (first + index) * GRANULE + start
                        yield self._range(offset, stop - start, part, is_lost=data is None)
        if known_to < end:
            offset = known_to * GRANULE
            yield self._range(offset, size - offset, None, is_lost=True)

    # ── inside ───────────────────────────────────────────────────────────────────────────────────

    def _range(
        self, offset: int, length: int, data: bytes | None, *, is_lost: bool = False
    ) -> IntactRange:
        length = min(length, self._contents.size - offset)
        return IntactRange(offset, length, None if data is None else data[:length], is_lost)

    def _read_journal(self, known_version: str | None) -> None:
        header = newest(read_header_copies(self._path, self._file))
        if header is None:
            raise DamagedDiskError(self._path, "nothing is left of it")
        log = IntactLog(self._file, self._checksums, header)
        self._contents = header.contents
        known = commits_in(known_version, header.contents.identity)
        try:
            for records in log.records():
                self._table.put_records(records)
                if records and log.commits == header.commits:
                    word, count, _ = records[-1]
                    self._known_to = (word >> SECTORS) + count
        except IndexError:
            raise DamagedDiskError(self._path, "its journal is damaged") from None
        if log.has_snapshot:
            self._known_to = None
        elif self._known_to is None:
            self._known_to = 0
        self.is_latest = not log.is_broken and log.commits >= max(known, header.end)

    def _read(self, slot: int) -> bytes | None:
        """The data in a slot; None when it is lost."""
        data = bytearray(SLOT_SIZE)
        self._file.read_into(data, slot * SLOT_SIZE)
        with memoryview(data) as view:
            if self._checksums.check(slot, view) is None:
                return bytes(data)
        known = self._checksums.get(slot, 1)
        return None if known is None else with_bit_flipped_back(bytes(data), known[0])
