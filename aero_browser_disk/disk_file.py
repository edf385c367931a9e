"""A disk as a Python file, so that any parser of files can read a disk.

    with DiskFile(disk) as file:
        iso = pycdlib.PyCdlib()
        iso.open_fp(io.BufferedReader(file, 65536))

Files are synchronous and disks are not, so a read has to wait. In Pyodide it waits by stack
switching, if the browser has it and Python was called in a way that allows it (`runPythonAsync`, a
task, an operation of the worker). In CPython, use the file in another thread than the disk's event
loop, as `asyncio.to_thread(parse, file)` does; or pass `wait`, such as the `run` of the
`asyncio.Runner` that opened the disk.
"""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from .disk import Disk
from .errors import OutOfRangeError, ReadOnlyError
from .platform import waiting
from .platform.file_position import read_rest, seek_to

if TYPE_CHECKING:
    from typing_extensions import Buffer

Wait = Callable[[Coroutine[Any, Any, None]], None]
"""Runs a coroutine to its end and returns; raises what it raises."""


class DiskFile(io.RawIOBase):
    """A disk as a raw file of fixed size: it can be read, sought and, if the disk can, written.

    Put an `io.BufferedReader` or `io.BufferedRandom` over it for many small reads; the latter's own
    `flush` hands to the disk what it holds. This file's `flush` and `close` make writes durable;
    closing the file leaves the disk open. A file that is garbage-collected before its writes were
    flushed warns (`ResourceWarning`). Cached bytes are read without waiting. Other reads wait for
    the disk, or raise `CannotWaitError` where waiting is impossible. Other errors are the disk's
    own.

    `wait` is how to wait; by default as this platform can. Without it, make the file in the event
    loop that the disk belongs to.
    """

    def __init__(self, disk: Disk, *, wait: Wait | None = None) -> None:
        super().__init__()
        self._disk = disk
        self._waiter = waiting.waiter() if wait is None else waiting.GivenWaiter(wait)
        self._position = 0
        self._is_flushed = True

    @property
    def size(self) -> int:
        """Bytes in the disk."""
        return self._disk.info.size

    def readable(self) -> bool:
        self._check_open()
        return True

    def writable(self) -> bool:
        self._check_open()
        return not self._disk.info.read_only

    def seekable(self) -> bool:
        self._check_open()
        return True

    def tell(self) -> int:
        self._check_open()
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        self._check_open()
        self._position = seek_to(self._position, self.size, offset, whence)
        return self._position

    def readinto(self, target: Buffer, /) -> int:
        """Fills `target` as far as the disk goes; returns how many bytes, 0 at the end."""
        self._check_open()
        with memoryview(target) as whole, whole.cast("B") as view:
            length = max(0, min(len(view), self.size - self._position))
            with view[:length] as part:
                self._read_into(part)
        self._position += length
        return length

    def readall(self) -> bytes:
        """All that is left; in large reads, where `io.RawIOBase` asks for 8 KiB at a time."""
        self._check_open()
        return read_rest(self, self.size - self._position)

    def write(self, data: Buffer, /) -> int:
        """Writes all of `data`; returns its length.

        Raises `ReadOnlyError`, and `OutOfRangeError` when it would reach past the disk's end, with
        nothing of it written.
        """
        self._check_open()
        if self._disk.info.read_only:
            raise ReadOnlyError
        with memoryview(data) as whole, whole.cast("B") as view:
            length = len(view)
            if self._position + length > self.size:
                raise OutOfRangeError(self._position, length, self.size)
            self._is_flushed = self._is_flushed and not length
            if length and not (self._waiter.may_try and self._disk.try_write(self._position, view)):
                self._waiter.wait(lambda: self._disk.write(self._position, view))
        self._position += length
        return length

    def flush(self) -> None:
        """Returns once what was written is durable."""
        super().flush()
        if not self._is_flushed:
            self._waiter.wait(self._disk.flush)
            self._is_flushed = True

    def __del__(self) -> None:
        # Collection happens in any thread, also the event loop's: a flush cannot be waited for.
        if not getattr(self, "_is_flushed", True):
            self._is_flushed = True
            warnings.warn(
                "a DiskFile was not closed; its last writes may not be durable",
                ResourceWarning,
                stacklevel=2,
                source=self,
            )
        super().__del__()

    def truncate(self, size: int | None = None, /) -> int:
        """Refused: a disk keeps its size."""
        self._check_open()
        raise io.UnsupportedOperation("a disk keeps its size")

    def fileno(self) -> int:
        self._check_open()
        raise io.UnsupportedOperation("a disk has no file descriptor")

    def isatty(self) -> bool:
        self._check_open()
        return False

    def _read_into(self, target: memoryview) -> None:
        if not len(target):
            return
        if not (self._waiter.may_try and self._disk.try_read_into(self._position, target)):
            self._waiter.wait(lambda: self._disk.read_into(self._position, target))

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError("I/O operation on closed file")
