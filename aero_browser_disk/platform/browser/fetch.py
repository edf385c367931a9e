"""HTTP by `fetch`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any, Literal, Protocol

from ...errors import BrokenAnswerError, NetworkError
from ...redaction import redact_url
from ..base import Credentials
from .interop import bridge, js_exception


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
            piece = await self._body.read()
        except js_exception() as error:
            raise BrokenAnswerError(redact_url(self._url)) from error
        if piece is None:
            self._body = self._controller = None
        return piece

    def abort(self) -> None:
        self._body = None
        if self._controller is not None:
            self._controller.abort()
            self._controller = None


class _Body(Protocol):
    async def read(self) -> memoryview | None:
        """The next piece; None at the end. Raises a JsException when the body breaks off."""


class _BridgedBody:
    """Takes over at once what came in while Python was busy: each await costs 0.1 ms."""

    def __init__(self, body: Any) -> None:
        self._body = body

    async def read(self) -> memoryview | None:
        if not self._body.length:
            await self._body.wait()
        length = self._body.length  # more may have come in since
        if not length:
            return None
        piece = bytearray(length)
        self._body.take(piece)
        return memoryview(piece)


class _PlainBody:
    def __init__(self, stream: Any) -> None:
        self._reader = stream.getReader()

    async def read(self) -> memoryview | None:
        result = await self._reader.read()
        return None if result.done else memoryview(result.value.to_bytes())


def _body(stream: Any) -> _Body:
    found = bridge()
    return _PlainBody(stream) if found is None else _BridgedBody(found.Body.new(stream))


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
        except js_exception() as error:
            # The browser's own words name the whole address at times, so they are not passed on.
            raise NetworkError(redact_url(url)) from error
        return FetchResponse(url, raw, controller)

    async def answers(self, url: str) -> bool:
        import js

        # Shown or not, an answer to such a request is an answer (Fetch standard, "opaque").
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

        # Empty across origins unless the host sends Timing-Allow-Origin.
        entries = js.performance.getEntriesByName(url, "resource")
        return bool(len(entries)) and entries.at(-1).nextHopProtocol in ("h2", "h3")

    async def close(self) -> None:
        """Nothing to do: the browser keeps the connections."""
