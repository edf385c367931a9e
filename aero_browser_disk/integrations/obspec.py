"""The files of an image for code that reads by obspec's protocols, as it reads obstore's stores.

    ranges = FileRanges(disk)                       # a disk of aero_browser_disk.sync
    head = ranges.get_range("1/data.tif", start=0, length=16384)

Paths are those of `DiskFiles`; the empty path is the whole disk. obspec itself is not needed.
`FileRanges` is a `GetRange` and a `GetRanges`, `AsyncFileRanges` a `GetRangeAsync` and a
`GetRangesAsync`.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..disk import Disk
from ..errors import InvalidOptionError, OutOfRangeError
from ..file_systems import DiskFiles
from ..platform.concurrent_tasks import all_of
from ..sync import Disk as SyncDisk

__all__ = ["AsyncFileRanges", "FileRanges"]


class AsyncFileRanges:
    """Ranges of the files on a disk, for async code. Read-only; opens and closes nothing."""

    def __init__(self, disk: Disk, files: DiskFiles | None = None) -> None:
        self._disk = disk
        self._files = files or DiskFiles(disk)

    async def get_range_async(
        self, path: str, *, start: int, end: int | None = None, length: int | None = None
    ) -> bytes:
        """The bytes from `start` to `end`, or `length` of them; fewer where the file ends.

        Raises `InvalidOptionError` unless exactly one of the two is given, `OutOfRangeError` for a
        range that is empty or begins after the end, and what `DiskFiles.read` raises.
        """
        if (end is None) == (length is None):
            raise InvalidOptionError("end", end, "given, or else length")
        wanted = length if end is None else end - start
        assert wanted is not None
        whole = f"/{path.strip('/')}"
        if whole == "/":
            size = self._disk.info.size
            _check(start, wanted, size)
            return await self._disk.read(start, min(wanted, size - start))
        async with self._files.open(whole) as file:
            _check(start, wanted, file.size)
            file.seek(start)
            return await file.read(wanted)

    async def get_ranges_async(
        self,
        path: str,
        *,
        starts: Sequence[int],
        ends: Sequence[int] | None = None,
        lengths: Sequence[int] | None = None,
    ) -> list[bytes]:
        """Several ranges of a file, read concurrently; raises as `get_range_async` does."""
        if (ends is None) == (lengths is None):
            raise InvalidOptionError("ends", ends, "given, or else lengths")
        counts = lengths or [end - start for start, end in zip(starts, ends or (), strict=True)]
        reads = (
            self.get_range_async(path, start=start, length=length)
            for start, length in zip(starts, counts, strict=True)
        )
        return await all_of(reads)


class FileRanges:
    """The same for synchronous code, over a disk of `aero_browser_disk.sync`."""

    def __init__(self, disk: SyncDisk) -> None:
        self._disk = disk
        self._ranges = AsyncFileRanges(disk.asynchronous, disk.files.asynchronous)

    def get_range(
        self, path: str, *, start: int, end: int | None = None, length: int | None = None
    ) -> bytes:
        """See `AsyncFileRanges.get_range_async`."""
        return self._disk.run(
            lambda: self._ranges.get_range_async(path, start=start, end=end, length=length)
        )

    def get_ranges(
        self,
        path: str,
        *,
        starts: Sequence[int],
        ends: Sequence[int] | None = None,
        lengths: Sequence[int] | None = None,
    ) -> list[bytes]:
        """See `AsyncFileRanges.get_ranges_async`."""
        return self._disk.run(
            lambda: self._ranges.get_ranges_async(path, starts=starts, ends=ends, lengths=lengths)
        )


def _check(start: int, length: int, size: int) -> None:
    if length <= 0 or not 0 <= start < size:
        raise OutOfRangeError(start, length, size)
