"""Requests that are like one before in all but their range: they need not be parsed again."""

from __future__ import annotations

import time

from ..access.authorization import Gate
from .access_log import AccessLog
from .client_limits import ClientLimits
from .direct_answer import Receive, RepeatedAnswer, Scope, Send
from .exchange import Exchange, Handler
from .metrics import Metrics
from .quick_answers import QuickAnswers, SeeThrough
from .request import new_request_id


class RepeatedRequests:
    """A `Repeat` for those that are like that of `exchange`, which is over.

    At once where that can be, else by `respond`, as if they had come for the first time.
    """

    __slots__ = ("_first", "_quick", "_respond", "_see_through", "_used")

    def __init__(
        self,
        exchange: Exchange,
        log: AccessLog,
        metrics: Metrics | None,
        gate: Gate,
        limits: ClientLimits | None,
        see_through: SeeThrough,
        respond: Handler,
    ) -> None:
        self._first = exchange
        self._used = (log, metrics, gate, limits)
        self._see_through = see_through
        self._respond = respond
        self._quick: QuickAnswers | None = None
        self._learn(exchange)

    def __call__(self, span: bytes, request_id: bytes, answer: RepeatedAnswer) -> None:
        """As `Repeat`."""
        started_at = time.monotonic()
        if not (self._first.request.trusted_proxy and request_id):
            request_id = new_request_id()
        if self._quick is not None and self._quick(span, request_id, started_at, answer):
            return
        exchange = self._first.again(span, request_id, started_at)

        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            exchange.connect(scope, receive, send)
            await self._see_through(exchange, self._respond)
            self._learn(exchange)

        answer.go_on(application, is_begun=False)

    def _learn(self, exchange: Exchange) -> None:
        """Answers the next ones as this one was, if it can be."""
        if exchange.repeat is not None:
            self._quick = QuickAnswers(exchange, exchange.repeat, *self._used, self._see_through)
