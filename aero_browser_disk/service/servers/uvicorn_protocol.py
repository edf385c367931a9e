"""uvicorn's HTTP/1.1: requests bounded before they are parsed, and less work for each response."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import httptools
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from ..http.direct_response import EXTENSION, REFUSAL, Repeat
from ..http.request_form import RequestForm
from ..stores.image_store import CHUNK_LENGTH
from .request_gate import RefusedRequestError, RequestGate, RequestLimits
from .socket_writer import MAX_BUFFERED, SocketWriter

# A request with one of these may have a body, or change the protocol.
_UNREPEATED: Final = frozenset((b"content-length", b"expect", b"transfer-encoding", b"upgrade"))
# The longest request that a connection remembers, in bytes.
_LONGEST_REMEMBERED: Final = 16 * 1024
# Max. bytes of a repeated request's response that are buffered for the client.
_MAX_BUFFERED_REPEAT: Final = CHUNK_LENGTH
# Max. bytes that wait behind a response under way before reading stops.
_MAX_WAITING: Final = 64 * 1024
# How long, and how many bytes, a client may still send after the last response: if the connection
# closed at once, the client might not see that response.
_LINGER_S: Final = 2.0
_MAX_LINGER_BYTES: Final = 1 << 20


class _Repeatable(NamedTuple):
    """Requests that can be handled like an earlier one."""

    form: RequestForm
    repeat: Repeat
    # The scope of the first one, copied for those that take the slow path.
    cycle: Any


class Protocol(HttpToolsProtocol):
    """Hands the parser one bounded request at a time, and sends direct responses.

    A disk is read by thousands of requests that differ in little but their range. Those that the
    application offered to repeat never reach the parser. They are recognized by their bytes, and
    take two fifths of the CPU time (measured: ranges of 64 KiB).

    `web/guide/service-fast-path.md` explains how, and which parts of uvicorn this relies on.
    """

    def __init__(self, *, limits: RequestLimits | None = None, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._gate = RequestGate(limits or RequestLimits())
        self._repeatable: _Repeatable | None = None
        # The request under way, when it has no body.
        self._request: bytes | None = None
        # Whether its headers, and all of it, were parsed.
        self._has_headers = self._is_whole = True
        # Bytes missing of its body, None when it is chunked; bytes received, with framing.
        self._body_left: int | None = 0
        self._body_received = self._body_content = 0
        # Bytes received after the last response of the connection.
        self._lingered_bytes = 0
        # What the response's `Connection` would be if the request were whole.
        self._keeps_alive = False
        self._headers_timer: asyncio.TimerHandle | None = None
        # When the last repeated request got its response, by the loop's clock.
        self._responded_at = 0.0
        # The server's own fields, which it renews each second, and their lines by status.
        self._own_fields: list[tuple[bytes, bytes]] | None = None
        self._starts: dict[int, bytes] = {}

    # ── what the transport calls ──

    def connection_made(self, transport: Any) -> None:
        """As `asyncio.Protocol.connection_made`."""
        self._writer = SocketWriter(transport)
        super().connection_made(transport)
        self._wait_for_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        """As `asyncio.Protocol.connection_lost`."""
        self._repeatable = self._request = None
        self._gate.take()
        self._stop_waiting_for_headers()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """As `asyncio.Protocol.data_received`."""
        known = self._repeatable
        if known is not None and not self._gate.waiting and self._repeats(known, data):
            return
        self._gate.push(data)
        self._advance()

    # ── from bytes to requests ──

    def _advance(self) -> None:
        """Parses what waits, up to the end of one request."""
        try:
            while self._gate.waiting and not self.transport.is_closing():
                cycle: Any = self.cycle
                if cycle is not None and cycle.response_complete and not cycle.keep_alive:
                    self._lingered_bytes += len(self._gate.take())
                    if self._lingered_bytes > _MAX_LINGER_BYTES:
                        self.transport.abort()
                elif not self._is_whole:
                    self._parse_body()
                elif cycle is not None and not cycle.response_complete:
                    if len(self._gate.waiting) > _MAX_WAITING:
                        self.flow.pause_reading()
                    return
                elif not self._begin_request():
                    return
        except RefusedRequestError as refusal:
            self._refuse(refusal)

    def _begin_request(self) -> bool:
        """Parses the next headers; False when there is nothing more to do for now."""
        head = self._gate.next_head()
        self._unset_keepalive_if_required()
        if head is None:
            if self._headers_timer is None:
                self._wait_for_headers()
            return False
        self._stop_waiting_for_headers()
        known = self._repeatable
        if known is not None and self._repeats(known, head):
            # Others get their turn.
            self.loop.call_soon(self._advance)
            return False
        self._parse_head(head)
        return True

    def _parse_head(self, head: bytes) -> None:
        self._request = head if len(head) <= _LONGEST_REMEMBERED else None
        self._has_headers = self._is_whole = False
        self._body_left = self._body_received = self._body_content = 0
        self._parse(head, head)
        cycle: Any = self.cycle
        if not self._has_headers:
            raise RefusedRequestError(400, "bad_request", "This is not an HTTP request.", head)
        if not self._is_whole:
            self._repeatable = self._request = None
            fields = dict(self.headers)
            chunked = b"transfer-encoding" in fields
            self._body_left = None if chunked else int(fields.get(b"content-length", b"0"))
            # What follows a body that is not read to its end is no request.
            self._keeps_alive, cycle.keep_alive = cycle.keep_alive, False
            cycle.transport = _LingeringTransport(self.transport)

    def _parse_body(self) -> None:
        if self._body_left is None:
            chunk = self._gate.take()
        else:
            chunk = self._gate.take(self._body_left)
            self._body_left -= len(chunk)
        self._body_received += len(chunk)
        self._parse(chunk)
        if self._body_left is None:
            self._gate.check_framing(self._body_received, self._body_content)
        elif self._is_whole:
            if not self.cycle.response_started:
                self.cycle.keep_alive = self._keeps_alive
        elif not self._body_left:
            raise RefusedRequestError(400, "bad_request", "The body has no end.")

    def _parse(self, data: bytes, head: bytes = b"") -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # Refused silently (RFC 9110 §7.8): what follows is a request like any other.
            self.parser = httptools.HttpRequestParser(self)
            self._is_whole = True
        except httptools.HttpParserError as error:
            refusal = RefusedRequestError(400, "bad_request", "This is not an HTTP request.", head)
            if refusal.method and isinstance(error, httptools.HttpParserInvalidMethodError):
                # It is one, but the parser has a list of methods (RFC 9110 §15.6.2).
                refusal.status, refusal.code = 501, "unknown_method"
            raise refusal from None

    def _refuse(self, refusal: RefusedRequestError) -> None:
        """Lets the application send the refusal, as the connection's last response."""
        cycle: Any = self.cycle
        if cycle is not None and not cycle.response_complete:
            # It waits for a body that never comes.
            cycle.disconnected = True
            cycle.message_event.set()
            if cycle.response_started:
                self.transport.close()
                return
        self._gate.take()
        self._repeatable = self._request = None
        self.flow.resume_reading()
        self.on_message_begin()
        scope: Any = self.scope
        scope.update(method=refusal.method, path="", raw_path=b"", query_string=b"")
        if refusal.origin:
            scope["headers"].append((b"origin", refusal.origin))
        scope["extensions"] = {REFUSAL: (refusal.status, refusal.code, str(refusal))}
        self._is_whole = True
        self.cycle = self._new_cycle(scope, keep_alive=False)
        self.cycle.transport = _LingeringTransport(self.transport)  # type: ignore[assignment]
        self._start_asgi_task(self.cycle, self.app)

    # ── what the parser calls ──

    def on_header(self, name: bytes, value: bytes) -> None:
        """As the parser calls it: for trailers too, which nobody reads."""
        if not self._has_headers:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """As the parser calls it."""
        super().on_headers_complete()
        self._has_headers = True
        cycle: Any = self.cycle
        if self._writer.is_direct:
            # Its task begins later.
            response: Any = _CycleResponse(cycle, self)
            cycle.scope["extensions"] = {EXTENSION: response}

    def on_body(self, body: bytes) -> None:
        """As the parser calls it."""
        self._body_content += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """As the parser calls it."""
        self._is_whole = True
        super().on_message_complete()

    # ── time ──

    def on_response_complete(self) -> None:
        """As the cycle calls it."""
        super().on_response_complete()
        if self._gate.waiting:
            self.loop.call_soon(self._advance)

    def timeout_keep_alive_handler(self) -> None:
        """As the timer calls it; only responses through the parser set the timer."""
        left_s = self._responded_at + self.timeout_keep_alive - self.loop.time()
        if left_s > 0:
            self.timeout_keep_alive_task = self.loop.call_later(
                left_s, self.timeout_keep_alive_handler
            )
            return
        super().timeout_keep_alive_handler()

    def _wait_for_headers(self) -> None:
        """Limits the wait like that of an idle connection: uvicorn itself would wait forever."""
        self._headers_timer = self.loop.call_later(self.timeout_keep_alive, self.transport.abort)

    def _stop_waiting_for_headers(self) -> None:
        if self._headers_timer is not None:
            self._headers_timer.cancel()
            self._headers_timer = None

    # ── repeated requests ──

    def remember(self, cycle: Any, repeat: Repeat) -> None:
        """Uses `repeat` for the next requests like that of `cycle`, if it had no body."""
        if self._request is None or cycle is not self.cycle:
            return
        names = [name for name, _ in cycle.scope["headers"]]
        if cycle.scope["method"] != "GET" or len({*names}) < len(names):
            return
        form = RequestForm.of(self._request) if _UNREPEATED.isdisjoint(names) else None
        if form is not None:
            self._repeatable = _Repeatable(form, repeat, cycle)

    def _repeats(self, known: _Repeatable, request: bytes) -> bool:
        """Responds to a whole request like an earlier one; False if it has to be parsed."""
        values = known.form.values(request)
        if (
            values is None
            or not self.cycle.response_complete
            or self.flow.write_paused
            or self.transport.is_closing()
        ):
            return False
        known.repeat(*values, self)
        if self.cycle.response_complete:
            self._responded_at = self.loop.time()
            self.server_state.total_requests += 1
        return True

    def begin(self, status: int, lines: bytes, body: bytes | memoryview) -> int:
        """As `RepeatedResponse.begin`: copying a short rest is cheaper than a second write."""
        limit = _MAX_BUFFERED_REPEAT if len(body) <= _MAX_BUFFERED_REPEAT else MAX_BUFFERED
        return self._writer.write(self._start(status) + lines, body, limit)

    def go_on(self, application: Any, *, is_begun: bool) -> None:
        """As `RepeatedResponse.go_on`."""
        assert self._repeatable is not None
        like = self._repeatable.cycle
        scope: Any = {**like.scope}
        cycle = self._new_cycle(scope, keep_alive=like.keep_alive)
        scope["extensions"] = {EXTENSION: _CycleResponse(cycle, self)}
        cycle.response_started = is_begun
        self.cycle = cycle
        self._unset_keepalive_if_required()
        self._start_asgi_task(cycle, application)

    def _new_cycle(self, scope: Any, *, keep_alive: bool) -> RequestResponseCycle:
        """The cycle of a request without a body."""
        cycle = RequestResponseCycle(
            scope=scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=self.access_log,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=False,
            keep_alive=keep_alive,
            on_response=self.on_response_complete,
        )
        cycle.more_body = False
        cycle.message_event.set()
        return cycle

    # ── direct responses ──

    def write_chunk(
        self, head: tuple[int, Sequence[bytes]] | None, body: bytes | memoryview, ending: bytes
    ) -> int:
        """Writes the status, the headers of the server and those of `head`, `ending`, the body.

        Returns how much of it was taken, as `SocketWriter.write` does.
        """
        start = b""
        if head is not None:
            status, lines = head
            start = b"".join((self._start(status), *lines, ending))
        return self._writer.write(start, body)

    def _start(self, status: int) -> bytes:
        """The status line and the server's own header lines."""
        if self._own_fields is not self.server_state.default_headers:
            self._own_fields, self._starts = self.server_state.default_headers, {}
        start = self._starts.get(status)
        if start is None:
            own = [b"%b: %b\r\n" % field for field in self.server_state.default_headers]
            start = self._starts[status] = b"".join((STATUS_LINE[status], *own))
        return start


class _CycleResponse:
    """A `DirectResponse` that leaves uvicorn's cycle in the state that its `send` would."""

    __slots__ = ("_cycle", "_protocol")

    def __init__(self, cycle: Any, protocol: Protocol) -> None:
        self._cycle = cycle
        self._protocol = protocol

    def offer(self, repeat: Repeat) -> None:
        """As `DirectResponse.offer`."""
        self._protocol.remember(self._cycle, repeat)

    async def writable(self) -> bool:
        """As `DirectResponse.writable`."""
        cycle = self._cycle
        if cycle.flow.write_paused and not cycle.disconnected:
            try:
                async with asyncio.timeout(self._protocol.timeout_keep_alive):
                    await cycle.flow.drain()
            except TimeoutError:
                # The client took next to nothing in all that time.
                self._protocol.transport.abort()
        if self._protocol.transport.is_closing():
            # A write failed; the loop reports it in its next turn.
            cycle.disconnected = True
        return not cycle.disconnected

    def write(
        self, head: tuple[int, Sequence[bytes]] | None, body: bytes | memoryview, *, more: bool
    ) -> int:
        """As `DirectResponse.write`."""
        cycle = self._cycle
        if cycle.disconnected:
            return len(body)
        if head is not None:
            cycle.response_started = True
            cycle.waiting_for_100_continue = False
        ending = b"\r\n" if cycle.keep_alive else b"connection: close\r\n\r\n"
        taken = self._protocol.write_chunk(head, body, ending)
        if not more and taken == len(body):
            cycle.response_complete = True
            cycle.message_event.set()
            if not cycle.keep_alive:
                cycle.transport.close()
            cycle.on_response()
            # They hold each other.
            del cycle.scope["extensions"]
        return taken


class _LingeringTransport:
    """A transport that closes in two steps, so that a client that still sends sees the response."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def close(self) -> None:
        """Closes for sending now, and for receiving in a moment."""
        if not self._transport.can_write_eof():
            self._transport.close()
            return
        self._transport.write_eof()
        asyncio.get_running_loop().call_later(_LINGER_S, self._transport.close)
