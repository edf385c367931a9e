"""Sends a response at the rate, and up to the point, that a behaviour sets."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from .http_connection import Link
from .image_response import reason

if TYPE_CHECKING:
    from .behaviour import Behaviour
    from .http_connection import HttpConnection
    from .image_response import ServedResponse
    from .request_log import RequestLog

_CHUNK = 1 << 18
_SHAPED_CHUNK = 1 << 14


class ResponseSender:
    """Sends the responses of one server. All of it happens on the server's event loop.

    A response counts as finished just before its last bytes go out: a client that has them, and
    looks at the log or sends its next request, finds nothing of it still in flight.
    """

    def __init__(self, log: RequestLog) -> None:
        self._log = log
        self._link = Link()
        self._stalls: dict[int, asyncio.Event] = {}
        self._released = 0

    def release(self, number: int) -> None:
        """Ends the stalls of all requests up to this one."""
        self._released = max(self._released, number)
        for stalled, event in self._stalls.items():
            if stalled <= self._released:
                event.set()

    async def send(
        self,
        connection: HttpConnection,
        number: int,
        response: ServedResponse,
        behaviour: Behaviour,
    ) -> None:
        """Sends it all, or raises ConnectionError where the client or the behaviour ended it."""
        await connection.pause(behaviour.latency_s)
        if behaviour.stall:
            await self._stall(connection, number)
        if behaviour.reset:
            connection.reset()
        self._log.responding(number, response.status)
        if response.head_only:
            self._log.complete(number, 0)
            await connection.write(head_bytes(response))
        else:
            with self._link.used():
                await self._send_with_body(connection, number, response, behaviour)

    async def _send_with_body(
        self,
        connection: HttpConnection,
        number: int,
        response: ServedResponse,
        behaviour: Behaviour,
    ) -> None:
        chunked = "Transfer-Encoding" in response.headers
        breaks = {behaviour.stall_after, behaviour.reset_after, behaviour.close_after}
        length, position = response.body.length, 0
        unsent = head_bytes(response)  # goes out with the first chunk: one packet for a small one
        while True:
            if position in breaks or behaviour.bandwidth_bytes_per_s is not None:
                await connection.write(unsent)
                unsent = b""
            await self._break(connection, number, position, behaviour)
            if position == length:
                break
            stop = min([length, *(at for at in breaks if at is not None and at > position)])
            chunk = response.body.read(position, min(_chunk_size(behaviour), stop - position))
            if not chunk:
                connection.close()  # a file that was cut while it was sent
            await self._queue(connection, len(chunk), behaviour)
            unsent += b"%x\r\n%b\r\n" % (len(chunk), chunk) if chunked else chunk
            last = position + len(chunk) == length and length not in breaks
            if not last:
                await self._hand_over(connection, number, unsent, position, len(chunk))
                unsent = b""
                if behaviour.drip_bytes is not None:
                    await connection.pause(behaviour.drip_interval_s)
            position += len(chunk)
            if last:
                break
        self._log.complete(number, length)
        await connection.write(unsent + (b"0\r\n\r\n" if chunked else b""))

    async def _hand_over(
        self, connection: HttpConnection, number: int, data: bytes, position: int, length: int
    ) -> None:
        self._log.sent(number, position + length)
        try:
            await connection.write(data)
        except (ConnectionError, asyncio.CancelledError):
            self._log.sent(number, position)
            raise

    async def _queue(self, connection: HttpConnection, length: int, behaviour: Behaviour) -> None:
        rate = behaviour.bandwidth_bytes_per_s
        if rate is not None:
            await connection.pause(self._link.delay_s(length, rate))

    async def _break(
        self, connection: HttpConnection, number: int, position: int, behaviour: Behaviour
    ) -> None:
        if position == behaviour.stall_after:
            await self._stall(connection, number)
        if position == behaviour.reset_after:
            connection.reset()
        if position == behaviour.close_after:
            connection.close()

    async def _stall(self, connection: HttpConnection, number: int) -> None:
        if number <= self._released:
            return
        event = self._stalls[number] = asyncio.Event()
        try:
            await connection.wait(event)
        finally:
            del self._stalls[number]


def head_bytes(response: ServedResponse) -> bytes:
    """The status line and the headers as they are sent."""
    lines = [f"HTTP/1.1 {response.status} {reason(response.status)}"]
    lines += [f"{name}: {value}" for name, value in response.headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def _chunk_size(behaviour: Behaviour) -> int:
    if behaviour.drip_bytes is not None:
        return behaviour.drip_bytes
    return _CHUNK if behaviour.bandwidth_bytes_per_s is None else _SHAPED_CHUNK
