"""What an emulator reads: the `Disk` protocol, its facts and its counters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from .errors import OutOfRangeError
from .platform.base import WritableBuffer

SECTOR_SIZE = 512

Notice = Literal[
    "memory-cache",  # no lasting storage here: the cache ends with the session
    "shared-cache",  # another tab holds this image's cache: this one reads through it
    "cache-busy",  # another tab holds this image's cache: this one caches in memory
    "storage-full",  # no room is left: blocks that find none are read again next time
    "storage-failed",  # the cache broke: reads go on without it
    "no-validator",  # versions cannot be told apart: the cache ends with the session
    "offline",  # the host cannot be reached: the cached version is open
    "other-profile",  # the boot profile is of another version: it is not used
    "odd-size",  # the size is no multiple of a sector
]


@dataclass(frozen=True, slots=True)
class DiskInfo:
    """What stays true of a disk while it is open. Sizes in bytes."""

    size: int
    version: str
    block_size: int
    read_only: bool


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


class Disk(Protocol):
    """A run of bytes that an emulator reads. Offsets and lengths are in bytes, of any alignment."""

    @property
    def info(self) -> DiskInfo:
        """Size, version, block size, and whether it takes writes."""

    def try_read_into(self, offset: int, target: WritableBuffer) -> bool:
        """Fills `target` from `offset` if that takes no waiting; else leaves it undefined.

        Raises `OutOfRangeError`, `DiskClosedError`.
        """

    async def read_into(self, offset: int, target: WritableBuffer) -> None:
        """Fills all of `target` from `offset`, or raises a `DiskError`.

        Raises `OutOfRangeError`, `DiskClosedError`, and what the image's host or the storage did.
        """

    async def read(self, offset: int, length: int) -> bytes:
        """The `length` bytes at `offset`; raises as `read_into` does."""

    def stats(self) -> DiskStats:
        """The counters as they are now."""

    async def close(self) -> None:
        """Gives up what is under way and frees everything. Idempotent."""


def check_bounds(offset: int, length: int, size: int) -> None:
    """Raises `OutOfRangeError` unless `length` bytes at `offset` lie inside a disk of `size`."""
    if offset < 0 or length < 0 or offset + length > size:
        raise OutOfRangeError(offset, length, size)
