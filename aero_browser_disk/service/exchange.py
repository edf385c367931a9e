"""One request and its answer, over plain ASGI: what every answer has in common is added here."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from .cors import CorsPolicy

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Fields = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer that is held in memory."""

    status: int
    fields: Fields = ()
    body: bytes = b""


class HttpError(Exception):
    """Ends a request with a status and `{"error": {"code", "message"}}`."""

    def __init__(self, status: int, code: str, message: str, fields: Fields = ()) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.fields = fields

    @property
    def reply(self) -> Reply:
        """The answer that says so; nothing may store it."""
        said = {"error": {"code": self.code, "message": self.message}}
        return Reply(
            self.status,
            (
                ("Content-Type", "application/json"),
                ("Cache-Control", "no-store"),
                *self.fields,
            ),
            json.dumps(said).encode(),
        )


class CutShortError(Exception):
    """The rest of a body cannot be sent: the connection must end before its length is reached."""


class Exchange:
    """A request with its headers by lower-case name, and the answer to it as far as it is sent."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, cors: CorsPolicy) -> None:
        self.method: str = scope["method"]
        root: str = scope.get("root_path", "")
        path: str = scope["path"]
        self.path = path.removeprefix(root)
        self.headers = _headers(scope["headers"])
        self.is_preflight = (
            self.method == "OPTIONS" and "access-control-request-method" in self.headers
        )
        self.started_at = time.monotonic()
        # What the access log says of it.
        self.route: str | None = None
        self.image_id: str | None = None
        self.status: int | None = None
        self.body_bytes = 0
        self.cut: str | None = None
        self._cors = cors
        self._receive = receive
        self._send = send

    async def reply(self, reply: Reply) -> None:
        """Sends a whole answer, with its length; to HEAD without its body."""
        fields = reply.fields
        # Neither has a body, and 204 may not have the field (RFC 9110 §8.6).
        if reply.status not in (204, 304):
            fields = (*fields, ("Content-Length", str(len(reply.body))))
        await self.start(reply.status, fields)
        await self.send(b"" if self.method == "HEAD" else reply.body, more=False)

    async def start(self, status: int, fields: Fields) -> None:
        """Sends the status and the headers, those of CORS and `nosniff` included."""
        every = (
            *fields,
            ("X-Content-Type-Options", "nosniff"),
            *self._cors.fields(self.headers.get("origin"), preflight=self.is_preflight),
        )
        self.status = status
        await self._send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [
                    (name.lower().encode("latin-1"), value.encode("latin-1"))
                    for name, value in every
                ],
            }
        )

    async def send(self, piece: bytes, *, more: bool) -> None:
        """Sends a piece of the body; returns when the server takes the next one."""
        await self._send({"type": "http.response.body", "body": piece, "more_body": more})
        self.body_bytes += len(piece)
        if more:
            # A client as fast as the reads would otherwise keep the event loop to itself.
            await asyncio.sleep(0)

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[Callable[[], bool]]:
        """Whether the client is gone, as a function: servers take pieces for it silently."""
        task = asyncio.create_task(self._disconnected())
        try:
            yield task.done
        finally:
            task.cancel()

    async def _disconnected(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass


def _headers(raw: list[tuple[bytes, bytes]]) -> Mapping[str, str]:
    """The fields by lower-case name; those that came twice joined (RFC 9110 §5.3)."""
    headers: dict[str, str] = {}
    for raw_name, raw_value in raw:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers
