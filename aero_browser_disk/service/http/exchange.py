"""One request and all that belongs to it, as handlers get it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from copy import copy
from functools import partial
from typing import Protocol

from ..access.authorization import Action, Asked, AuthResult
from ..stores.image_store import MayRead
from .direct_response import Receive, Scope, Send
from .log_record import LogRecord
from .request import Request
from .responder import Responder
from .service_context import ServiceContext


class RangeResponse(Protocol):
    """What a handler responds to one range after another of the same version of an image."""

    @property
    def status(self) -> int:
        """The status of each response."""

    @property
    def form(self) -> bytes:
        """Its header lines, with `%d` where they differ."""

    def __call__(self, first: int, last: int) -> tuple[tuple[int, ...], bytes | memoryview] | None:
        """The numbers of `form` and the body for positions that may be in the wrong order, too far.

        None when it is not a response of that status, or would have to be waited for. The body is
        good until the next one is asked for, of whatever image.
        """

    def rest(self, numbers: tuple[int, ...], taken: int) -> Handler:
        """Sends what follows the first bytes of the body that was just given with these numbers."""


class Exchange:
    """The request, what its credentials are good for, what is logged of it, and the way to respond.

    `is_one_of_many`: more requests like it are to be expected; `repeat` answers them at once.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send, context: ServiceContext) -> None:
        self.request = Request(scope, receive, context)
        self.auth = AuthResult()
        self.record = LogRecord()
        self.responder = Responder(scope, send, self.request, self.record, context)
        self.is_one_of_many = False
        self.repeat: RangeResponse | None = None
        self._context = context

    def again(
        self, span: bytes, request_id: bytes, started_at: float, sent: int | None = None
    ) -> Exchange:
        """That of a request that differs in its range, the first and last position in `span`.

        Its response has the same status if `sent` bytes of its body are sent; else nothing is yet.
        It has to be connected.
        """
        other = copy(self)
        other.request = request = copy(self.request)
        request.headers = {**self.request.headers, "range": f"bytes={span.decode()}"}
        request.id = request_id.decode()
        other.record = LogRecord(started_at, body_bytes=sent or 0)
        if sent is not None:
            other.record.status = self.record.status
            other.record.range_result = self.record.range_result
        other.repeat = None
        return other

    def connect(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Says where its response goes."""
        self.request.connect(receive)
        is_private = self.responder.is_private
        self.responder = Responder(scope, send, self.request, self.record, self._context)
        self.responder.is_private = is_private

    @property
    def client(self) -> str:
        """Who it is to the limits."""
        grant = self.auth.grant
        return self.request.client_address if grant is None else grant.client

    @property
    def asked(self) -> Asked:
        """What the authorities look at."""
        request = self.request
        return Asked(request.headers, request.query, request.image_id, request.trusted_proxy)

    def may(self, action: Action) -> MayRead:
        """Which private images its credentials let it use so."""
        return partial(self.auth.allows, action)


# What answers an exchange.
Handler = Callable[[Exchange], Awaitable[None]]
