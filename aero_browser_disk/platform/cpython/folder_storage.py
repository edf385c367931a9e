"""Files below a folder of this machine."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

from ...errors import StorageBusyError, StorageError, StorageFullError
from ..base import FileFacts, ReadableBuffer, StorageEstimate, WritableBuffer

_CHUNK = 256 * 1024  # zeros that are written at once


@contextlib.contextmanager
def _mapped(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise StorageFullError(path) from error
        raise StorageError(path, error.strerror or str(error)) from error


def _fallocate(descriptor: int, offset: int, length: int) -> bool:
    """Reserves storage by `posix_fallocate`; False where the system or the file system has none."""
    if not hasattr(os, "posix_fallocate"):
        return False
    try:
        os.posix_fallocate(descriptor, offset, length)
    except OSError as error:
        if error.errno in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
            return False
        raise
    return True


class FolderFile:
    """A `File` on this machine's file system, locked for this holder."""

    def __init__(self, path: str, descriptor: int) -> None:
        self._path = path
        self._descriptor: int | None = descriptor

    def is_at(self, path: Path) -> bool:
        """Whether a path leads to this very file."""
        try:
            return os.path.samestat(os.fstat(self._open()), path.stat())
        except FileNotFoundError:
            return False

    def size(self) -> int:
        return os.fstat(self._open()).st_size

    def read_into(self, target: WritableBuffer, offset: int) -> int:
        done = 0
        with _mapped(self._path), memoryview(target) as view:
            while done < len(view):
                got = os.preadv(self._open(), [view[done:]], offset + done)
                if not got:
                    break
                done += got
        return done

    def write(self, data: ReadableBuffer, offset: int) -> None:
        done = 0
        with _mapped(self._path), memoryview(data) as view:
            while done < len(view):
                done += os.pwrite(self._open(), view[done:], offset + done)

    def truncate(self, size: int) -> None:
        with _mapped(self._path):
            os.ftruncate(self._open(), size)

    def allocate(self, offset: int, length: int) -> None:
        if not length:
            return
        size = self.size()
        try:
            with _mapped(self._path):
                if not _fallocate(self._open(), offset, length):
                    self._write_zeros(offset, length)
        except StorageError:
            if self.size() > size:
                self.truncate(size)
            raise

    def _write_zeros(self, offset: int, length: int) -> None:
        for start in range(offset, offset + length, _CHUNK):
            self.write(bytes(min(_CHUNK, offset + length - start)), start)

    def flush(self) -> None:
        with _mapped(self._path):
            os.fsync(self._open())

    _close_descriptor = staticmethod(os.close)  # `os` may be gone when the interpreter exits

    def close(self) -> None:
        if self._descriptor is not None:
            self._close_descriptor(self._descriptor)
            self._descriptor = None

    def __del__(self) -> None:
        # Else the file of a disk that nobody closed stays locked as long as the process runs.
        if getattr(self, "_descriptor", None) is not None:
            self.close()

    def _open(self) -> int:
        if self._descriptor is None:
            raise StorageError(self._path, "the file is closed")
        return self._descriptor


class FolderStorage:
    """A `Storage` in a folder of a file system.

    `elsewhere` names top folders that are in another one.
    """

    def __init__(self, root: Path, elsewhere: Mapping[str, Path] | None = None) -> None:
        self._root = root
        self._elsewhere = dict(elsewhere or {})

    def __eq__(self, other: object) -> bool:
        """Whether both are of the same folders, so that what one has open the other has too."""
        return isinstance(other, FolderStorage) and other._roots() == self._roots()

    def __hash__(self) -> int:
        return hash(self._root)

    def _roots(self) -> tuple[Path, dict[str, Path]]:
        return self._root, {n: root for n, root in self._elsewhere.items() if root != self._root}

    def _path(self, path: str) -> Path:
        return self._elsewhere.get(path.partition("/")[0], self._root) / path

    @property
    def kind(self) -> Literal["folder"]:
        return "folder"

    async def open(self, path: str, *, create: bool = True) -> FolderFile:
        full = self._path(path)
        flags = os.O_RDWR | (os.O_CREAT if create else 0)
        if create:
            with _mapped(path):
                full.parent.mkdir(parents=True, exist_ok=True)
        elif not full.exists():
            raise FileNotFoundError(path)
        try:
            descriptor = os.open(full, flags | getattr(os, "O_BINARY", 0), 0o600)
        except OSError as error:
            if isinstance(error, FileNotFoundError) and not create:
                raise FileNotFoundError(path) from error
            with _mapped(path):
                raise
        if not _lock(descriptor):
            os.close(descriptor)
            raise StorageBusyError(path)
        return FolderFile(path, descriptor)

    async def list(self, path: str) -> list[str]:
        try:
            return sorted(path.name for path in self._path(path).iterdir())
        except (FileNotFoundError, NotADirectoryError):
            return []

    async def facts(self, path: str) -> FileFacts | None:
        try:
            status = self._path(path).stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return FileFacts(status.st_size, status.st_mtime)

    async def remove(self, path: str) -> None:
        full = self._path(path)
        if full.is_dir():
            for file, _ in _files_below(full):
                await self._check_free(file, path)
            with _mapped(path):
                _remove_folder(full)
        elif full.exists():
            await self._check_free(full, path)
            with _mapped(path):
                full.unlink(missing_ok=True)

    async def estimate(self) -> StorageEstimate:
        roots = {self._root, *self._elsewhere.values()}
        usage = sum(size for root in roots for _, size in _files_below(root))
        existing = next(p for p in (self._root, *self._root.parents) if p.exists())
        return StorageEstimate(usage=usage, quota=usage + shutil.disk_usage(existing).free)

    async def _check_free(self, file: Path, path: str) -> None:
        with _mapped(path):
            try:
                descriptor = os.open(file, os.O_RDWR)
            except FileNotFoundError:
                return  # another process removed it
        free = _lock(descriptor)
        os.close(descriptor)
        if not free:
            raise StorageBusyError(path)


def _files_below(folder: Path) -> Iterator[tuple[Path, int]]:
    """The files below a folder with their sizes; what another process removes meanwhile is
    skipped."""
    try:
        with os.scandir(folder) as entries:
            found = list(entries)
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in found:
        try:
            if entry.is_dir(follow_symlinks=False):
                yield from _files_below(Path(entry.path))
            else:
                yield Path(entry.path), entry.stat().st_size
        except FileNotFoundError:
            continue


def _remove_folder(folder: Path) -> None:
    """Removes a folder, which another process may be removing too."""
    for file, _ in _files_below(folder):
        file.unlink(missing_ok=True)
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:
        if folder.exists():
            raise


def _lock(descriptor: int) -> bool:
    """Locks an open file for this holder; False when another has it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
