"""The platform in a browser worker: fetch, OPFS, Web Locks.

The one module that imports `js` and `pyodide`, and only inside functions: a memory snapshot of
Pyodide cannot hold a JavaScript object.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, cast

from ..errors import (
    BrokenAnswerError,
    NetworkError,
    StorageBusyError,
    StorageError,
    StorageFullError,
    StorageUnavailableError,
)
from ..redaction import redact_url
from .base import (
    Credentials,
    FileFacts,
    Message,
    Platform,
    ReadableBuffer,
    Storage,
    StorageEstimate,
    WritableBuffer,
)
from .memory import MemoryStorage

ROOT = "aero-browser-disk"
_SCRATCH = 256 * 1024  # bytes moved between a file and Python at once
_MOST_PIECES = 64


async def browser_platform() -> Platform:
    """The platform of this worker. Without OPFS its storage is memory."""
    storage: Storage
    try:
        storage = await OpfsStorage.connect()
    except StorageUnavailableError:
        storage = MemoryStorage()
    return Platform(FetchHttp(), storage, WebLocks(), BrowserClock(), BroadcastChannels())


@functools.cache
def _js_exception() -> type[Exception]:
    """What a JavaScript exception is in Python; asked for on hot paths, so found only once."""
    from pyodide.ffi import JsException

    return cast("type[Exception]", JsException)


def _js_object(**fields: object) -> Any:
    import js
    from pyodide.ffi import to_js

    return to_js(fields, dict_converter=js.Object.fromEntries)


# ── HTTP ──────────────────────────────────────────────────────────────────────────────────────────


class FetchHeaders(Mapping[str, str]):
    """The headers that the browser shows, each asked for when it is looked at."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw

    def __getitem__(self, name: str) -> str:
        value = self._raw.get(name)
        if not isinstance(value, str):  # null, which Pyodide does not make None
            raise KeyError(name)
        return value

    def __iter__(self) -> Iterator[str]:
        import js

        return iter(js.Object.fromEntries(self._raw).to_py())

    def __len__(self) -> int:
        return sum(1 for _ in self)


class FetchResponse:
    """An `HttpResponse` of `fetch`."""

    def __init__(self, url: str, raw: Any, controller: Any) -> None:
        self.status: int = raw.status
        self.headers: Mapping[str, str] = FetchHeaders(raw.headers)
        self._url = url
        self._controller = controller
        body = raw.body
        self._reader = body.getReader() if body else None

    async def read(self) -> memoryview | None:
        if self._reader is None:
            return None
        try:
            result = await self._reader.read()
        except _js_exception() as error:
            raise BrokenAnswerError(redact_url(self._url)) from error
        if result.done:
            self._reader = self._controller = None
            return None
        return memoryview(result.value.to_bytes())

    def abort(self) -> None:
        self._reader = None
        if self._controller is not None:
            self._controller.abort()
            self._controller = None


class FetchHttp:
    """An `HttpClient` over `fetch`, past the browser's own cache.

    That cache adds and splits range requests of its own accord, so it is never asked. No referrer
    is sent: the image's host learns this page's origin, which CORS needs, and not its address.
    """

    async def request(
        self,
        method: Literal["GET", "HEAD"],
        url: str,
        headers: Mapping[str, str] | None = None,
        credentials: Credentials = "same-origin",
    ) -> FetchResponse:
        import js

        controller = js.AbortController.new()
        # Field by field: turning a dict into an object takes several times as long.
        options = js.Object.new()
        options.method = method
        options.cache = "no-store"
        options.referrerPolicy = "no-referrer"
        options.credentials = credentials
        options.signal = controller.signal
        options.headers = sent = js.Object.new()
        for name, value in (headers or {}).items():
            setattr(sent, name, value)
        try:
            raw = await js.fetch(url, options)
        except asyncio.CancelledError:
            controller.abort()
            raise
        except _js_exception() as error:
            # The browser's own words name the whole address at times, so they are not passed on.
            raise NetworkError(redact_url(url)) from error
        return FetchResponse(url, raw, controller)

    def is_multiplexed(self, url: str) -> bool:
        import js

        # Empty across origins unless the host sends Timing-Allow-Origin.
        entries = js.performance.getEntriesByName(url, "resource")
        return bool(len(entries)) and entries.at(-1).nextHopProtocol in ("h2", "h3")

    async def close(self) -> None:
        """Nothing to do: the browser keeps the connections."""


# ── files ─────────────────────────────────────────────────────────────────────────────────────────


class OpfsFile:
    """A `File` behind a sync access handle."""

    def __init__(self, path: str, handle: Any) -> None:
        import js

        self._path = path
        self._handle = handle
        self._scratch = js.Uint8Array.new(_SCRATCH)
        self._pieces: dict[int, Any] = {}

    def size(self) -> int:
        with _storage_errors(self._path):
            return int(self._handle.getSize())

    def read_into(self, target: WritableBuffer, offset: int) -> int:
        length = len(target)
        if length > _SCRATCH:
            return self._read_pieces(target, offset)
        piece = self._pieces.get(length)
        if piece is None:
            piece = self._make_piece(length)
        try:  # a context manager would cost as much as the read
            got: int = self._handle.read(piece, at=offset)
        except _js_exception() as error:
            raise _storage_error(self._path, error) from error
        if got < length:
            piece = piece.subarray(0, got)
            target = memoryview(target)[:got]
        piece.assign_to(target)
        return got

    def write(self, data: ReadableBuffer, offset: int) -> None:
        with memoryview(data) as view:
            for start in range(0, len(view), _SCRATCH):
                with view[start : start + _SCRATCH] as part:
                    piece = self._pieces.get(len(part)) or self._make_piece(len(part))
                    piece.assign(part)
                    try:
                        written = self._handle.write(piece, at=offset + start)
                    except _js_exception() as error:
                        raise _storage_error(self._path, error) from error
                    # at the quota one Chromium answers 4294967288, Firefox writes short
                    if written != len(part):
                        raise StorageFullError(self._path)

    def _make_piece(self, length: int) -> Any:
        """The beginning of the scratch buffer, of that length, for this time and the next.

        Kept, because making a view of it takes longer than reading 16 KiB (measured: 12 µs).
        """
        if len(self._pieces) >= _MOST_PIECES:
            self._pieces.clear()
        piece = self._pieces[length] = self._scratch.subarray(0, length)
        return piece

    def truncate(self, size: int) -> None:
        with _storage_errors(self._path):
            self._handle.truncate(size)

    def flush(self) -> None:
        with _storage_errors(self._path):
            self._handle.flush()

    def close(self) -> None:
        self._handle.close()

    def _read_pieces(self, target: WritableBuffer, offset: int) -> int:
        with memoryview(target) as view:
            for start in range(0, len(view), _SCRATCH):
                with view[start : start + _SCRATCH] as part:
                    got = self.read_into(part, offset + start)
                    if got < len(part):
                        return start + got
            return len(view)


class OpfsStorage:
    """A `Storage` in the origin private file system, below one folder of its own."""

    def __init__(self, root: Any) -> None:
        self._root = root

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
            origin = await js.navigator.storage.getDirectory()
            return cls(await origin.getDirectoryHandle(ROOT, create=True))
        except (
            _js_exception()
        ) as error:  # private windows of Firefox and Safari raise SecurityError
            raise StorageUnavailableError(_name(error)) from error

    @property
    def kind(self) -> Literal["opfs"]:
        return "opfs"

    async def open(self, path: str, *, create: bool = True) -> OpfsFile:
        folder, name = path.rpartition("/")[::2]
        with _storage_errors(path):
            parent = await self._folder(folder, create=create)
            file = await parent.getFileHandle(name, create=create)
            return OpfsFile(path, await file.createSyncAccessHandle())

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
        folder = self._root
        for name in filter(None, path.split("/")):
            folder = await folder.getDirectoryHandle(name, create=create)
        return folder


@contextlib.contextmanager
def _storage_errors(path: str) -> Iterator[None]:
    try:
        yield
    except _js_exception() as error:
        raise _storage_error(path, error) from error


def _storage_error(path: str, error: Exception) -> Exception:
    """The File System standard's exceptions, by name, as ours."""
    name = _name(error)
    if name == "NotFoundError":
        return FileNotFoundError(path)
    if name == "QuotaExceededError":
        return StorageFullError(path)
    if name == "NoModificationAllowedError":
        return StorageBusyError(path)
    return StorageError(path, f"{name}: {getattr(error, 'message', '')}")


def _name(error: Exception) -> str:
    return str(getattr(error, "name", type(error).__name__))


# ── locks and time ────────────────────────────────────────────────────────────────────────────────


class WebLock:
    """A `Lock` of the Web Locks API; the browser frees it when the worker dies."""

    def __init__(self, let_go: asyncio.Future[None]) -> None:
        self._let_go = let_go

    def release(self) -> None:
        if not self._let_go.done():
            self._let_go.set_result(None)


class WebLocks:
    """`Locks` among the tabs and workers of this origin."""

    async def acquire(self, name: str, timeout_s: float | None) -> WebLock | None:
        import js
        from pyodide.ffi import create_once_callable

        loop = asyncio.get_running_loop()
        held: asyncio.Future[None] = loop.create_future()
        let_go: asyncio.Future[None] = loop.create_future()

        async def hold(_lock: Any) -> None:
            if not held.done():
                held.set_result(None)
            await let_go

        waiting = js.AbortController.new()
        request = js.navigator.locks.request(
            f"{ROOT}/{name}", _js_object(signal=waiting.signal), create_once_callable(hold)
        )
        request.catch(_ignore_abort())
        try:
            async with asyncio.timeout(timeout_s):
                await asyncio.shield(held)
        except TimeoutError:
            waiting.abort()
            if held.done():  # granted in the last moment
                return WebLock(let_go)
            held.cancel()
            return None
        except BaseException:
            waiting.abort()
            let_go.set_result(None)
            raise
        return WebLock(let_go)


def _ignore_abort() -> Any:
    """Takes the rejection of a lock request that was given up."""
    from pyodide.ffi import create_once_callable

    return create_once_callable(lambda _error: None)


class BroadcastChannelEnd:
    """A `Channel` of the Broadcast Channel API."""

    def __init__(self, name: str, hear: Callable[[Message], None]) -> None:
        import js
        from pyodide.ffi import create_proxy

        self._raw = js.BroadcastChannel.new(f"{ROOT}/{name}")
        self._listener = create_proxy(lambda event: hear(_plain(event.data)))
        self._raw.onmessage = self._listener

    def send(self, message: Message) -> None:
        self._raw.postMessage(_js_object(**message))

    def close(self) -> None:
        if self._raw is not None:
            self._raw.close()
            self._raw.onmessage = None
            self._listener.destroy()
            self._raw = None


def _plain(data: Any) -> Message:
    return {
        name: value.to_bytes()
        if hasattr(value, "to_bytes") and not isinstance(value, int)
        else value
        for name, value in data.object_entries()
    }


class BroadcastChannels:
    """`Channels` among the tabs and workers of this origin."""

    def open(self, name: str, hear: Callable[[Message], None]) -> BroadcastChannelEnd:
        return BroadcastChannelEnd(name, hear)


class BrowserClock:
    """The browser's clock."""

    def now(self) -> float:
        return time.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
