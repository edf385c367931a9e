"""Requests that differ from an earlier one only in their range: they need not be parsed again."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from ..access.authorization import AuthRequest, AuthResult, Gate
from .access_log import AccessLog
from .direct_response import RepeatedResponse
from .exchange import Exchange, Handler, RangeResponse
from .metrics import Metrics
from .request import new_request_id
from .service_context import ServiceContext

# Headers that differ between requests; an authority that uses them is always asked.
_VARYING: Final = frozenset(("range", "x-request-id"))


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of the service that repeated requests use, as any other request does.

    `handle` responds to, counts and logs an exchange; `route` responds to it the first time.
    """

    log: AccessLog
    metrics: Metrics | None
    context: ServiceContext
    handle: Callable[[Exchange, Handler], Awaitable[None]]
    route: Handler


class RepeatedRequests:
    """A `Repeat` for requests like that of the finished `exchange`.

    Responds at once if possible, else as to a first request. Authorization, limits, the image and
    its version are checked each time. Conditions are not: neither they nor the version changed.
    """

    __slots__ = ("_first", "_known", "_parts")

    def __init__(self, exchange: Exchange, parts: Parts) -> None:
        self._first = exchange
        self._parts = parts
        self._known: _Known | None = None
        self._learn(exchange)

    def __call__(self, byte_range: bytes, request_id: bytes, response: RepeatedResponse) -> None:
        """As `Repeat`."""
        started_at = time.monotonic()
        if not (self._first.request.trusted_proxy and request_id):
            request_id = new_request_id()
        if self._known is not None and self._begins(
            self._known, byte_range, request_id, started_at, response
        ):
            return
        exchange = self._first.again(byte_range, request_id, started_at)

        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            exchange.connect(scope, receive, send)
            await self._parts.handle(exchange, self._parts.route)
            self._learn(exchange)

        response.go_on(application, is_begun=False)

    def _learn(self, exchange: Exchange) -> None:
        """Learns how to respond to the next requests like this one, if possible."""
        if exchange.repeat is not None:
            self._known = _Known.of(exchange, exchange.repeat, self._parts)

    def _begins(
        self,
        known: _Known,
        byte_range: bytes,
        request_id: bytes,
        started_at: float,
        response: RepeatedResponse,
    ) -> bool:
        """Begins the response. Does nothing and returns False if it takes time or differs.

        `byte_range` is its first and last position; `started_at` is of the monotonic clock.
        """
        limits, gate = self._parts.context.limits, self._parts.context.gate
        if limits is not None and not limits.allows_at_once(known.client):
            return False
        # Credentials may have expired, and keys may have changed.
        if gate.is_configured and _examined_at_once(gate, known.asked) != known.auth:
            return False
        first, last = byte_range.split(b"-")
        found = known.ranges(int(first), int(last))
        if found is None:
            return False
        numbers, body = found
        taken = response.begin(known.ranges.status, known.form % (*numbers, request_id), body)
        if taken < len(body):
            exchange = known.exchange.again(byte_range, request_id, started_at, taken)
            rest = self._finishing(exchange, known.ranges.rest(numbers, taken))
            response.go_on(rest, is_begun=True)
            return True
        took_s = time.monotonic() - started_at
        known.note(byte_range, len(body), took_s * 1000, request_id)
        if known.measure is not None:
            known.measure(len(body), took_s)
        return True

    def _finishing(self, exchange: Exchange, rest: Handler) -> ASGIApp:
        """Sends the rest of a response under way, counted and logged like any other."""
        limits = self._parts.context.limits
        release = None if limits is None else limits.hold(exchange.client)

        async def finish(scope: Scope, receive: Receive, send: Send) -> None:
            exchange.connect(scope, receive, send)
            try:
                await self._parts.handle(exchange, rest)
            finally:
                if release is not None:
                    release()

        return finish


@dataclass(frozen=True, slots=True)
class _Known:
    """Results of one request that are valid for the next ones."""

    exchange: Exchange
    ranges: RangeResponse
    client: str
    auth: AuthResult
    asked: AuthRequest
    # The header lines, with `%` where they differ.
    form: bytes
    note: Callable[[bytes, int, float, bytes], None]
    measure: Callable[[int, float], None] | None

    @classmethod
    def of(cls, exchange: Exchange, ranges: RangeResponse, parts: Parts) -> _Known:
        request = exchange.request
        same = {name: text for name, text in request.headers.items() if name not in _VARYING}
        common = exchange.responder.common.lines.replace(b"%", b"%%")
        return cls(
            exchange,
            ranges,
            exchange.client,
            exchange.auth,
            AuthRequest(same, request.query, request.image_id, request.trusted_proxy),
            ranges.form + b"x-request-id: %b\r\n" + common + b"\r\n",
            parts.log.repeated(exchange),
            None if parts.metrics is None else parts.metrics.repeated(exchange),
        )


def _examined_at_once(gate: Gate, asked: AuthRequest) -> AuthResult | None:
    """The result of the credentials; None if that takes time."""
    examination = gate.examine(asked)
    try:
        examination.send(None)
    except StopIteration as done:
        found: AuthResult = done.value
        return found
    examination.close()
    return None
