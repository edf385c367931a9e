"""HTTP by the standard library's client, each call in a thread."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import weakref
from collections.abc import Callable, Mapping
from functools import partial
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import TypeVar

from ...errors import BrokenResponseError, InvalidUrlError, NetworkError
from ..base import Credentials, Method
from ..credential_headers import without_credentials
from ..daemon_threads import DaemonThreads
from ..redaction import redact_url
from ..web_url import WebUrl, parse_location, parse_web_url

T = TypeVar("T")

_CHUNK = 256 * 1024  # bytes read from the socket at once
_TIMEOUT_S = 60.0
_REDIRECTS = (301, 302, 303, 307, 308)
_MAX_REDIRECTS = 20  # as fetch has it


class _Connection:
    """A connection that one thread uses and any thread may cut."""

    def __init__(self, url: WebUrl) -> None:
        kind = HTTPSConnection if url.scheme == "https" else HTTPConnection
        self._raw = kind(url.hostname.strip("[]"), url.port, timeout=_TIMEOUT_S)
        self._raw.auto_open = 0  # else a request that `cut` overtakes would connect once more
        self._socket: socket.socket | None = None  # http.client lets go of its own too early
        self._received: HTTPResponse | None = None
        self._is_cut = False

    def exchange(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None = None
    ) -> HTTPResponse:
        """Sends a request and waits for the headers of its response."""
        if self._raw.sock is None:
            self._raw.connect()
        self._socket = self._raw.sock
        # After connecting: from here on `cut` finds a socket to shut.
        self._give_up_if_cut()
        self._raw.request(method, path, body, headers=dict(headers))
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
        self.headers: Mapping[str, str] = _joined(raw)

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
        method: Method,
        url: str,
        headers: Mapping[str, str] | None = None,
        credentials: Credentials = "same-origin",
        body: bytes | None = None,
    ) -> CpythonResponse:
        sent = {"Accept-Encoding": "identity", **(headers or {})}
        current = parse_web_url(url)
        if current is None:
            raise InvalidUrlError(redact_url(url), "it is not a well-formed web address.")
        for _ in range(_MAX_REDIRECTS):
            response = await self._send(method, current, sent, body)
            location = response.headers.get("location")
            is_redirect = response.status in _REDIRECTS and location is not None
            # A change of something is not sent on to another address.
            if not is_redirect or location is None or method not in ("GET", "HEAD"):
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

    async def _send(
        self, method: str, url: WebUrl, headers: Mapping[str, str], body: bytes | None
    ) -> CpythonResponse:
        idle = self._idle.get(url.origin, [])
        while True:
            kept = bool(idle)
            connection = idle.pop() if kept else _Connection(url)
            self._connections.add(connection)
            try:
                raw = await self.in_thread(
                    url, partial(connection.exchange, method, url.target, headers, body)
                )
            except NetworkError:
                self.drop(connection)
                if kept:
                    continue  # the server closed a kept connection: not because of this request
                raise
            except BaseException:
                self.drop(connection)
                raise
            response = CpythonResponse(self, url, connection, raw)
            if method != "HEAD":
                try:
                    _check_framing(redact_url(url.plain), response.headers)
                except NetworkError:
                    self.drop(connection)
                    raise
            return response


def _joined(raw: HTTPResponse) -> dict[str, str]:
    """Fields by name in lower case; the lines of one are a list (RFC 9110 §5.3), as in Fetch."""
    headers: dict[str, str] = {}
    for name, value in raw.getheaders():
        key = name.lower()
        headers[key] = f"{headers[key]}, {value}" if key in headers else value
    return headers


def _check_framing(shown: str, headers: Mapping[str, str]) -> None:
    """Raises `NetworkError` where nobody can say which bytes are the body's.

    `http.client` takes the first line of each field, and what it does not know for not there: then
    the framing of chunks would be read as content (RFC 9112 §6.3).
    """
    coding = headers.get("transfer-encoding")
    if coding is not None:
        if coding.strip().lower() != "chunked":
            raise NetworkError(shown, f"it sent Transfer-Encoding: {coding[:80]!r}, not chunked")
        return
    lengths = {length.strip() for length in headers.get("content-length", "0").split(",")}
    if len(lengths) > 1 or not all(one.isascii() and one.isdigit() for one in lengths):
        found = headers["content-length"][:80]
        raise NetworkError(shown, f"it sent Content-Length: {found!r}, not one number")
