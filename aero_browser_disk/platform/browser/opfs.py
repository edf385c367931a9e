"""Files in the origin private file system."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import Iterator
from ctypes import addressof
from typing import Any, Literal

from ...errors import StorageBusyError, StorageError, StorageFullError, StorageUnavailableError
from ..base import FileFacts, ReadableBuffer, StorageEstimate, WritableBuffer
from .interop import (
    ROOT,
    RejectionError,
    TransferBuffer,
    bridge,
    call_async,
    first_byte,
    js_exception,
    js_object,
)

_SCRATCH = 128 * 1024  # bytes copied through a buffer at once, if our bridge is missing
_MAX_CHUNKS = 64
_LEFT_BEHIND_WAITS_S = (0.02, 0.05, 0.1, 0.3)
"""How long the file of a dead worker may stay locked after its Web Locks are free."""


class OpfsFile:
    """A `File` behind a sync access handle."""

    def __init__(self, path: str, handle: Any) -> None:
        self.handle = handle
        """The sync access handle, for JavaScript that reads the file by itself."""
        self._path = path
        # Bound once: looking a method up costs as much as calling it.
        between = bridge()
        self._read_to = between.readerOf(handle) if between else None
        self._write_from = between.writerOf(handle) if between else None
        self._read_new = between.readNew if between else None
        self._read: Any = None if between else handle.read
        self._write: Any = None if between else handle.write

    def size(self) -> int:
        with _file_errors(self._path):
            return int(self.handle.getSize())

    def read_into(self, target: WritableBuffer, offset: int) -> int:
        length = len(target)
        try:  # a context manager would cost as much as the read
            if self._read_to is None:
                return self._read_in_chunks(target, offset)
            if not length:
                return 0
            got: int = self._read_to(offset, addressof(first_byte(target)), length)
        except js_exception() as error:
            raise _storage_error(self._path, error) from error
        return got

    def write(self, data: ReadableBuffer, offset: int) -> None:
        with memoryview(data) as view:
            try:
                whole = self._write_all(view, offset)
            except js_exception() as error:
                raise _storage_error(self._path, error) from error
        if not whole:
            raise StorageFullError(self._path)

    def read_foreign(self, offset: int, length: int) -> Any | None:
        """Reads into a `Uint8Array` of JavaScript; None when the file is too short, or if our
        bridge is missing. Raises as `read_into`.
        """
        if self._read_new is None:
            return None
        try:
            return self._read_new(self.handle, offset, length)
        except js_exception() as error:
            raise _storage_error(self._path, error) from error

    def write_foreign(self, foreign: Any, start: int, stop: int, offset: int) -> None:
        """Writes some bytes of a `ForeignBytes` of JavaScript; raises as `write`."""
        try:
            written = foreign.write(self.handle, start, stop, offset)
        except js_exception() as error:
            raise _storage_error(self._path, error) from error
        if written != stop - start:
            raise StorageFullError(self._path)

    def _write_all(self, view: memoryview, offset: int) -> bool:
        """Whether all was written: at the quota Firefox writes less, and a Chromium returned -8."""
        length = len(view)
        if self._write_from is None:
            return self._write_in_chunks(view, offset)
        if not view.readonly:
            address = addressof(first_byte(view)) if length else 0
            return bool(self._write_from(offset, address, length) == length)
        for start in range(0, length, _SCRATCH):
            part = view[start : start + _SCRATCH]
            copied, address = _copied.of(len(part))
            copied[:] = part
            if self._write_from(offset + start, address, len(part)) != len(part):
                return False
        return True

    def _write_in_chunks(self, view: memoryview, offset: int) -> bool:
        for start in range(0, len(view), _SCRATCH):
            with view[start : start + _SCRATCH] as part:
                chunk, _ = _chunk(len(part))
                chunk.assign(part)
                if self._write(chunk, at=offset + start) != len(part):
                    return False
        return True

    def truncate(self, size: int) -> None:
        with _file_errors(self._path):
            before = int(self.handle.getSize())
            self.handle.truncate(size)
            # Chromium lets a file grow beyond the quota, and then takes nothing that is written
            # there. So a larger file has storage only if its last byte can be written.
            if size > before and not self._write_all(memoryview(b"\0"), size - 1):
                self.handle.truncate(before)
                raise StorageFullError(self._path)

    def allocate(self, offset: int, length: int) -> None:
        size = self.size()
        zeros = memoryview(_zeros())
        try:
            for start in range(offset, offset + length, _SCRATCH):
                self.write(zeros[: min(_SCRATCH, offset + length - start)], start)
        except StorageError:
            if self.size() > size:
                self.truncate(size)
            raise

    def flush(self) -> None:
        with _file_errors(self._path):
            self.handle.flush()

    def close(self) -> None:
        self.handle.close()

    def _read_in_chunks(self, target: WritableBuffer, offset: int) -> int:
        with memoryview(target) as view:
            for start in range(0, len(view), _SCRATCH):
                with view[start : start + _SCRATCH] as part:
                    chunk, assign_to = _chunk(len(part))
                    got = int(self._read(chunk, at=offset + start))
                    if got < len(part):
                        chunk.subarray(0, got).assign_to(part[:got])
                        return start + got
                    assign_to(part)
            return len(view)


_copied = TransferBuffer()
"""Where read-only data is copied to be written: the address of a read-only buffer is unknown."""


@functools.lru_cache(_MAX_CHUNKS)
def _chunk(length: int) -> tuple[Any, Any]:
    """The beginning of a scratch buffer, of that length, and what copies it to Python's memory.

    Kept, because making a view of it takes longer than reading 16 KiB (measured: 12 µs).
    """
    view = _scratch().subarray(0, length)
    return view, view.assign_to


@functools.cache
def _zeros() -> bytearray:
    """Writable, so that its address is known: it is written without a copy."""
    return bytearray(_SCRATCH)


@functools.cache
def _scratch() -> Any:
    import js

    return js.Uint8Array.new(_SCRATCH)


class OpfsStorage:
    """A `Storage` in the origin private file system, below one folder of its own.

    The folder is looked up at each call: it is gone when the user clears the site's data.
    """

    def __init__(self, origin: Any) -> None:
        self._origin = origin

    def __eq__(self, other: object) -> bool:
        """True of every other one: what one has open the other has too."""
        return isinstance(other, OpfsStorage)

    def __hash__(self) -> int:
        return hash(ROOT)

    @classmethod
    async def connect(cls) -> OpfsStorage:
        """The storage of this origin; raises `StorageUnavailableError` where there is none."""
        import js

        file_handle = getattr(js, "FileSystemFileHandle", None)
        if file_handle is None or not hasattr(file_handle.prototype, "createSyncAccessHandle"):
            raise StorageUnavailableError("this browser has no sync access handle in this context")
        if not hasattr(js.navigator, "storage"):
            raise StorageUnavailableError("this page is not a secure context")
        try:
            storage = cls(await js.navigator.storage.getDirectory())
            await storage._folder("", create=True)
        except (js_exception(), RejectionError) as error:
            # Private windows of Firefox and Safari raise SecurityError.
            raise StorageUnavailableError(_name(error)) from error
        return storage

    @property
    def kind(self) -> Literal["opfs"]:
        return "opfs"

    async def open(self, path: str, *, create: bool = True) -> OpfsFile:
        folder, name = path.rpartition("/")[::2]
        with _storage_errors(path):
            parent = await self._folder(folder, create=create)
            file = await call_async(parent, "getFileHandle", name, js_object(create=create))
        waits = iter(_LEFT_BEHIND_WAITS_S)
        while True:
            try:
                with _storage_errors(path):
                    return OpfsFile(path, await call_async(file, "createSyncAccessHandle"))
            except StorageBusyError:
                if (wait_s := next(waits, None)) is None:
                    raise
            await asyncio.sleep(wait_s)

    async def list(self, path: str) -> list[str]:
        import js

        try:
            with _storage_errors(path):
                folder = await self._folder(path)
                names = await js.Array.fromAsync(folder.keys())
        except FileNotFoundError:
            return []
        return sorted(names.to_py())

    async def facts(self, path: str) -> FileFacts | None:
        folder, name = path.rpartition("/")[::2]
        try:
            with _storage_errors(path):
                parent = await self._folder(folder)
                file = await (await parent.getFileHandle(name)).getFile()
        except FileNotFoundError:
            return None
        return FileFacts(int(file.size), file.lastModified / 1000)

    async def remove(self, path: str) -> None:
        folder, name = path.rpartition("/")[::2]
        with contextlib.suppress(FileNotFoundError), _storage_errors(path):
            parent = await self._folder(folder)
            await parent.removeEntry(name, recursive=True)

    async def estimate(self) -> StorageEstimate:
        import js

        with _storage_errors(ROOT):
            estimate = await js.navigator.storage.estimate()
        return StorageEstimate(usage=int(estimate.usage), quota=int(estimate.quota))

    async def _folder(self, path: str, *, create: bool = False) -> Any:
        folder = self._origin
        for name in (ROOT, *filter(None, path.split("/"))):
            folder = await call_async(folder, "getDirectoryHandle", name, js_object(create=create))
        return folder


@contextlib.contextmanager
def _storage_errors(path: str) -> Iterator[None]:
    """Maps the exceptions of finding and opening a file."""
    try:
        yield
    except (js_exception(), RejectionError) as error:
        if _name(error) == "NotFoundError":
            raise FileNotFoundError(path) from error
        raise _storage_error(path, error) from error


@contextlib.contextmanager
def _file_errors(path: str) -> Iterator[None]:
    """Maps the exceptions of an open file, also that it is gone because the site's data was
    cleared."""
    try:
        yield
    except js_exception() as error:
        raise _storage_error(path, error) from error


def _storage_error(path: str, error: Exception) -> StorageError:
    """The File System standard's exceptions, by name, as ours."""
    name = _name(error)
    if name == "QuotaExceededError":
        return StorageFullError(path)
    if name == "NoModificationAllowedError":
        return StorageBusyError(path)
    return StorageError(path, f"{name}: {getattr(error, 'message', '')}")


def _name(error: Exception) -> str:
    return str(getattr(error, "name", type(error).__name__))
