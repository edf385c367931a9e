"""One HTTP/1.1 connection of a test server: reads requests, and can break off at any point."""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from .image_response import RequestHead

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

MAX_HEAD = 1 << 16
_CREDIT_S = 0.05
_LEFT = "the client left"
_ON_PURPOSE = "ended on purpose"


class MalformedRequestError(ValueError):
    """The client sent something that is not a valid HTTP request. `status` is what to respond."""

    def __init__(self, status: int) -> None:
        super().__init__(f"status {status}")
        self.status = status


class HttpConnection(asyncio.StreamReaderProtocol):
    """Passes itself to `serve` once connected; `serve` returns when the connection may close.

    A client that shuts its sending half is taken to be gone. Every method that waits raises
    ConnectionError once the client is gone.
    """

    def __init__(
        self,
        serve: Callable[[HttpConnection], Awaitable[None]],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._serve = serve
        self._gone = asyncio.Event()
        self._reader = asyncio.StreamReader(limit=MAX_HEAD, loop=loop)
        self._writer: asyncio.StreamWriter | None = None
        super().__init__(self._reader, lambda _, writer: self._run(writer), loop=loop)

    # ── asyncio's side ──

    async def _run(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        writer.transport.set_write_buffer_limits(high=0)  # what was drained is in the kernel
        try:
            await self._serve(self)
        except ConnectionError:
            pass  # the client left, or was cut off on purpose: the log has it
        except asyncio.CancelledError:
            # The server stops, and nobody waits for the rest. Not raised again, because Python 3.11
            # logs a connection whose task was cancelled as an error.
            writer.transport.abort()
        finally:
            writer.close()

    def eof_received(self) -> bool:
        super().eof_received()
        if self._writer is not None:
            self._writer.transport.abort()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._gone.set()
        super().connection_lost(exc)

    # ── the server's side ──

    async def read_head(self) -> tuple[RequestHead, bool] | None:
        """The next request and whether the connection is kept after it; None when none comes.

        Raises MalformedRequestError.
        """
        try:
            text = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        except asyncio.LimitOverrunError:
            raise MalformedRequestError(431) from None
        start, *lines = text.removesuffix("\r\n\r\n").split("\r\n")
        parts = start.split(" ")
        if len(parts) != 3 or not parts[2].startswith("HTTP/1."):
            raise MalformedRequestError(400)
        headers: dict[str, str] = {}
        for line in lines:
            name, colon, value = line.partition(":")
            if not colon or not name or name != name.strip():
                raise MalformedRequestError(400)
            key, value = name.lower(), value.strip()
            headers[key] = f"{headers[key]}, {value}" if key in headers else value
        url = urlsplit(parts[1])
        keep = parts[2] != "HTTP/1.0" and headers.get("connection", "").lower() != "close"
        return RequestHead(parts[0], url.path, url.query, headers), keep

    async def read_body(self, head: RequestHead, limit: int) -> bytes:
        """The request's body, by its Content-Length. Raises MalformedRequestError."""
        length = head.headers.get("content-length", "0")
        if not length.isdecimal() or "transfer-encoding" in head.headers:
            raise MalformedRequestError(411)
        if int(length) > limit:
            raise MalformedRequestError(413)
        if head.headers.get("expect", "").lower() == "100-continue":
            await self.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        try:
            return await self._reader.readexactly(int(length))
        except asyncio.IncompleteReadError:
            raise ConnectionResetError(_LEFT) from None

    async def write(self, data: bytes) -> None:
        """Returns once `data` is with the operating system."""
        assert self._writer is not None
        if self._gone.is_set():
            raise ConnectionResetError(_LEFT)
        self._writer.write(data)
        await self._writer.drain()

    async def pause(self, seconds: float) -> None:
        """Waits, but no longer than the client does."""
        if seconds > 0:
            await self._while_there(asyncio.sleep(seconds))

    async def wait(self, event: asyncio.Event) -> None:
        """Waits for `event`, but no longer than the client does."""
        await self._while_there(event.wait())

    def close(self) -> None:
        """Ends the connection after what was written. Raises ConnectionError: nothing follows."""
        raise ConnectionAbortedError(_ON_PURPOSE)

    def reset(self) -> None:
        """Ends the connection with a TCP reset. Raises ConnectionError: nothing follows."""
        assert self._writer is not None
        endpoint = self._writer.get_extra_info("socket")
        endpoint.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()
        raise ConnectionAbortedError(_ON_PURPOSE)

    async def _while_there(self, awaitable: Awaitable[object]) -> None:
        wanted = asyncio.ensure_future(awaitable)
        gone = asyncio.ensure_future(self._gone.wait())
        try:
            await asyncio.wait({wanted, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            wanted.cancel()
            gone.cancel()
        if self._gone.is_set():
            raise ConnectionResetError(_LEFT)


class Link:
    """A link of limited rate that several connections share. Times are the loop's."""

    def __init__(self) -> None:
        self._free_at = 0.0
        self._users = 0

    @contextmanager
    def used(self) -> Iterator[None]:
        """While a body is being sent. An idle link saves nothing up."""
        if self._users == 0:
            self._free_at = asyncio.get_running_loop().time()
        self._users += 1
        try:
            yield
        finally:
            self._users -= 1

    def delay_s(self, length: int, bytes_per_s: float) -> float:
        """Queues `length` bytes; how long to wait until they are through.

        A late wake-up is made up for, up to 50 ms, so that the rate is right on a busy machine.
        """
        now = asyncio.get_running_loop().time()
        self._free_at = max(self._free_at, now - _CREDIT_S) + length / bytes_per_s
        return self._free_at - now
