"""A disk that is stored whole; parts that were never written take no space."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

from ..disk import SECTOR_SIZE, DiskInfo, DiskStats, Notice, check_bounds
from ..errors import DataCutError, DiskClosedError, InvalidOptionError, StorageError
from ..platform.base import File, ReadableBuffer, Storage, WritableBuffer
from ..platform.opening import ClosesOnExit
from ..records.record import SECTORS
from ..remote.numbers import MAX_IMAGE_SIZE
from .granule_table import GRANULE
from .overlay_base import StoreCommitTarget
from .sector_journal import Contents
from .sector_store import SectorStore
from .sector_writer import Put


class LocalImage(StoreCommitTarget, ClosesOnExit):
    """A writable `Disk` over zeros."""

    def __init__(self, store: SectorStore, storage: Storage) -> None:
        """Takes over an open store; use `create` or `open`."""
        self._store = store
        self._storage = storage
        self._closed = False
        self._bytes_read = self._bytes_written = self._reads = 0

    @classmethod
    async def create(cls, storage: Storage, folder: str, size: int) -> LocalImage:
        """Makes a blank image of `size` bytes in a folder where there is none.

        Raises `InvalidOptionError`, `StorageFullError` and other `StorageError`s.
        """
        _check_size(size)
        contents = Contents(size, secrets.token_hex(16))
        store = await SectorStore.create(storage, f"{folder}/{SECTORS}", contents)
        return cls(store, storage)

    @classmethod
    async def open(
        cls,
        storage: Storage,
        folder: str,
        *,
        known_version: str | None = None,
        name: str | None = None,
    ) -> LocalImage:
        """Opens the image in a folder, which is of `known_version` or a later one.

        `name` is what errors about damage call it.

        Raises `FileNotFoundError` when there is none, `StorageBusyError` when another tab has it,
        `DamagedDiskError`, also for an earlier version, and other `StorageError`s.
        """
        path = f"{folder}/{SECTORS}"
        store = await SectorStore.open(storage, path, known_version=known_version, name=name)
        if store is None:
            raise FileNotFoundError(folder)
        if store.contents.base is not None:
            store.close()
            raise StorageError(folder, "there is an overlay, not an image")
        return cls(store, storage)

    @property
    def info(self) -> DiskInfo:
        """The version changes with every flushed change."""
        contents = self._store.contents
        version = f"local:{contents.identity}:{self._store.revision}"
        return DiskInfo(contents.size, version, GRANULE, read_only=False)

    @property
    def identity(self) -> str:
        """The identity of this image in its versions, unique even among copies of it."""
        return self._store.contents.identity

    @property
    def used_bytes(self) -> int:
        """Bytes that the data takes; what was never written, or discarded, takes none."""
        return self._store.used_bytes

    def data_ranges(self) -> Iterator[tuple[int, int]]:
        """Offset and length of what was written, in order. All else is zeros."""
        size = self.info.size
        for offset, length, is_zeros in self._store.ranges(0, size):
            if not is_zeros:
                yield offset, min(length, size - offset)

    # ── reading ──────────────────────────────────────────────────────────────────────────────────

    def try_read_into(self, offset: int, target: WritableBuffer) -> bool:
        self._check(offset, len(target))
        for start, length in self._store.read_into(offset, target):
            at = start - offset
            target[at : at + length] = bytes(length)
        self._bytes_read += len(target)
        self._reads += 1
        return True

    def locate(self, offset: int, length: int) -> tuple[File, int] | None:
        """Where a run of bytes is in the image's file: see `disk.Locating`."""
        self._check(offset, length)
        location = self._store.locate(offset, length)
        if location is not None:
            self._bytes_read += length
            self._reads += 1
        return location

    async def read_into(self, offset: int, target: WritableBuffer) -> None:
        self.try_read_into(offset, target)

    async def read(self, offset: int, length: int) -> bytes:
        self._check(offset, length)
        target = bytearray(length)
        self.try_read_into(offset, target)
        return bytes(target)

    # ── writing ──────────────────────────────────────────────────────────────────────────────────

    def try_write(self, offset: int, data: ReadableBuffer) -> bool:
        self._check(offset, len(data))
        self._store.write(offset, data)
        self._bytes_written += len(data)
        return True

    async def write(self, offset: int, data: ReadableBuffer) -> None:
        self.try_write(offset, data)

    def fill(self, offset: int, length: int, put: Put) -> None:
        """Writes whole granules that `put` brings into the image's file: `SectorStore.fill`."""
        self._check(offset, length)
        self._store.fill(offset, length, put)
        self._bytes_written += length

    async def flush(self) -> None:
        self._check(0, 0)
        self._store.commit()

    async def discard(self, offset: int, length: int) -> None:
        self._check(offset, length)
        self._store.discard(offset, length, hide=False)

    async def resize(self, size: int, *, cut: bool = False) -> None:
        """Makes the image `size` bytes long; what is added is zeros. All or nothing, and durable.

        Raises `DataCutError` when data lies beyond `size`, unless `cut` gives it up,
        `InvalidOptionError`, `DiskClosedError`, and `StorageError`.
        """
        self._check(0, 0)
        _check_size(size)
        if size < self.info.size and not cut:
            needed = max((offset + length for offset, length in self.data_ranges()), default=0)
            if needed > size:
                raise DataCutError(size, needed)
        self._store.resize(size)

    async def compact(self) -> None:
        """Returns free space to the storage. Raises `DiskClosedError`, `StorageError`."""
        self._check(0, 0)
        self._store.compact()

    # ── everything else ──────────────────────────────────────────────────────────────────────────

    def stats(self) -> DiskStats:
        notices: tuple[Notice, ...] = ()
        if self.info.size % SECTOR_SIZE:
            notices = ("odd-size",)
        return DiskStats(
            requests=0,
            requests_in_flight=0,
            bytes_downloaded=0,
            blocks_downloaded=0,
            bytes_read=self._bytes_read,
            hits=self._reads,
            misses=0,
            cached_bytes=0,
            cached_blocks=0,
            cache_limit_bytes=0,
            storage=self._storage.kind,
            notices=notices,
            bytes_written=self._bytes_written,
            used_bytes=self.used_bytes,
        )

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._store.commit_and_close()

    def _check(self, offset: int, length: int) -> None:
        if self._closed:
            raise DiskClosedError
        check_bounds(offset, length, self._store.contents.size)


def _check_size(size: int) -> None:
    if size < 1:
        raise InvalidOptionError("size", size, "at least 1 byte")
    if size > MAX_IMAGE_SIZE:
        raise InvalidOptionError("size", size, f"at most {MAX_IMAGE_SIZE:,} bytes")
