"""uvicorn's HTTP/1.1, with less work for each answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from .direct_answer import EXTENSION, VARYING, Repeat
from .joined_writes import JoinedTransport

_RawHeaders = list[tuple[bytes, bytes]]
# A request with one of these may have a body, or turn into something else.
_UNREPEATED: Final = frozenset((b"content-length", b"expect", b"transfer-encoding", b"upgrade"))
# Longer ones are weighed with all the others, as they may be too much.
_LONGEST_VARYING: Final = 100


@dataclass(frozen=True, slots=True)
class _Repeatable:
    """A request whose next ones may be like it."""

    url: bytes
    headers: _RawHeaders
    varying: Sequence[tuple[int, bytes]]
    """Where in them which field may have another value."""
    repeat: Repeat

    def varied(self, headers: _RawHeaders) -> dict[bytes, bytes] | None:
        """The values that vary of headers that are the same otherwise; None if they are not."""
        if len(headers) != len(self.headers):
            return None
        values, same = {}, headers.copy()
        for at, name in self.varying:
            found, values[name] = headers[at]
            if found != name or len(values[name]) > _LONGEST_VARYING:
                return None
            same[at] = self.headers[at]
        return values if same == self.headers else None


class Protocol(HttpToolsProtocol):
    """Sends the headers of an answer together with the start of its body, and direct answers.

    A disk is read by thousands of requests that differ in hardly more than their Range. The
    application answers those in the midst of the parser's work, without a task, if it offered to:
    in half the time (measured).
    """

    _repeatable: _Repeatable | None = None

    def connection_made(self, transport: Any) -> None:
        """As `asyncio.Protocol.connection_made`."""
        joined: Any = JoinedTransport(transport)
        super().connection_made(joined)

    def connection_lost(self, exc: Exception | None) -> None:
        """As `asyncio.Protocol.connection_lost`."""
        self._repeatable = None
        super().connection_lost(exc)

    def on_headers_complete(self) -> None:
        """As the parser calls it."""
        if self._repeatable is not None and self._answers_again(self._repeatable):
            self.on_response_complete()
            return
        super().on_headers_complete()
        cycle: Any = self.cycle
        joined: Any = self.transport
        if joined.is_plain and cycle is not None and cycle.scope is self.scope:
            # Its task begins later.
            answer: Any = _CycleAnswer(cycle, self, self.url)
            cycle.scope["extensions"] = {EXTENSION: answer}

    def on_response_complete(self) -> None:
        """As the cycle calls it."""
        joined: Any = self.transport
        joined.flush()
        super().on_response_complete()

    def remember(self, url: bytes, headers: _RawHeaders, repeat: Repeat) -> None:
        """Answers the next requests like this one by `repeat`."""
        names = [name for name, _ in headers]
        varying = [(at, name) for at, name in enumerate(names) if name in VARYING]
        if len({*names}) == len(names) and _UNREPEATED.isdisjoint(names):
            self._repeatable = _Repeatable(url, headers, varying, repeat)

    def _answers_again(self, known: _Repeatable) -> bool:
        if self.url != known.url:
            return False
        varied, parser = known.varied(self.headers), self.parser
        return (
            varied is not None
            and parser.get_method() == b"GET"
            and parser.get_http_version() == "1.1"
            and parser.should_keep_alive()
            and self.cycle.response_complete
            and not self.flow.write_paused
            and not self.transport.is_closing()
            and known.repeat(varied, _Answer(self))
        )

    def write_answer(
        self,
        head: tuple[int, Sequence[bytes]] | None,
        body: bytes | memoryview,
        ending: bytes,
        **limit: int,
    ) -> int:
        """Writes the status, the headers of the server and those of `head`, `ending`, the body.

        Returns how much of it was taken, as `JoinedTransport.write_now` with `limit` does.
        """
        start = b""
        if head is not None:
            status, lines = head
            own = [b"%s: %s\r\n" % field for field in self.server_state.default_headers]
            start = b"".join((STATUS_LINE[status], *own, *lines, ending))
        joined: Any = self.transport
        taken: int = joined.write_now(start, body, **limit)
        return taken


class _Answer:
    """A `DirectAnswer` that the protocol gives at once, without a cycle."""

    __slots__ = ("_protocol",)

    def __init__(self, protocol: Protocol) -> None:
        self._protocol = protocol

    def offer(self, repeat: Repeat) -> None:
        """As `DirectAnswer.offer`: what was offered before stays."""

    async def writable(self) -> bool:
        """As `DirectAnswer.writable`: it is not given otherwise."""
        return True

    def write(
        self, head: tuple[int, Sequence[bytes]] | None, body: bytes | memoryview, *, more: bool
    ) -> int:
        """As `DirectAnswer.write`, of all there is: nobody would come back with the rest."""
        return self._protocol.write_answer(head, body, b"\r\n", longest_left=len(body))


class _CycleAnswer:
    """A `DirectAnswer` that leaves uvicorn's cycle as its own `send` would."""

    __slots__ = ("_cycle", "_protocol", "_url")

    def __init__(self, cycle: Any, protocol: Protocol, url: bytes) -> None:
        self._cycle = cycle
        self._protocol = protocol
        self._url = url

    def offer(self, repeat: Repeat) -> None:
        """As `DirectAnswer.offer`."""
        self._protocol.remember(self._url, self._cycle.scope["headers"], repeat)

    async def writable(self) -> bool:
        """As `DirectAnswer.writable`."""
        cycle = self._cycle
        if cycle.flow.write_paused and not cycle.disconnected:
            await cycle.flow.drain()
        return not cycle.disconnected

    def write(
        self, head: tuple[int, Sequence[bytes]] | None, body: bytes | memoryview, *, more: bool
    ) -> int:
        """As `DirectAnswer.write`."""
        cycle = self._cycle
        if cycle.disconnected:
            return len(body)
        if head is not None:
            cycle.response_started = True
            cycle.waiting_for_100_continue = False
        ending = b"\r\n" if cycle.keep_alive else b"connection: close\r\n\r\n"
        taken = self._protocol.write_answer(head, body, ending)
        if not more and taken == len(body):
            cycle.response_complete = True
            cycle.message_event.set()
            if not cycle.keep_alive:
                cycle.transport.close()
            cycle.on_response()
            # They hold each other.
            del cycle.scope["extensions"]
        return taken
