"""The platform in CPython on POSIX: the standard library's HTTP client, a folder, file locks."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import math
import os
import shutil
import socket
import time
import weakref
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from pathlib import Path
from typing import Literal, TypeVar

from ..errors import (
    BrokenResponseError,
    InvalidUrlError,
    NetworkError,
    StorageBusyError,
    StorageError,
    StorageFullError,
)
from .base import Credentials, FileFacts, Platform, ReadableBuffer, StorageEstimate, WritableBuffer
from .credential_headers import without_credentials
from .daemon_threads import DaemonThreads
from .redaction import redact_url
from .user_folders import LASTING
from .web_url import WebUrl, parse_location, parse_web_url

T = TypeVar("T")

_CHUNK = 256 * 1024  # bytes read from the socket at once
_TIMEOUT_S = 60.0
_LOCK_POLL_S = 0.05
_REDIRECTS = (301, 302, 303, 307, 308)
_MAX_REDIRECTS = 20  # as fetch has it


def cpython_platform(
    folder: str | os.PathLike[str], data: str | os.PathLike[str] | None = None
) -> Platform:
    """The platform of a CPython process that keeps its files in `folder`.

    What lasts (`user_folders.LASTING`) is in the folder `data`, if that is given.
    """
    root = Path(folder)
    lasting = root if data is None else Path(data)
    storage = FolderStorage(root, dict.fromkeys(LASTING, lasting))
    return Platform(CpythonHttp(), storage, FolderLocks(lasting / "locks"), CpythonClock())


# ── HTTP ──────────────────────────────────────────────────────────────────────────────────────────


class _Connection:
    """A connection that one thread uses and any thread may cut."""

    def __init__(self, url: WebUrl) -> None:
        kind = HTTPSConnection if url.scheme == "https" else HTTPConnection
        self._raw = kind(url.hostname.strip("[]"), url.port, timeout=_TIMEOUT_S)
        self._socket: socket.socket | None = None  # http.client lets go of its own too early
        self._received: HTTPResponse | None = None
        self._is_cut = False

    def exchange(self, method: str, path: str, headers: Mapping[str, str]) -> HTTPResponse:
        """Sends a request and waits for the headers of its response."""
        if self._raw.sock is None:
            self._raw.connect()
        self._socket = self._raw.sock
        # After connecting: from here on `cut` finds a socket to shut.
        self._give_up_if_cut()
        self._raw.request(method, path, headers=dict(headers))
        self._received = received = self._raw.getresponse()
        # After the response came: a `cut` before this line found none to close.
        self._give_up_if_cut()
        return received

    def cut(self) -> None:
        """Ends the connection, and with it what a thread is doing there."""
        self._is_cut = True
        if self._socket is not None:
            with contextlib.suppress(OSError):  # it was down already
                self._socket.shutdown(socket.SHUT_RDWR)
            self._close()

    def _give_up_if_cut(self) -> None:
        if self._is_cut:
            self._close()
            raise ConnectionAbortedError

    def _close(self) -> None:
        self._raw.close()
        if self._received is not None:
            self._received.close()


class CpythonResponse:
    """An `HttpResponse` read from a socket in a thread."""

    def __init__(
        self, client: CpythonHttp, url: WebUrl, connection: _Connection, raw: HTTPResponse
    ) -> None:
        self._client = client
        self._url = url
        self._connection: _Connection | None = connection
        self._raw = raw
        self.status = raw.status
        self.headers: Mapping[str, str] = {k.lower(): v for k, v in raw.getheaders()}

    async def read(self) -> memoryview | None:
        if self._connection is None:
            return None
        try:
            chunk = await self._client.in_thread(self._url, lambda: self._raw.read1(_CHUNK))
        except NetworkError as error:
            self.abort()
            raise BrokenResponseError(redact_url(self._url.plain)) from error
        except BaseException:
            self.abort()
            raise
        if chunk:
            return memoryview(chunk)
        if self._raw.length:  # announced bytes that did not arrive
            self.abort()
            raise BrokenResponseError(redact_url(self._url.plain))
        self.abort()
        return None

    def abort(self) -> None:
        if self._connection is None:
            return
        if self._raw.length == 0:  # read to its end, so the connection can serve again
            self._raw.close()
            self._client.reuse(self._url, self._connection)
        else:
            self._client.drop(self._connection)
            self._raw.close()
        self._connection = None


def _end(connections: set[_Connection], threads: DaemonThreads) -> None:
    while connections:
        connections.pop().cut()
    threads.shutdown(wait=False, cancel_futures=True)


class CpythonHttp:
    """An `HttpClient` over `http.client`, with kept-alive connections, each call in a thread."""

    def __init__(self, threads: int = 16) -> None:
        self._threads = DaemonThreads(threads, "aero-http")
        self._idle: dict[str, list[_Connection]] = {}  # by origin
        self._connections: set[_Connection] = set()
        self._closed = False
        # A disk on a platform of its own takes this along when it is collected, and nobody else
        # could close it: what the connections are kept for is over then.
        weakref.finalize(self, _end, self._connections, self._threads)

    async def request(
        self,
        method: Literal["GET", "HEAD"],
        url: str,
        headers: Mapping[str, str] | None = None,
        credentials: Credentials = "same-origin",
    ) -> CpythonResponse:
        sent = {"Accept-Encoding": "identity", **(headers or {})}
        current = parse_web_url(url)
        if current is None:
            raise InvalidUrlError(redact_url(url), "it is not a well-formed web address.")
        for _ in range(_MAX_REDIRECTS):
            response = await self._send(method, current, sent)
            location = response.headers.get("location")
            if response.status not in _REDIRECTS or location is None:
                return response
            response.abort()
            target = parse_location(location, current.plain)
            if target is None:
                shown = redact_url(current.plain)
                raise NetworkError(shown, "it redirects to what is not a web address")
            if target.origin != current.origin:
                sent = without_credentials(sent)  # for good: a redirect back does not restore them
            current = target
        raise NetworkError(redact_url(url), "it redirects without end")

    async def responds(self, url: str) -> bool:
        try:
            (await self.request("HEAD", url)).abort()
        except NetworkError:
            return False
        return True

    def is_multiplexed(self, url: str) -> bool:
        return False

    async def close(self) -> None:
        self._closed = True
        self._idle.clear()
        _end(self._connections, self._threads)

    async def in_thread(self, url: WebUrl, work: Callable[[], T]) -> T:
        """Runs blocking `work` for `url` in a thread; maps what goes wrong with a connection."""
        if self._closed:
            raise NetworkError(redact_url(url.plain), "the client is closed")
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        except (OSError, HTTPException, ValueError) as error:
            # not `str(error)`: http.client quotes the address there
            reason = getattr(error, "strerror", None) or type(error).__name__
            raise NetworkError(redact_url(url.plain), reason) from error

    def reuse(self, url: WebUrl, connection: _Connection) -> None:
        """Keeps a connection to the server of `url` whose last response was read to its end."""
        self._idle.setdefault(url.origin, []).append(connection)

    def drop(self, connection: _Connection) -> None:
        """Cuts a connection that cannot be reused."""
        connection.cut()
        self._connections.discard(connection)

    async def _send(self, method: str, url: WebUrl, headers: Mapping[str, str]) -> CpythonResponse:
        idle = self._idle.get(url.origin, [])
        while True:
            kept = bool(idle)
            connection = idle.pop() if kept else _Connection(url)
            self._connections.add(connection)
            try:
                raw = await self.in_thread(
                    url, partial(connection.exchange, method, url.target, headers)
                )
            except NetworkError:
                self.drop(connection)
                if kept:
                    continue  # the server closed a kept connection: not because of this request
                raise
            except BaseException:
                self.drop(connection)
                raise
            return CpythonResponse(self, url, connection, raw)


# ── files ─────────────────────────────────────────────────────────────────────────────────────────


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

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
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


# ── locks and time ────────────────────────────────────────────────────────────────────────────────


class FolderLock:
    """A `Lock` that is a locked file; the system frees it when the process dies.

    The file is removed when the lock is released, so that none remain of removed images.
    """

    def __init__(self, file: FolderFile, path: Path) -> None:
        self._file: FolderFile | None = file
        self._path = path

    def release(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            self._path.unlink(missing_ok=True)  # while it is locked, so it is still this file
            file.close()


class FolderLocks:
    """`Locks` among the processes that share a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files = FolderStorage(folder)

    async def acquire(self, name: str, timeout_s: float | None) -> FolderLock | None:
        deadline = time.monotonic() + (math.inf if timeout_s is None else timeout_s)
        file_name = name.replace("/", "-")
        while True:
            try:
                file = await self._files.open(file_name)
                if file.is_at(self._folder / file_name):
                    return FolderLock(file, self._folder / file_name)
                file.close()  # its last holder removed it: try again with a new file
            except StorageBusyError:
                if time.monotonic() >= deadline:
                    return None
                await asyncio.sleep(_LOCK_POLL_S)

    async def held(self, names: Collection[str]) -> set[str]:
        held = set()
        for name in names:
            lock = await self.acquire(name, 0.0)
            if lock is None:
                held.add(name)
            else:
                lock.release()
        return held


class CpythonClock:
    """The system's clock."""

    def now(self) -> float:
        return time.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
