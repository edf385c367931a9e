"""uvicorn's HTTP/1.1, with less work for each answer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from ..http.direct_answer import EXTENSION, Repeat
from ..http.request_form import RequestForm
from ..stores.image_store import PIECE_LENGTH
from .joined_writes import LEFT_LENGTH, JoinedTransport

# A request with one of these may have a body, or turn into something else.
_UNREPEATED: Final = frozenset((b"content-length", b"expect", b"transfer-encoding", b"upgrade"))
# What is remembered of each connection.
_LONGEST_REMEMBERED: Final = 16 * 1024
# What may wait for a client whole, of the answer to a repeated request.
_LONGEST_LEFT: Final = PIECE_LENGTH


class _Repeatable(NamedTuple):
    """Requests that can be answered as one before was."""

    form: RequestForm
    repeat: Repeat
    # That of the first: those that are not answered at once have one like it.
    cycle: Any


class Protocol(HttpToolsProtocol):
    """Sends the headers of an answer together with the start of its body, and direct answers.

    A disk is read by thousands of requests that differ in hardly more than their range. Those that
    the application offered to answer alike never reach the parser: they are told by their bytes,
    and take two fifths of the processor's time (measured: ranges of 64 KiB).
    """

    _repeatable: _Repeatable | None = None
    # Of the parser: whether the next byte begins a request, and how many began in the last data.
    _is_between = True
    _begun = 0
    # Of a request whose headers are not all there: and when that takes too long.
    _is_in_headers = True
    _headers_timer: asyncio.TimerHandle | None = None
    # What came last, if that was one request and nothing else.
    _request: bytes | None = None
    # When the last request of those was answered, by the loop's clock.
    _answered_at = 0.0
    # The server's own fields, which it renews each second, and what answers begin with for as long.
    _own_fields: list[tuple[bytes, bytes]] | None = None
    _starts: dict[int, bytes]

    def connection_made(self, transport: Any) -> None:
        """As `asyncio.Protocol.connection_made`."""
        joined: Any = JoinedTransport(transport)
        super().connection_made(joined)
        self._wait_for_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        """As `asyncio.Protocol.connection_lost`."""
        self._repeatable = self._request = None
        self._stop_waiting_for_headers()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """As `asyncio.Protocol.data_received`."""
        if self._repeatable is not None and self._answers_again(self._repeatable, data):
            return
        was_between, self._begun, self._request = self._is_between, 0, None
        super().data_received(data)
        if self._is_in_headers and self._headers_timer is None:
            self._wait_for_headers()
        is_whole = was_between and self._begun == 1 and self._is_between
        if is_whole and len(data) <= _LONGEST_REMEMBERED:
            self._request = data

    def on_message_begin(self) -> None:
        """As the parser calls it."""
        self._is_between = False
        self._is_in_headers = True
        self._begun += 1
        super().on_message_begin()

    def on_message_complete(self) -> None:
        """As the parser calls it."""
        self._is_between = True
        super().on_message_complete()

    def on_headers_complete(self) -> None:
        """As the parser calls it."""
        self._is_in_headers = False
        self._stop_waiting_for_headers()
        super().on_headers_complete()
        cycle: Any = self.cycle
        joined: Any = self.transport
        if joined.is_plain and cycle is not None and cycle.scope is self.scope:
            # Its task begins later.
            answer: Any = _CycleAnswer(cycle, self)
            cycle.scope["extensions"] = {EXTENSION: answer}

    def on_response_complete(self) -> None:
        """As the cycle calls it."""
        joined: Any = self.transport
        joined.flush()
        super().on_response_complete()

    def timeout_keep_alive_handler(self) -> None:
        """As the timer calls it, which is set by answers of the ordinary way alone."""
        left_s = self._answered_at + self.timeout_keep_alive - self.loop.time()
        if left_s > 0:
            self.timeout_keep_alive_task = self.loop.call_later(
                left_s, self.timeout_keep_alive_handler
            )
            return
        super().timeout_keep_alive_handler()

    def _wait_for_headers(self) -> None:
        """Gives a request as long as an idle connection has: uvicorn itself would wait for ever."""
        self._headers_timer = self.loop.call_later(self.timeout_keep_alive, self._miss_headers)

    def _stop_waiting_for_headers(self) -> None:
        if self._headers_timer is not None:
            self._headers_timer.cancel()
            self._headers_timer = None

    def _miss_headers(self) -> None:
        self._headers_timer = None
        cycle: Any = self.cycle
        if cycle is not None and not cycle.response_complete:
            # They wait for an answer before theirs: reading may have stopped.
            self._wait_for_headers()
            return
        self.transport.abort()

    def remember(self, cycle: Any, repeat: Repeat) -> None:
        """Answers the next requests like that of `cycle` by `repeat`, if it came by itself."""
        if self._request is None or cycle is not self.cycle:
            return
        names = [name for name, _ in cycle.scope["headers"]]
        if cycle.scope["method"] != "GET" or len({*names}) < len(names):
            return
        form = RequestForm.of(self._request) if _UNREPEATED.isdisjoint(names) else None
        if form is not None:
            self._repeatable = _Repeatable(form, repeat, cycle)

    def _answers_again(self, known: _Repeatable, data: bytes) -> bool:
        values = known.form.values(data)
        if (
            values is None
            or not self._is_between
            or not self.cycle.response_complete
            or self.flow.write_paused
            or self.transport.is_closing()
        ):
            return False
        known.repeat(*values, self)
        if self.cycle.response_complete:
            self._answered_at = self.loop.time()
            self.server_state.total_requests += 1
        return True

    def begin(self, status: int, lines: bytes, body: bytes | memoryview) -> int:
        """As `RepeatedAnswer.begin`: to copy a short rest is quicker than to come back with it."""
        joined: Any = self.transport
        left = _LONGEST_LEFT if len(body) <= _LONGEST_LEFT else LEFT_LENGTH
        taken: int = joined.write_now(self._start(status) + lines, body, longest_left=left)
        return taken

    def go_on(self, application: Any, *, is_begun: bool) -> None:
        """As `RepeatedAnswer.go_on`."""
        assert self._repeatable is not None
        like = self._repeatable.cycle
        scope: Any = {**like.scope}
        cycle: Any = RequestResponseCycle(
            scope=scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=self.access_log,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=False,
            keep_alive=like.keep_alive,
            on_response=self.on_response_complete,
        )
        scope["extensions"] = {EXTENSION: _CycleAnswer(cycle, self)}
        cycle.more_body = False
        cycle.response_started = is_begun
        self.cycle = cycle
        self._unset_keepalive_if_required()
        self._start_asgi_task(cycle, application)

    def write_piece(
        self, head: tuple[int, Sequence[bytes]] | None, body: bytes | memoryview, ending: bytes
    ) -> int:
        """Writes the status, the headers of the server and those of `head`, `ending`, the body.

        Returns how much of it was taken, as `JoinedTransport.write_now` does.
        """
        start = b""
        if head is not None:
            status, lines = head
            start = b"".join((self._start(status), *lines, ending))
        joined: Any = self.transport
        taken: int = joined.write_now(start, body)
        return taken

    def _start(self, status: int) -> bytes:
        """What answers begin with."""
        if self._own_fields is not self.server_state.default_headers:
            self._own_fields, self._starts = self.server_state.default_headers, {}
        start = self._starts.get(status)
        if start is None:
            own = [b"%b: %b\r\n" % field for field in self.server_state.default_headers]
            start = self._starts[status] = b"".join((STATUS_LINE[status], *own))
        return start


class _CycleAnswer:
    """A `DirectAnswer` that leaves uvicorn's cycle as its own `send` would."""

    __slots__ = ("_cycle", "_protocol")

    def __init__(self, cycle: Any, protocol: Protocol) -> None:
        self._cycle = cycle
        self._protocol = protocol

    def offer(self, repeat: Repeat) -> None:
        """As `DirectAnswer.offer`."""
        self._protocol.remember(self._cycle, repeat)

    async def writable(self) -> bool:
        """As `DirectAnswer.writable`."""
        cycle = self._cycle
        if cycle.flow.write_paused and not cycle.disconnected:
            try:
                async with asyncio.timeout(self._protocol.timeout_keep_alive):
                    await cycle.flow.drain()
            except TimeoutError:
                # It took nothing, or next to nothing, for all that time.
                self._protocol.transport.abort()
        if self._protocol.transport.is_closing():
            # Known by a write that failed: the loop tells in its next turn.
            cycle.disconnected = True
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
        taken = self._protocol.write_piece(head, body, ending)
        if not more and taken == len(body):
            cycle.response_complete = True
            cycle.message_event.set()
            if not cycle.keep_alive:
                cycle.transport.close()
            cycle.on_response()
            # They hold each other.
            del cycle.scope["extensions"]
        return taken
