"""A raw image in a file of this machine, as a disk that is only read (CPython)."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from ..disk import DiskInfo, DiskStats, RefusingWrites, check_bounds
from ..errors import DiskClosedError, EmptyImageError, UnreadableImageError
from ..platform.base import WritableBuffer
from ..platform.byte_source import open_to_seek
from ..platform.opening import ClosesOnExit

_BLOCK = 4096


@contextlib.contextmanager
def _mapped(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UnreadableImageError(str(path), error.strerror or str(error)) from error


class RawFileDisk(ClosesOnExit, RefusingWrites):
    """A read-only `Disk` over a file or block device. No read waits."""

    format = "raw"
    """The format of the file."""

    def __init__(self, path: Path, descriptor: int, size: int, version: str) -> None:
        self._path = path
        self._descriptor: int | None = descriptor
        self._info = DiskInfo(size, version, _BLOCK, read_only=True)
        self._bytes_read = 0

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Self:
        """Opens the image; raises `EmptyImageError` and `UnreadableImageError`."""
        file = Path(path)
        with _mapped(file):
            descriptor = open_to_seek(file)
            size = os.lseek(descriptor, 0, os.SEEK_END)  # a block device has no size but this
            changed = os.fstat(descriptor).st_mtime_ns
        if not size:
            os.close(descriptor)
            raise EmptyImageError(str(file))
        return cls(file, descriptor, size, f"{changed:x}-{size:x}")

    @property
    def info(self) -> DiskInfo:
        return self._info

    def try_read_into(self, offset: int, target: WritableBuffer) -> bool:
        if self._descriptor is None:
            raise DiskClosedError
        check_bounds(offset, len(target), self._info.size)
        done = 0
        with _mapped(self._path), memoryview(target) as view:
            while done < len(view):
                got = os.preadv(self._descriptor, [view[done:]], offset + done)
                if not got:
                    raise UnreadableImageError(str(self._path), "it has become shorter")
                done += got
        self._bytes_read += done
        return True

    async def read_into(self, offset: int, target: WritableBuffer) -> None:
        self.try_read_into(offset, target)

    async def read(self, offset: int, length: int) -> bytes:
        check_bounds(offset, length, self._info.size)
        target = bytearray(length)
        self.try_read_into(offset, target)
        return bytes(target)

    def data_ranges(self) -> Iterator[tuple[int, int]]:
        """Offset and length of what is not a hole of the file, in order."""
        if self._descriptor is None:
            raise DiskClosedError
        seek_data, seek_hole = getattr(os, "SEEK_DATA", None), getattr(os, "SEEK_HOLE", None)
        if seek_data is None or seek_hole is None:
            yield 0, self._info.size
            return
        stop = 0
        while stop < self._info.size:
            try:
                start = os.lseek(self._descriptor, stop, seek_data)
                stop = os.lseek(self._descriptor, start, seek_hole)
            except OSError as error:
                if error.errno != errno.ENXIO:  # behind the last data
                    yield stop, self._info.size - stop  # a device that cannot say
                return
            yield start, min(stop, self._info.size) - start

    async def flush(self) -> None:
        """Does nothing: the disk is read-only."""

    def stats(self) -> DiskStats:
        return DiskStats(
            requests=0,
            requests_in_flight=0,
            bytes_downloaded=0,
            blocks_downloaded=0,
            bytes_read=self._bytes_read,
            hits=0,
            misses=0,
            cached_bytes=0,
            cached_blocks=0,
            cache_limit_bytes=0,
            storage="folder",
            notices=(),
        )

    @property
    def _is_open(self) -> bool:
        return self._descriptor is not None

    async def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _repr_html_(self) -> str:
        from ..disk_html import disk_html

        return disk_html(self)
