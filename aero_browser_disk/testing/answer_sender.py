"""Sends an answer at the pace, and up to the point, that a behaviour says."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from .http_connection import Link
from .image_answer import reason

if TYPE_CHECKING:
    from .behaviour import Behaviour
    from .http_connection import HttpConnection
    from .image_answer import Answer
    from .request_log import RequestLog

_PIECE = 1 << 18
_SHAPED_PIECE = 1 << 14


class AnswerSender:
    """Sends the answers of one server. All of it happens on the server's event loop.

    An answer counts as finished just before its last bytes go out: a client that has them, and
    looks at the log or sends its next request, finds nothing of it still in flight.
    """

    def __init__(self, log: RequestLog) -> None:
        self._log = log
        self._link = Link()
        self._stalls: dict[int, asyncio.Event] = {}
        self._released = 0

    def release(self, number: int) -> None:
        """No request up to this one stalls any more."""
        self._released = max(self._released, number)
        for stalled, event in self._stalls.items():
            if stalled <= self._released:
                event.set()

    async def send(
        self, connection: HttpConnection, number: int, answer: Answer, behaviour: Behaviour
    ) -> None:
        """Sends it all, or raises ConnectionError where the client or the behaviour ended it."""
        await connection.pause(behaviour.latency_s)
        if behaviour.stall:
            await self._stall(connection, number)
        if behaviour.reset:
            connection.reset()
        self._log.answering(number, answer.status)
        if answer.head_only:
            self._log.complete(number, 0)
            await connection.write(head_bytes(answer))
        else:
            with self._link.used():
                await self._send_with_body(connection, number, answer, behaviour)

    async def _send_with_body(
        self, connection: HttpConnection, number: int, answer: Answer, behaviour: Behaviour
    ) -> None:
        chunked = "Transfer-Encoding" in answer.headers
        breaks = {behaviour.stall_after, behaviour.reset_after, behaviour.close_after}
        length, position = answer.body.length, 0
        unsent = head_bytes(answer)  # goes out with the first piece: one packet for a small answer
        while True:
            if position in breaks or behaviour.bandwidth_bytes_per_s is not None:
                await connection.write(unsent)
                unsent = b""
            await self._break(connection, number, position, behaviour)
            if position == length:
                break
            stop = min([length, *(at for at in breaks if at is not None and at > position)])
            piece = answer.body.read(position, min(_piece_size(behaviour), stop - position))
            if not piece:
                connection.close()  # a file that was cut while it was sent
            await self._queue(connection, len(piece), behaviour)
            unsent += b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece
            last = position + len(piece) == length and length not in breaks
            if not last:
                await self._hand_over(connection, number, unsent, position, len(piece))
                unsent = b""
                if behaviour.drip_bytes is not None:
                    await connection.pause(behaviour.drip_interval_s)
            position += len(piece)
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


def head_bytes(answer: Answer) -> bytes:
    """The status line and the headers as they are sent."""
    lines = [f"HTTP/1.1 {answer.status} {reason(answer.status)}"]
    lines += [f"{name}: {value}" for name, value in answer.headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def _piece_size(behaviour: Behaviour) -> int:
    if behaviour.drip_bytes is not None:
        return behaviour.drip_bytes
    return _PIECE if behaviour.bandwidth_bytes_per_s is None else _SHAPED_PIECE
