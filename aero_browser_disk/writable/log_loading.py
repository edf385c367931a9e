"""Loads the log of a sector store, with which it opens: the counterpart of `log_rewriting`."""

from __future__ import annotations

from ..errors import DamagedDiskError, StorageError
from ..platform.base import File
from .commit_log import CommitLog
from .granule_table import GranuleTable
from .sector_journal import Contents, Header, commits_in
from .sector_writer import SectorWriter
from .slot_allocator import SlotAllocator
from .transaction import Transaction


class LogLoader:
    """Begins the log of a new store, or replays that of an existing one.

    Afterwards the table, the free slots and the space reserved for the next snapshot are those of
    the last commit in the file.
    """

    def __init__(
        self,
        path: str,
        file: File,
        log: CommitLog,
        table: GranuleTable,
        allocator: SlotAllocator,
        transaction: Transaction,
        writer: SectorWriter,
    ) -> None:
        self._path = path
        self._file = file
        self._log = log
        self._table = table
        self._allocator = allocator
        self._transaction = transaction
        self._writer = writer

    def begin(self, contents: Contents) -> None:
        """Begins the log of a file that never had one.

        Raises `StorageError`, also when there is one already, and `StorageFullError`.
        """
        if self._log.read_header() is not None:
            raise StorageError(self._path, "there is something already")
        try:
            self._log.begin(contents)
        except StorageError:
            self._file.truncate(0)  # a header that is there in part may be all that it takes
            raise

    def replay(self, header: Header, known_version: str | None) -> None:
        """Reads the log into the table.

        Raises `DamagedDiskError`, also if it ends before `known_version`, or another
        `StorageError`.
        """
        known = commits_in(known_version, header.contents.identity)
        try:
            for records in self._log.replay(header, known_commits=known):
                self._transaction.snapshot_records += 2 * len(records)
                gone = self._table.put_records(records)
                self._allocator.give_back(gone)
                committed = self._allocator.commit_records(records)
                self._transaction.snapshot_granules += committed
                self._writer.used += committed - len(gone)
        except IndexError:
            reason = "its journal names slots beyond its end; the file may be cut off"
            raise DamagedDiskError(self._path, reason) from None
        self._allocator.recount()
        self._log.check_end()
        self._transaction.keep_for_snapshot()
        self._log.resume()
