"""One request and everything that handlers need for it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from copy import copy
from functools import partial
from typing import Final, Protocol

from starlette.types import Receive, Scope, Send

from ..access.authorization import Action, AuthRequest, AuthResult
from ..stores.image_store import MayRead
from .log_record import LogRecord
from .request import Request
from .responder import Responder
from .service_context import ServiceContext

_NOBODY: Final = AuthResult()


class RangeResponse(Protocol):
    """Responds to one range after another of the same version of an image."""

    @property
    def status(self) -> int:
        """The status of each response."""

    @property
    def form(self) -> bytes:
        """Its header lines, with `%d` where they differ."""

    def __call__(self, first: int, last: int) -> tuple[tuple[int, ...], bytes | memoryview] | None:
        """The numbers of `form` and the body of that range, which is unchecked.

        None if the response has another status or takes time. The body is valid until the next
        call, for any image.
        """

    def rest(self, numbers: tuple[int, ...], taken: int) -> Handler:
        """Sends the rest of the body just returned with these numbers, after `taken` bytes."""


class Exchange:
    """The request, its authorization, its log record, its responder, and the limits to count it in.

    `is_one_of_many`: more requests like it are expected; `repeat` responds to them at once.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send, context: ServiceContext) -> None:
        self.request = Request(scope, receive, context)
        self.auth = AuthResult()
        self.record = LogRecord()
        self.responder = Responder(scope, send, self.request, self.record, context)
        self.is_one_of_many = False
        self.repeat: RangeResponse | None = None
        self.limits = context.limits
        self._context = context

    def again(
        self, byte_range: bytes, request_id: bytes, started_at: float, sent: int | None = None
    ) -> Exchange:
        """The exchange of the same request with another range (`0-511`). Call `connect` next.

        `sent`: the bytes of its body that are sent, with the same status; None if nothing is.
        """
        other = copy(self)
        other.request = request = copy(self.request)
        request.headers = {**self.request.headers, "range": f"bytes={byte_range.decode()}"}
        request.id = request_id.decode()
        other.record = LogRecord(started_at, body_bytes=sent or 0)
        if sent is not None:
            other.record.status = self.record.status
            other.record.range_result = self.record.range_result
        other.repeat = None
        return other

    def connect(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sets where its response goes."""
        self.request.connect(receive)
        is_private = self.responder.is_private
        self.responder = Responder(scope, send, self.request, self.record, self._context)
        self.responder.is_private = is_private

    @property
    def client(self) -> str:
        """The client's name for the limits."""
        grant = self.auth.grant
        return self.request.client_address if grant is None else grant.client

    async def authorize(self) -> None:
        """Examines its credentials; the result is `auth`."""
        if self._context.gate.is_configured:
            self.auth = await self._context.gate.examine(self.auth_request)
            # An identity from a proxy is a credential too.
            self.responder.is_private |= self.auth != _NOBODY

    @property
    def auth_request(self) -> AuthRequest:
        """The part that the authorities examine."""
        request = self.request
        return AuthRequest(request.headers, request.query, request.image_id, request.trusted_proxy)

    def may(self, action: Action) -> MayRead:
        """Which private images its credentials allow for the action."""
        return partial(self.auth.allows, action)


# Responds to an exchange.
Handler = Callable[[Exchange], Awaitable[None]]
