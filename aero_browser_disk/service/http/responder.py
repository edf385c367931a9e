"""Sends the response to one request, over plain ASGI or past it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from starlette.responses import Response
from starlette.types import Scope, Send

from .direct_response import EXTENSION, DirectResponse, EncodedFields, HeaderBlock
from .log_record import LogRecord
from .request import Request
from .response import ENCODED_PRIVATE, Fields, encoded
from .service_context import ServiceContext

# Bytes sent before other tasks get their turn: about 0.2 ms of work.
_MAX_TURN: Final = 512 * 1024
_NONE: Final[Mapping[str, Any]] = {}
_WITHOUT_BODY: Final = ("GET", "HEAD", "OPTIONS")


class Responder:
    """Adds what every response has in common, and notes in `record` what was sent.

    `is_private`: no cache may store the response. `pace` delays each chunk to keep the client to
    its bytes a second. `direct`: the server's way past ASGI's messages, if it has one.
    """

    def __init__(
        self,
        scope: Scope,
        send: Send,
        request: Request,
        record: LogRecord,
        context: ServiceContext,
    ) -> None:
        self.is_private = context.always_private or request.has_credentials
        self.pace: Callable[[int], Awaitable[None]] | None = None
        self._request = request
        self._record = record
        self._context = context
        self._yielded_at = record.body_bytes
        self.direct: DirectResponse | None = scope.get("extensions", _NONE).get(EXTENSION)
        self.send_message = send

    async def reply(self, response: Response) -> None:
        """Sends a whole response; to HEAD without its body."""
        request = self._request
        if request.method not in _WITHOUT_BODY and not await request.drain() and request.is_http_1:
            response.headers["Connection"] = "close"
        await self.start_encoded(response.status_code, response.raw_headers)
        await self.send(b"" if request.method == "HEAD" else bytes(response.body), more=False)

    async def start(self, status: int, fields: Fields) -> None:
        """Sends the status and the headers, those of CORS and `nosniff` included."""
        await self.start_encoded(status, encoded(fields))

    async def start_encoded(self, status: int, fields: EncodedFields) -> None:
        """As `start`, with encoded fields."""
        if self.is_private and ENCODED_PRIVATE not in fields:
            fields = (*(f for f in fields if f[0] != ENCODED_PRIVATE[0]), ENCODED_PRIVATE)
        self._record.status = status
        request_id = (b"x-request-id", self._request.id.encode())
        await self.send_message(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [*fields, request_id, *self.common.fields],
            }
        )

    async def send(self, chunk: bytes, *, more: bool) -> None:
        """Sends a chunk of the body; returns when the server takes the next one."""
        if self.pace is not None and chunk:
            await self.pace(len(chunk))
        await self.send_message({"type": "http.response.body", "body": chunk, "more_body": more})
        self._record.body_bytes += len(chunk)
        if more:
            await self.take_turns()

    async def send_all(self, chunks: AsyncIterator[bytes], left: int) -> None:
        """Sends `left` bytes as they come, as long as the client is there."""
        async with self._watched() as is_gone:
            while left and not is_gone():
                with self._record.cutting_short():
                    chunk = await anext(chunks)
                left -= len(chunk)
                await self.send(chunk, more=left > 0)

    def send_directly(
        self, head: tuple[int, Sequence[bytes]], chunk: bytes | memoryview, *, more: bool
    ) -> int:
        """Writes the chunk to `direct`, which must be writable; before the first one the headers.

        `head` is the status and the handler's own header lines. Returns how much of the chunk was
        taken, as `DirectResponse.write` does.
        """
        assert self.direct is not None
        complete = None
        if self._record.status is None:
            self._record.status, lines = head
            request_id = b"x-request-id: %s\r\n" % self._request.id.encode()
            complete = head[0], (*lines, request_id, self.common.lines)
        taken = self.direct.write(complete, chunk, more=more)
        self._record.body_bytes += taken
        return taken

    async def take_turns(self) -> None:
        """Lets other tasks run now and then: a fast client never makes this one wait."""
        if self._record.body_bytes - self._yielded_at >= _MAX_TURN:
            self._yielded_at = self._record.body_bytes
            await asyncio.sleep(0)

    @property
    def common(self) -> HeaderBlock:
        """The header fields that the response has in common with all others."""
        request = self._request
        return self._context.common_fields(
            request.headers.get("origin"), request.methods if request.is_preflight else None
        )

    @asynccontextmanager
    async def _watched(self) -> AsyncIterator[Callable[[], bool]]:
        """Yields a function that tells whether the client is gone: servers still accept chunks."""
        task = asyncio.create_task(self._request.disconnected())
        try:
            yield task.done
        finally:
            task.cancel()
