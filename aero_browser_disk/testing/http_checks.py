"""What the checks of `HttpSuite` are made of: the server's commands, and receivers of responses."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from ..errors import NetworkError
from ..remote.access import ImageAddress
from ..remote.receiving import receive_by
from .synthetic_image import SyntheticImage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from ..platform.base import HttpClient, HttpResponse

NAME = "http-suite.img"
IMAGE = SyntheticImage(3_000_001, seed=11)
HTTP_SUITE_IMAGES: dict[str, SyntheticImage] = {NAME: IMAGE}
WAIT_S = 10.0


class HttpChecks:
    """The client under test and the server that it is tested against."""

    origin: str
    """Where the `ImageServer` is, such as `http://127.0.0.1:1234`."""

    other_origin: str
    """The same server by another name, such as `http://localhost:1234`."""

    refusing_origin: str
    """An origin where nothing listens."""

    # ── for the subclass ──

    async def make(self) -> HttpClient:
        """A client. It is closed after the check."""
        raise NotImplementedError

    async def send(self, method: str, url: str, body: str | None) -> str:
        """Sends a control request, not by the client under test; returns the body of the response.

        This is for CPython; in a browser, use its `fetch`.
        """
        import urllib.request

        request = urllib.request.Request(  # noqa: S310 - the origin is the test's
            url, None if body is None else body.encode(), method=method
        )

        def respond() -> str:
            with urllib.request.urlopen(request) as response:  # noqa: S310
                return str(response.read(), "utf-8")

        return await asyncio.to_thread(respond)

    # ── for the checks ──

    def _url(self) -> str:
        return f"{self.origin}/{NAME}"

    @asynccontextmanager
    async def _client(self) -> AsyncIterator[HttpClient]:
        """A client, and a server that behaves and has forgotten everything."""
        await self._behave()
        client = await self.make()
        try:
            yield client
        finally:
            await client.close()

    async def _command(self, name: str, value: Mapping[str, Any] | None = None) -> None:
        await self.send("POST", f"{self.origin}/_control/{name}", json.dumps(value or {}))

    async def _behave(self, once: Mapping[str, Any] | None = None, **fields: Any) -> None:
        """Sets how the server responds for the image, and forgets earlier requests."""
        await self._command("behaviour", {"image": NAME, "behaviour": fields})
        if once is not None:
            command = {"image": NAME, "behaviour": once, "times": 1, "method": "GET"}
            await self._command("behaviour", command)
        await self._command("forget")

    async def _requests(self, **wait_for: int) -> list[dict[str, Any]]:
        """The GET and HEAD requests, once so many have arrived or finished."""
        waits = "".join(f"&{name}={count}" for name, count in wait_for.items())
        url = f"{self.origin}/_control/requests?image={NAME}{waits}"
        response = json.loads(await self.send("GET", url, None))
        assert "error" not in response, response
        requests = response["requests"]
        assert isinstance(requests, list)
        return requests

    async def _receive(self, client: HttpClient, taker: Taker, byte_range: str) -> None:
        address = ImageAddress(self._url(), {}, timeout_s=WAIT_S)
        await receive_by(client)(address, {"Range": byte_range}, taker)

    async def _check_receiving_fails(
        self, client: HttpClient, taker: Taker, url: str, timeout_s: float = WAIT_S
    ) -> NetworkError:
        address = ImageAddress(f"{url}?token=secret", {}, timeout_s=timeout_s)
        try:
            await receive_by(client)(address, {"Range": "bytes=0-299999"}, taker)
        except NetworkError as error:
            assert "secret" not in f"{error} {error.fields()}"  # noqa: PT017 - no pytest here
            return error
        raise AssertionError(f"{len(taker.body)} bytes came as if they were all")

    async def _check_breaks_off(self, client: HttpClient) -> None:
        """The next body is right as far as it goes, and then an error."""
        response = await client.request("GET", self._url())
        found = bytearray()
        try:
            while (chunk := await response.read()) is not None:
                found += chunk
        except NetworkError as error:
            assert error.url.startswith(self.origin)  # noqa: PT017 - no pytest in a browser
        else:
            raise AssertionError(f"the body ended after {len(found)} bytes as if it were whole")
        assert len(found) <= 100_000
        assert found == IMAGE.read(0, len(found))


class RefusalError(Exception):
    """Raised by a receiver that refuses the rest."""


class Taker:
    """A receiver that collects the response."""

    def __init__(self, enough: int = 0, refuses: str = "") -> None:
        self.status = 0
        self.headers: Mapping[str, str] = {}
        self.body = bytearray()
        self.has_enough = asyncio.Event()
        self._enough = enough
        self._refuses = refuses

    def head(self, status: int, headers: Mapping[str, str]) -> None:
        assert not self.status, "a second head"
        self.status, self.headers = status, headers
        if self._refuses == "head":
            raise RefusalError

    def chunk(self, data: memoryview) -> None:
        assert self.status, "a chunk before the head"
        self.body += data
        if len(self.body) >= self._enough:
            self.has_enough.set()
        if self._refuses == "chunk":
            raise RefusalError


async def read_body(response: HttpResponse) -> bytes:
    found = bytearray()
    while (chunk := await response.read()) is not None:
        found += chunk
    return bytes(found)


async def read_at_least(response: HttpResponse, length: int) -> bytes:
    found = bytearray()
    while len(found) < length:
        chunk = await response.read()
        assert chunk is not None, f"the body ended after {len(found)} bytes"
        found += chunk
    return bytes(found)


async def network_error(client: HttpClient, url: str) -> NetworkError:
    try:
        response = await client.request("GET", url)
    except NetworkError as error:
        return error
    response.abort()
    raise AssertionError(f"there was a response, {response.status}")


async def outcome_of(task: asyncio.Future[Any]) -> type[BaseException] | None:
    """What a cancelled task ended with, within a bounded time."""
    await asyncio.wait({task}, timeout=WAIT_S)
    assert task.done(), "the cancelled call still waits"
    if task.cancelled():
        return asyncio.CancelledError
    error = task.exception()
    return None if error is None else type(error)
