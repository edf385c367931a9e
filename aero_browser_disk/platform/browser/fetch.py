"""HTTP by `fetch`."""

from __future__ import annotations

import asyncio
import functools
import itertools
from collections.abc import Iterator, Mapping
from ctypes import addressof
from typing import Any, ClassVar, Protocol

from ...errors import BrokenResponseError, NetworkError
from ..base import Credentials, Method, Receiver
from ..event_loop import bare_future
from ..redaction import redact_url
from .interop import TransferBuffer, bridge, first_byte, js_exception

_ABORTS_AFTER_S = 0.03
"""Firefox loses an abort that comes together with the response's head, and keeps the connection."""
# What a download reports, as in web/lib/python-bridge.mjs: a test compares them.
_HEAD, _CHUNK = 0, 1


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
        self._body = _body(raw.body) if raw.body else None

    async def read(self) -> memoryview | None:
        if self._body is None:
            return None
        try:
            chunk = await self._body.read()
        except js_exception() as error:
            raise BrokenResponseError(redact_url(self._url)) from error
        if chunk is None:
            self._body = self._controller = None
        return chunk

    def abort(self) -> None:
        self._body = None
        if self._controller is not None:
            loop = asyncio.get_running_loop()
            loop.call_later(_ABORTS_AFTER_S, self._controller.abort)
            self._controller = None


class _Body(Protocol):
    async def read(self) -> memoryview | None:
        """The next chunk; None at the end. Raises a JsException when the body breaks off."""


class _BridgedBody:
    """Takes all chunks that arrived while Python was busy at once: each await costs 0.1 ms."""

    def __init__(self, body: Any) -> None:
        self._body = body

    async def read(self) -> memoryview | None:
        if not self._body.length:
            await self._body.wait()
        length = self._body.length  # more may have arrived since
        if not length:
            return None
        chunk = bytearray(length)
        self._body.take(addressof(first_byte(chunk)))
        return memoryview(chunk)


class _PlainBody:
    def __init__(self, stream: Any) -> None:
        self._reader = stream.getReader()

    async def read(self) -> memoryview | None:
        result = await self._reader.read()
        return None if result.done else memoryview(result.value.to_bytes())


def _body(stream: Any) -> _Body:
    found = bridge()
    return _PlainBody(stream) if found is None else _BridgedBody(found.ResponseBody.new(stream))


_landing = TransferBuffer()
"""Where a chunk is while it is handed over: one buffer for all, since none outlives the call."""


class _Download:
    """A GET that JavaScript runs, and the receiver of its response."""

    _under_way: ClassVar[dict[int, _Download]] = {}
    _numbers = itertools.count(1)

    def __init__(self, receiver: Receiver) -> None:
        self.number = next(self._numbers)
        self.ended: asyncio.Future[str] = bare_future()
        self.raw: Any = None
        self._receiver = receiver
        self._under_way[self.number] = self

    @classmethod
    def notify(cls, number: int, what: int, value: int, text: str) -> bool:
        """Takes an event of a download from JavaScript; False gives the download up."""
        download = cls._under_way.get(number)
        return download is not None and download._take(what, value, text)

    def forget(self) -> None:
        """Later events are ignored."""
        del self._under_way[self.number]

    def _take(self, what: int, value: int, text: str) -> bool:
        if self.ended.done():
            return False
        try:
            if what == _CHUNK:
                chunk, address = _landing.of(value)
                self.raw.take(address)
                self._receiver.chunk(chunk)
            elif what == _HEAD:
                lines = text.split("\n") if text else []
                self._receiver.head(value, dict(zip(lines[::2], lines[1::2], strict=True)))
            else:
                self.ended.set_result(text)
        except Exception as error:  # noqa: BLE001 - `push` raises it
            self.ended.set_exception(error)
            return False
        return True


@functools.cache
def _new_download() -> Any:
    """The bridge's `Download.new`, bound once: to look it up costs as much as to call it."""
    found = bridge()
    assert found is not None, "may_push() comes first"
    return found.Download.new


@functools.cache
def _notify() -> Any:
    """`_Download.notify` for JavaScript: one for all, since to make one takes a while."""
    from pyodide.ffi import create_proxy

    return create_proxy(_Download.notify)


class FetchHttp:
    """An `HttpClient` over `fetch`, past the browser's own cache.

    That cache adds and splits range requests on its own, so it is bypassed. No referrer
    is sent: the image's server learns this page's origin, which CORS needs, and not its address.
    """

    async def request(
        self,
        method: Method,
        url: str,
        headers: Mapping[str, str] | None = None,
        credentials: Credentials = "same-origin",
        body: bytes | None = None,
    ) -> FetchResponse:
        import js

        found = bridge()
        send = js.fetch if found is None else found.fetchOrTake
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
        if body is not None:
            from pyodide.ffi import to_js

            options.body = to_js(body)  # a copy: Python's memory may move while it is sent
            options.redirect = "error"  # a change of something is not sent on to another address
        try:
            raw = await send(url, options)
        except asyncio.CancelledError:
            controller.abort()
            raise
        except js_exception() as error:
            # The browser's own message may contain the whole address, so it is not passed on.
            raise NetworkError(redact_url(url)) from error
        return FetchResponse(url, raw, controller)

    def may_push(self) -> bool:
        return bridge() is not None

    async def push(
        self,
        url: str,
        headers: Mapping[str, str],
        credentials: Credentials,
        timeout_s: float,
        receiver: Receiver,
    ) -> None:
        download = _Download(receiver)
        pairs = itertools.chain.from_iterable(headers.items())
        wait_ms = timeout_s * 1000
        try:
            download.raw = _new_download()(
                _notify(), download.number, url, credentials, wait_ms, *pairs
            )
            failure = await download.ended
        except BaseException:
            if download.raw is not None:
                download.raw.abort()
            raise
        finally:
            download.forget()
        if failure == "stalled":
            raise TimeoutError
        if failure:
            raise (NetworkError if failure == "no response" else BrokenResponseError)(
                redact_url(url)
            )

    async def responds(self, url: str) -> bool:
        import js

        # Shown or not, a response to such a request is a response (Fetch standard, "opaque").
        options = js.Object.new()
        options.method = "HEAD"
        options.mode = "no-cors"
        options.cache = "no-store"
        options.referrerPolicy = "no-referrer"
        options.credentials = "omit"
        try:
            await js.fetch(url, options)
        except js_exception():
            return False
        return True

    def is_multiplexed(self, url: str) -> bool:
        import js

        # Empty across origins unless the server sends Timing-Allow-Origin.
        entries = js.performance.getEntriesByName(url, "resource")
        return bool(len(entries)) and entries.at(-1).nextHopProtocol in ("h2", "h3")

    async def close(self) -> None:
        """Nothing to do: the browser keeps the connections."""
