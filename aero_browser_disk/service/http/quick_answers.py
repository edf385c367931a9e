"""Answers to requests that are like one before, at once: what was found out then stays."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Final

from ..access.authorization import Asked, Gate
from .access_log import AccessLog
from .client_limits import ClientLimits
from .direct_answer import Application, Receive, RepeatedAnswer, Scope, Send
from .exchange import Exchange, Handler, RangeResponse
from .metrics import Metrics

# What differs; whoever goes by these has to be asked in the ordinary way.
_VARYING: Final = frozenset(("range", "x-request-id"))

# Has an exchange answered, counted and logged.
SeeThrough = Callable[[Exchange, Handler], Awaitable[None]]


class QuickAnswers:
    """Answers by `answer` requests that are like that of `exchange`, which is over.

    Who may read and how much, the image and its version are looked at each time. Conditions are
    not: they are the same, and so is what they are compared with.
    """

    __slots__ = (
        "_answer",
        "_asked",
        "_auth",
        "_client",
        "_exchange",
        "_form",
        "_gate",
        "_limits",
        "_measure",
        "_note",
        "_see_through",
    )

    def __init__(
        self,
        exchange: Exchange,
        answer: RangeResponse,
        log: AccessLog,
        metrics: Metrics | None,
        gate: Gate,
        limits: ClientLimits | None,
        see_through: SeeThrough,
    ) -> None:
        self._exchange = exchange
        self._see_through = see_through
        self._answer = answer
        self._gate = gate
        self._limits = limits
        self._client = exchange.client
        self._auth = exchange.auth
        same = {
            name: text for name, text in exchange.request.headers.items() if name not in _VARYING
        }
        self._asked = Asked(
            same, exchange.request.query, exchange.request.image_id, exchange.request.trusted_proxy
        )
        common = exchange.responder.common.lines.replace(b"%", b"%%")
        self._form = answer.form + b"x-request-id: %b\r\n" + common + b"\r\n"
        self._note = log.repeated(exchange)
        self._measure = None if metrics is None else metrics.repeated(exchange)

    def __call__(
        self, span: bytes, request_id: bytes, started_at: float, answer: RepeatedAnswer
    ) -> bool:
        """Begins `answer`, or does nothing and says False: it takes time, or is another one.

        `span` is the first and last position of the range; `started_at` is of the monotonic clock.
        """
        if self._limits is not None and not self._limits.allows_at_once(self._client):
            return False
        # Credentials may have ended, and keys may have changed.
        if self._gate.is_configured and not self._finds_the_same():
            return False
        first, last = span.split(b"-")
        answered = self._answer(int(first), int(last))
        if answered is None:
            return False
        numbers, body = answered
        lines = self._form % (*numbers, request_id)
        taken = answer.begin(self._answer.status, lines, body)
        if taken < len(body):
            exchange = self._exchange.again(span, request_id, started_at, taken)
            rest = self._finishing(exchange, self._answer.rest(numbers, taken))
            answer.go_on(rest, is_begun=True)
            return True
        took_s = time.monotonic() - started_at
        self._note(span, len(body), took_s * 1000, request_id)
        if self._measure is not None:
            self._measure(len(body), took_s)
        return True

    def _finishing(self, exchange: Exchange, rest: Handler) -> Application:
        """What sends the rest of an answer that is under way, and counts as any other does."""
        release = None if self._limits is None else self._limits.hold(self._client)

        async def finish(scope: Scope, receive: Receive, send: Send) -> None:
            exchange.connect(scope, receive, send)
            try:
                await self._see_through(exchange, rest)
            finally:
                if release is not None:
                    release()

        return finish

    def _finds_the_same(self) -> bool:
        """Whether the credentials come to what they came to before; False if that takes time."""
        examination = self._gate.examine(self._asked)
        try:
            examination.send(None)
        except StopIteration as done:
            return bool(done.value == self._auth)
        examination.close()
        return False
