"""What an emulator reads and writes: the `Disk` protocol, its facts and its counters."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from .errors import OutOfRangeError, ReadOnlyError
from .platform.base import File, ReadableBuffer, WritableBuffer

SECTOR_SIZE = 512
CD_SECTOR_SIZE = 2048

Notice = Literal[
    "memory-cache",  # no lasting storage here: the cache ends with the session
    "shared-cache",  # another tab holds this image's cache: this one reads through it
    "cache-busy",  # another tab holds this image's cache: this one caches in memory
    "storage-full",  # the storage is full: blocks that do not fit are read again next time
    "storage-failed",  # the cache's files failed: reads go on without it
    "no-validator",  # versions cannot be told apart: the cache ends with the session
    "offline",  # the server cannot be reached: the cached version is open
    "older-version",  # the server has a newer one: the overlay fits only the one that is open
    "other-profile",  # the boot profile is of another version: it is not used
    "odd-size",  # the size is not a multiple of 512 bytes
]


@dataclass(frozen=True, slots=True)
class DiskInfo:
    """What stays true of a disk while it is open. Sizes in bytes."""

    size: int
    version: str
    block_size: int
    read_only: bool
    sector_size: int = SECTOR_SIZE
    """What a guest must use: 2,048 for a CD."""


@dataclass(frozen=True, slots=True)
class DiskStats:
    """Counters since the disk was opened, and what its cache holds now. Sizes in bytes."""

    requests: int
    requests_in_flight: int
    bytes_downloaded: int
    blocks_downloaded: int
    bytes_read: int
    hits: int
    misses: int
    cached_bytes: int
    cached_blocks: int
    cache_limit_bytes: int
    storage: Literal["opfs", "folder", "memory"]
    notices: tuple[Notice, ...]
    bytes_written: int = 0
    used_bytes: int = 0
    """Storage that written data takes, of a disk that can be written."""
    kept_bytes: int = 0
    """Bytes that were cached of an older version and kept, since this one has the same."""


class Disk(Protocol):
    """A run of bytes that an emulator reads, and writes unless it is read-only.

    Offsets and lengths are in bytes, of any alignment.
    """

    @property
    def info(self) -> DiskInfo:
        """Size, version, block size, and whether it takes writes."""

    def try_read_into(self, offset: int, target: WritableBuffer) -> bool:
        """Fills `target` from `offset` if that takes no waiting; else leaves it undefined.

        Raises `OutOfRangeError`, `DiskClosedError`.
        """

    async def read_into(self, offset: int, target: WritableBuffer) -> None:
        """Fills all of `target` from `offset`, or raises a `DiskError`.

        Raises `OutOfRangeError`, `DiskClosedError`, and the errors of the image's server and of the
        storage.
        """

    async def read(self, offset: int, length: int) -> bytes:
        """The `length` bytes at `offset`; raises as `read_into` does."""

    def try_write(self, offset: int, data: ReadableBuffer) -> bool:
        """Writes `data` at `offset` if that takes no waiting; else returns False and writes
        nothing.

        Raises as `write`.
        """

    async def write(self, offset: int, data: ReadableBuffer) -> None:
        """Writes `data` at `offset`. Reads see it at once; `flush` makes it durable.

        Raises `OutOfRangeError`, `ReadOnlyError`, `DiskClosedError`, and `StorageFullError` when
        the storage is full: then nothing is written, and all that was before is there.
        """

    async def flush(self) -> None:
        """Returns once all that was written is durable; a disk that is read-only does nothing.

        After a crash, a later write may or may not be there, sector by sector. Raises
        `DiskClosedError` and `StorageError`.
        """

    async def discard(self, offset: int, length: int) -> None:
        """Makes a range read as zeros and frees its storage. Raises as `write`."""

    def stats(self) -> DiskStats:
        """The counters as they are now."""

    async def close(self) -> None:
        """Makes writes durable, cancels reads under way, and frees everything. Idempotent.

        Raises `StorageError` when what was written could not be made durable; it is closed anyway.
        """


class SparseDisk(Disk, Protocol):
    """A disk that knows which ranges were never written."""

    def data_ranges(self) -> Iterator[tuple[int, int]]:
        """Offset and length of what may be anything but zeros, in order."""


def data_ranges(disk: Disk) -> Iterator[tuple[int, int]]:
    """Offset and length of what may be anything but zeros, in order: of most disks all of it."""
    known = getattr(disk, "data_ranges", None)
    if known is not None:
        yield from known()
    elif disk.info.size:
        yield 0, disk.info.size


@runtime_checkable
class Locating(Protocol):
    """A disk that can say where its bytes lie in a file."""

    def locate(self, offset: int, length: int) -> tuple[File, int] | None:
        """The file and the offset in it of `length` bytes that lie there in one run; counts as a
        read of them. None when they lie otherwise or reading them takes waiting. Raises as
        `try_read_into` does.
        """


def locate(disk: Disk, offset: int, length: int) -> tuple[File, int] | None:
    """As `Locating.locate`, of any disk: None of one that cannot say."""
    known = getattr(disk, "locate", None)
    located: tuple[File, int] | None = known(offset, length) if known else None
    return located


class RefusingWrites:
    """The write methods of a read-only `Disk`."""

    def try_write(self, offset: int, data: ReadableBuffer) -> bool:
        raise ReadOnlyError

    async def write(self, offset: int, data: ReadableBuffer) -> None:
        raise ReadOnlyError

    async def discard(self, offset: int, length: int) -> None:
        raise ReadOnlyError


def check_bounds(offset: int, length: int, size: int) -> None:
    """Raises `OutOfRangeError` unless `length` bytes at `offset` lie inside a disk of `size`."""
    if offset < 0 or length < 0 or offset + length > size:
        raise OutOfRangeError(offset, length, size)
