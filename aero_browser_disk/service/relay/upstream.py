"""Requests to servers on the list. Addresses are checked, and redirects followed one by one."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, Literal

import httpcore

from aero_browser_disk.platform.web_url import WebUrl, parse_location

from ..outgoing import BlockingCalls
from ..stores.image_store import StoreError
from .addresses import Network, is_permitted
from .listed import ListedServer

Method = Literal["GET", "HEAD"]
Reason = Literal[
    "address", "redirect", "busy", "timeout", "failed", "forbidden", "encoded", "ranges", "wrong"
]
# The addresses of a name, in the order in which they are tried.
Resolve = Callable[[str, int], Awaitable[list[str]]]

MAX_REDIRECTS: Final = 5
_REDIRECTS: Final = frozenset((301, 302, 303, 307, 308))
_MAX_ADDRESSES: Final = 4
_MAX_LOOKUPS: Final = 16
# Idle connections are closed after this many seconds.
_IDLE_S: Final = 15.0


class UpstreamError(Exception):
    """A server on the list gave no usable response. The message is for the log.

    `retry_after_s`: the server's Retry-After in seconds, if it sent one.
    """

    def __init__(self, reason: Reason, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.retry_after_s = retry_after_s


class _AddressError(Exception):
    """The name has no address that the relay may connect to."""


@dataclass(frozen=True, slots=True)
class UpstreamResponse:
    """A response that is not a redirect; headers by lower-case name, repeated ones joined."""

    status: int
    headers: Mapping[str, str]
    _body: AsyncIterator[bytes]

    async def chunks(self, length: int) -> AsyncGenerator[bytes]:
        """The first `length` bytes of the body; raises `StoreError` if there are fewer."""
        left = length
        try:
            while left:
                chunk = (await anext(self._body, b""))[:left]
                if not chunk:
                    raise StoreError("the relayed server ended its response early")
                left -= len(chunk)
                if left == 0 and self.headers.get("content-length") == str(length):
                    # Read the end of the body too, so that the connection can be reused.
                    await anext(self._body, b"")
                yield chunk
        except _HTTP_ERRORS as error:
            if isinstance(error, StoreError):
                raise
            raise StoreError(f"the relayed server: {_said(error)}") from None


class Upstream:
    """Sends requests for one server on the list, over at most `connections` connections.

    `timeout_s` bounds the time to a response's headers over all redirects, and each wait for more
    of a body.
    """

    def __init__(
        self,
        server: ListedServer,
        *,
        permitted: Iterable[Network] = (),
        connections: int = 16,
        timeout_s: float = 20,
        resolve: Resolve | None = None,
    ) -> None:
        self.server = server
        self._timeout_s = timeout_s
        network = _CheckedNetwork(resolve or _resolver(timeout_s), tuple(permitted))
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=ssl.create_default_context(),
            max_connections=connections,
            keepalive_expiry=_IDLE_S,
            network_backend=network,
        )

    async def close(self) -> None:
        """Closes the connections."""
        await self._pool.aclose()

    @asynccontextmanager
    async def open(
        self, method: Method, url: WebUrl, headers: Mapping[str, str]
    ) -> AsyncGenerator[UpstreamResponse]:
        """The response to a request for an address below the prefix; raises `UpstreamError`."""
        async with AsyncExitStack() as stack:
            try:
                async with asyncio.timeout(self._timeout_s):
                    response = await self._follow(stack, method, url, headers)
            except TimeoutError:
                message = f"no response within {self._timeout_s:g} s"
                raise UpstreamError("timeout", message) from None
            yield response

    async def _follow(
        self, stack: AsyncExitStack, method: Method, url: WebUrl, headers: Mapping[str, str]
    ) -> UpstreamResponse:
        for _ in range(MAX_REDIRECTS + 1):
            hop = await stack.enter_async_context(AsyncExitStack())
            response = await self._send(hop, method, url, headers)
            location = response.headers.get("location")
            if response.status not in _REDIRECTS or location is None:
                return response
            await hop.aclose()
            target = parse_location(location, url.plain)
            if target is None or not self.server.allows(target):
                where = "no web address" if target is None else target.origin
                raise UpstreamError("redirect", f"a redirect to {where}, which is not on the list")
            url = target
        raise UpstreamError("redirect", f"more than {MAX_REDIRECTS} redirects")

    async def _send(
        self, hop: AsyncExitStack, method: Method, url: WebUrl, headers: Mapping[str, str]
    ) -> UpstreamResponse:
        try:
            return await self._try(hop, method, url, headers)
        except (httpcore.RemoteProtocolError, httpcore.ReadError, httpcore.WriteError):
            # The server may have closed an idle connection just as it was reused.
            pass
        except httpcore.PoolTimeout:
            raise UpstreamError("busy", "all connections are in use") from None
        except _HTTP_ERRORS as error:
            raise _mapped(error) from None
        try:
            return await self._try(hop, method, url, headers)
        except _HTTP_ERRORS as error:
            raise _mapped(error) from None

    async def _try(
        self, hop: AsyncExitStack, method: Method, url: WebUrl, headers: Mapping[str, str]
    ) -> UpstreamResponse:
        limits = dict.fromkeys(("connect", "read", "write", "pool"), self._timeout_s)
        sent = [
            (name.encode(), value.encode("latin-1"))
            for name, value in {"Host": url.host, **headers}.items()
        ]
        target = httpcore.URL(
            scheme=url.scheme.encode(),
            host=url.hostname.strip("[]").encode(),
            port=url.port,
            target=url.target.encode(),
        )
        response = await hop.enter_async_context(
            self._pool.stream(method, target, headers=sent, extensions={"timeout": limits})
        )
        body = await hop.enter_async_context(aclosing(_body_of(response)))
        return UpstreamResponse(response.status, _by_name(response.headers), body)


class _CheckedNetwork(httpcore.AnyIOBackend):
    """Resolves a name once for each connection, and connects to an address that was checked.

    A name that is looked up again between check and use may lead elsewhere (DNS rebinding).
    """

    def __init__(self, resolve: Resolve, permitted: tuple[Network, ...]) -> None:
        self._resolve = resolve
        self._permitted = permitted

    async def connect_tcp(self, host: str, port: int, *args: Any, **options: Any) -> Any:
        """As `AsyncNetworkBackend.connect_tcp`; TLS still checks the certificate for the name."""
        found = await self._resolve(host, port)
        permitted = [address for address in found if is_permitted(address, self._permitted)]
        if not permitted:
            raise _AddressError(f"{host} has no address that may be connected to")
        failed: Exception | None = None
        for address in permitted[:_MAX_ADDRESSES]:
            try:
                return await super().connect_tcp(address, port, *args, **options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failed = error
        assert failed is not None
        raise failed


def _resolver(timeout_s: float) -> Resolve:
    calls = BlockingCalls("the resolver", _MAX_LOOKUPS, timeout_s)

    async def resolve(host: str, port: int) -> list[str]:
        found = await calls.run(lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        return list(dict.fromkeys(str(address[0]) for *_, address in found))

    return resolve


async def _body_of(response: httpcore.Response) -> AsyncGenerator[bytes]:
    async for chunk in response.aiter_stream():
        yield chunk


def _by_name(raw: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for raw_name, raw_value in raw:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1").strip()
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


# The errors that a request can end with. `OSError` and `StoreError` come from the resolver.
_HTTP_ERRORS: Final = (
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.TimeoutException,
    OSError,
    _AddressError,
)


def _mapped(error: Exception) -> UpstreamError:
    if isinstance(error, _AddressError):
        return UpstreamError("address", str(error))
    reason: Reason = "timeout" if isinstance(error, httpcore.TimeoutException) else "failed"
    return UpstreamError(reason, _said(error))


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
