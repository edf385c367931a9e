"""The journal of a block store as a file: records are appended, and compacted now and then."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field, replace

from ..errors import StorageError, StorageFullError
from ..platform.base import File, ReadableBuffer
from ..records.journal_header import new_salt
from .block_journal import (
    FRESH,
    RECORD_SIZE,
    RECORDS_START,
    STORED,
    Header,
    StoredImage,
    encode_record,
    encode_snapshot,
    newest_header,
)

_FEW_RECORDS = 1024  # records after a snapshot that are too few for a new one
_LATEST = 0xFFFFFFFF  # the last second that a record can hold


@dataclass(frozen=True, slots=True)
class BlockIndex:
    """Which block is in which slot, and the checksum of what is there."""

    slot_of: dict[int, int] = field(default_factory=dict)
    """The slot of each stored block, least recently used first."""
    checksums: array[int] = field(default_factory=lambda: array("I"))
    """By slot."""


class JournalFile:
    """Appends the changes of a `BlockIndex`, in memory first; `commit` writes them to the file.

    When most records are dead, the journal is compacted: a snapshot of the index is written to a
    free part of the file, then the header switches to it.
    """

    def __init__(self, file: File, index: BlockIndex) -> None:
        self.header: Header | None = None
        """The header that counts; None in a new store."""
        self.fresh_until = 0
        """Until when the server promised the version to be current, in seconds since the epoch."""
        self._file = file
        self._index = index
        self._is_header_lost = False  # after a failure it is unknown which header is in the file
        self._pending = bytearray()  # records not yet in the file
        self._is_behind = False  # too many were pending: a snapshot replaces them
        self._end = RECORDS_START
        self._snapshot_waits_for = 0  # records, after there was no space

    def read(self) -> memoryview | None:
        """The records in the file, once the header was found; None without a valid one."""
        data = bytearray(self._file.size())
        view = memoryview(data)[: self._file.read_into(data, 0)]
        self.header = newest_header(view)
        if self.header is None:
            return None
        self.fresh_until = self.header.fresh_until
        records = view[self.header.start :]
        self._end = self.header.start + len(records) // RECORD_SIZE * RECORD_SIZE
        return records

    def begin(self, image: StoredImage) -> None:
        """Switches to an empty journal for `image`; `cut` gives the file's space back.

        Raises `StorageError`; then it is as it was, or empty.
        """
        salt, serial = new_salt(), self.header.serial + 1 if self.header else 1
        header = Header(serial, salt, RECORDS_START, 0, salt, 0, image)
        self._switch(header)
        self.header = header
        self.fresh_until = self._snapshot_waits_for = 0
        self._pending.clear()
        self._is_behind = False
        self._end = RECORDS_START

    def cut(self) -> None:
        """Cuts what is behind the last record."""
        self._file.truncate(self._end)

    # ── changes ──────────────────────────────────────────────────────────────────────────────────

    def append(self, block: int, slot: int, kind: int) -> None:
        """A block is in a slot now, or a slot was freed."""
        checksum = self._index.checksums[slot] if kind == STORED else 0
        self._append(block, slot, checksum, kind, 0)
        self._bound_pending()

    def append_run(self, block: int, slot: int, count: int) -> None:
        """Adjacent blocks are in adjacent slots now."""
        for index, checksum in enumerate(self._index.checksums[slot : slot + count]):
            self._append(block + index, slot + index, checksum, STORED, 0)
        self._bound_pending()

    def mark_fresh(self, fresh_until: float) -> None:
        """Notes until when the version is promised to be current, in seconds since the epoch."""
        until = max(0, min(int(fresh_until), _LATEST))
        if until != self.fresh_until:
            self.fresh_until = until
            self._append(0, 0, 0, FRESH, until)
            self._bound_pending()

    def commit(self) -> None:
        """Writes the records that are not yet in the file: they survive this process then.

        Raises `StorageFullError` when there is no space for them; they are kept for the next time.
        """
        self._check_header()
        if self._is_behind:
            self.compact()
        elif self._pending:
            self._write(self._pending, self._end)
            self._end += len(self._pending)
            self._pending.clear()
            header = self._bound_header()
            records = (self._end - header.start) // RECORD_SIZE - header.count
            few = _FEW_RECORDS + len(self._index.slot_of) // 2
            if records > max(few, self._snapshot_waits_for):
                self.try_to_compact(records)

    def compact(self, image: StoredImage | None = None) -> None:
        """Rewrites the journal with one record for each stored block, in order of use.

        They are those of `image` from then on, if it is given. Raises `StorageFullError` when there
        is no space for both; nothing has changed then.
        """
        self._check_header()
        header, salt = self._bound_header(), new_salt()
        slot_of = self._index.slot_of
        checksums = map(self._index.checksums.__getitem__, slot_of.values())
        snapshot, checksum = encode_snapshot(salt, slot_of.keys(), slot_of.values(), checksums)
        is_front = header.start - RECORDS_START >= len(snapshot)
        start = RECORDS_START if is_front else self._end
        self._write(snapshot, start)
        self._file.flush()
        fresh = replace(
            header,
            serial=header.serial + 1,
            salt=salt,
            start=start,
            count=len(slot_of),
            checksum=checksum,
            fresh_until=self.fresh_until,
            image=image or header.image,
        )
        self._switch(fresh)
        self.header = fresh
        self._pending.clear()
        self._is_behind = False
        self._snapshot_waits_for = 0
        self._end = start + len(snapshot)
        if is_front:
            self.cut()

    def try_to_compact(self, records: int = 0) -> None:
        """As `compact`, but without an error; after one that found no space it waits for twice as
        many `records`."""
        try:
            self.compact()
        except StorageFullError:  # a longer journal does no harm
            self._snapshot_waits_for = 2 * records

    def flush(self) -> None:
        """Returns once what was written to the file is durable."""
        self._file.flush()

    def close(self) -> None:
        """Closes the file. Idempotent."""
        self._file.close()

    # ── inside ───────────────────────────────────────────────────────────────────────────────────

    def _append(self, block: int, slot: int, checksum: int, kind: int, seconds: int) -> None:
        salt = self._bound_header().salt
        self._pending += encode_record(salt, block, slot, checksum, kind, seconds)

    def _bound_pending(self) -> None:
        if len(self._pending) > 2 * (_FEW_RECORDS + len(self._index.slot_of)) * RECORD_SIZE:
            # The storage must have been full for long. A snapshot is shorter.
            self._pending.clear()
            self._is_behind = True

    def _write(self, records: ReadableBuffer, offset: int) -> None:
        try:
            self._file.write(records, offset)
        except StorageFullError:
            if self._file.size() > self._end:
                self.cut()  # a part of it was written: others need the space
            raise

    def _switch(self, header: Header) -> None:
        """Makes `header` the one that counts. When that fails, it is unknown which one does."""
        try:
            encoded = header.encode()
        except ValueError as error:
            raise StorageError("journal", str(error)) from error
        self._is_header_lost = True
        self._file.write(encoded, header.offset)
        self._file.flush()
        self._is_header_lost = False

    def _check_header(self) -> None:
        if self._is_header_lost:  # or records would follow a header that does not count
            raise StorageError("journal", "its header could not be written")

    def _bound_header(self) -> Header:
        assert self.header is not None, "begin() comes first"
        return self.header
