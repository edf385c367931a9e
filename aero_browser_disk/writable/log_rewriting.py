"""Replaces the log of a sector store by a snapshot of its table."""

from __future__ import annotations

from collections.abc import Iterator

from ..errors import StorageError, StorageFullError
from .commit_log import CommitLog
from .granule_table import GRANULE, GranuleTable
from .sector_journal import Contents, Record, slots_for, units_for
from .sector_writer import SectorWriter
from .slot_allocator import SlotAllocator
from .transaction import Transaction, records_of


class LogRewriter:
    """Writes snapshots: to shorten the log, and to change the size or the base of a store."""

    def __init__(
        self,
        log: CommitLog,
        table: GranuleTable,
        allocator: SlotAllocator,
        transaction: Transaction,
        writer: SectorWriter,
    ) -> None:
        self._log = log
        self._table = table
        self._allocator = allocator
        self._transaction = transaction
        self._writer = writer

    def reserve(self, runs: int) -> None:
        """Reserves space for a snapshot of so many runs. Raises `StorageFullError`."""
        self._log.allocate()
        units = units_for(runs, self._writer.used if runs else 0)
        self._allocator.provide(slots_for(units) + 1)

    def count_runs(self, size: int) -> int:
        """How many records a snapshot of a disk of `size` bytes has."""
        return sum(1 for _ in self._snapshot(size))

    def rewrite(self, contents: Contents) -> None:
        """Rewrites the log from the table; all other space is free afterwards.

        All or nothing; durable when it returns. Raises `StorageFullError` and other
        `StorageError`s.
        """
        self._transaction.write_out()
        before = self._log.header.contents
        is_change = not self._transaction.is_empty or contents.size != before.size
        records = list(self._snapshot(max(before.size, contents.size)))
        self._allocator.look_from_the_start()
        self._log.rewrite(records, contents, is_change=is_change)
        self._transaction.finish()
        self._transaction.snapshot_records = len(records)
        self._transaction.snapshot_granules = self._writer.used
        self._transaction.keep_for_snapshot()
        self._allocator.cut()

    def try_to_rewrite(self) -> None:
        """Rewrites the log, or puts that off if there is no space."""
        try:
            self.rewrite(self._log.header.contents)
        except StorageFullError:
            self._log.put_off_rewriting()

    def rewrite_or_fail(self, contents: Contents) -> None:
        """Rewrites the log after the table was changed; an error stops all later writes."""
        try:
            self.rewrite(contents)
        except StorageError as error:
            self._log.failure = error  # the state in memory is not that of the file
            raise
        self.try_to_rewrite()  # where there was no space before, so that the file can shrink

    def _snapshot(self, size: int) -> Iterator[Record]:
        for run in self._table.runs(0, -(-size // GRANULE)):
            yield from records_of(*run)
