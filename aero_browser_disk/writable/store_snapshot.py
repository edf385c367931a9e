"""A sector store as it was at one commit, readable while it is written to.

A write never overwrites committed slots. A snapshot has a copy of the table, and holds the slots in
it: those that later commits replace are used again only once it is closed. It costs no copy of the
data, and slows no write. Writes go first: where the device is full, the store takes the slots back,
and the snapshot is lost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Self

from ..errors import StorageError
from ..platform.base import WritableBuffer
from .granule_table import GRANULE, GranuleTable
from .sector_journal import Contents
from .sector_reader import Range, SectorReader
from .slot_allocator import SlotHold


class SnapshotLostError(StorageError):
    """The space of a snapshot was needed for writes to the disk."""

    def __init__(self, path: str) -> None:
        super().__init__(path, "there is no space to keep what is written to meanwhile. Free some.")


class StoreSnapshot:
    """What a store had at one commit: use it as a context manager, or close it."""

    def __init__(
        self,
        path: str,
        contents: Contents,
        revision: str,
        table: GranuleTable,
        reader: SectorReader,
        hold: SlotHold,
        release: Callable[[], None],
    ) -> None:
        self.contents = contents
        self.revision = revision
        """The store's revision at that commit."""
        self._path = path
        self._table = table
        self._reader = reader
        self._hold = hold
        self._release = release

    def granules(self) -> Iterator[tuple[int, int, int]]:
        """What was written: first granule, count, and the first entry (`granule_table`), in order.

        Raises nothing: it is in memory.
        """
        return self._table.runs(0, -(-self.contents.size // GRANULE))

    def read_into(self, offset: int, target: WritableBuffer) -> list[Range]:
        """As `SectorStore.read_into`; raises `SnapshotLostError` too."""
        if self._hold.is_lost:
            raise SnapshotLostError(self._path)
        return self._reader.read_into(offset, target)

    def close(self) -> None:
        """Lets the store use all slots again. Idempotent."""
        self._release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
