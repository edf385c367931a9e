"""One request and its answer, over plain ASGI: what every answer has in common is added here."""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import time
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager, contextmanager, suppress
from copy import copy
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, Final, Protocol
from urllib.parse import parse_qsl, unquote

from ..access.authorization import Action, Asked, AuthResult
from ..stores.image_store import MayRead, VersionChangedError
from .client_address import UNIX, TrustedProxies
from .cors import CorsPolicy
from .direct_answer import (
    EXTENSION,
    REFUSAL,
    DirectAnswer,
    EncodedFields,
    HeaderBlock,
    Receive,
    Scope,
    Send,
)

Fields = tuple[tuple[str, str], ...]

# Of every answer to a request that carried credentials, so that no cache hands it to another.
PRIVATE: Final = ("Cache-Control", "private, no-store, no-transform")
# What makes an address a signed one (see `signed_urls`).
SIGNATURE: Final = "sig"
# Bytes that are sent before others get their turn: about a fifth of a millisecond's worth.
_LONGEST_TURN: Final = 512 * 1024
_NONE: Final[Mapping[str, Any]] = {}
_WITHOUT_BODY: Final = ("GET", "HEAD", "OPTIONS")
_LONGEST_UNWANTED_BODY: Final = 1 << 20
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
# Ids have to differ, not to be secret.
_IDS: Final = random.Random(os.urandom(32))  # noqa: S311


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer that is held in memory."""

    status: int
    fields: Fields = ()
    body: bytes = b""


class HttpError(Exception):
    """Ends a request with a status and `{"error": {"code", "message", ...details}}`."""

    def __init__(
        self, status: int, code: str, message: str, fields: Fields = (), **details: object
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.fields = fields
        self.details = details

    @property
    def reply(self) -> Reply:
        """The answer that says so; nothing may store it."""
        said = {"error": {"code": self.code, "message": self.message, **self.details}}
        return Reply(
            self.status,
            (
                ("Content-Type", "application/json"),
                ("Cache-Control", "no-store"),
                *self.fields,
            ),
            json.dumps(said).encode(),
        )


class CutShortError(Exception):
    """The rest of a body cannot be sent: the connection must end before its length is reached."""


@contextmanager
def cutting_short(exchange: Exchange) -> Iterator[None]:
    """Makes what keeps a body from being read a `CutShortError`, once its status was sent."""
    try:
        yield
    except VersionChangedError:
        if exchange.status is None:
            raise
        raise CutShortError("the image changed") from None
    except OSError as error:
        if exchange.status is None:
            raise
        raise CutShortError(f"reading failed: {error.strerror}") from error


class RangeAnswer(Protocol):
    """What a handler answers to one range after another of the same version of an image."""

    @property
    def status(self) -> int:
        """The status of each answer."""

    @property
    def form(self) -> bytes:
        """Its header lines, with `%d` where they differ."""

    def __call__(self, first: int, last: int) -> tuple[tuple[int, ...], bytes | memoryview] | None:
        """The numbers of `form` and the body for positions that may be in the wrong order, too far.

        None when it is not an answer of that status, or would have to be waited for. The body is
        good until the next one is asked for, of whatever image.
        """

    def rest(self, numbers: tuple[int, ...], taken: int) -> Handler:
        """Sends what follows the first bytes of the body that was just given with these numbers."""


class Surroundings:
    """What holds for every exchange of a service.

    `always_private`: the server itself demands a certificate, so every request has credentials.
    `is_unix`: it listens on a Unix socket. `body_s`: how long the body of a request may take.
    """

    def __init__(
        self,
        cors: CorsPolicy,
        proxies: TrustedProxies,
        *,
        always_private: bool = False,
        is_unix: bool = False,
        body_s: float = 75,
    ) -> None:
        self.proxies = proxies
        self.body_s = body_s
        self.is_unix = is_unix
        self.always_private = always_private
        self._cors = cors
        self.common_fields = lru_cache(256)(self._common_fields)

    def _common_fields(self, origin: str | None, preflight_methods: str | None) -> HeaderBlock:
        """What all answers to the pages of an origin have in common."""
        return HeaderBlock.of(
            encoded(
                (
                    ("X-Content-Type-Options", "nosniff"),
                    ("Server", "aero-disk-service"),
                    *self._cors.fields(origin, preflight_methods),
                )
            )
        )


class Exchange:
    """A request with its headers by lower-case name, and the answer to it as far as it is sent."""

    def __init__(
        self, scope: Scope, receive: Receive, send: Send, surroundings: Surroundings
    ) -> None:
        self.method: str = scope["method"]
        root: str = scope.get("root_path", "")
        path: str = scope["path"]
        if b"%" in (scope.get("raw_path") or b""):
            path = _decoded_path(scope["raw_path"])
        self.path = path.removeprefix(root)
        self.raw_query: bytes = scope.get("query_string", b"")
        self.url_length = len(scope.get("raw_path") or path.encode()) + len(self.raw_query)
        self.headers: Mapping[str, str]
        self.headers, self.header_bytes = _read_headers(scope["headers"])
        # RFC 9112 §3.2; later versions of HTTP have no need of the field. granian makes up an empty
        # one where there is none.
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        self.names_host = (len(hosts) == 1 and hosts[0] != b"") or scope.get(
            "http_version"
        ) != "1.1"
        # Of what the server could not read as a request: status, code and message.
        self.refusal: tuple[int, str, str] | None = scope.get("extensions", _NONE).get(REFUSAL)
        # Over a Unix socket servers say nothing of the client, or what is no address.
        self.peer: str = UNIX if surroundings.is_unix else (scope.get("client") or ("",))[0]
        self.trusted_proxy = surroundings.proxies.trusts(self.peer)
        self.request_id = self._request_id()
        self.is_preflight = (
            self.method == "OPTIONS" and "access-control-request-method" in self.headers
        )
        self.started_at = time.monotonic()
        # What the router finds.
        self.route: str | None = None
        self.methods = ""
        self.parameters: Mapping[str, str] = {}
        self.image_id: str | None = None
        # What the gate finds, and who it is then to the limits.
        self.auth = AuthResult()
        self.has_credentials = surroundings.always_private or self._shows_credentials()
        # What the access log and the metrics say of it.
        self.status: int | None = None
        self.body_bytes = 0
        self._yielded_at = 0
        self.range_result: str | None = None
        self.cut: str | None = None
        # Waits as long as the client's allowance of bytes wants it to, before each piece.
        self.pace: Callable[[int], Awaitable[None]] | None = None
        # Whether more requests like it are to be expected, and what answers them at once.
        self.is_one_of_many = False
        self.repeat: RangeAnswer | None = None
        self._surroundings = surroundings
        self._body_read = False
        # By the loop's clock: when it has to be there.
        self._body_until: float | None = None
        self._is_http_1 = scope.get("http_version", "1.1").startswith("1")
        self.connect(scope, receive, send)

    def connect(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Says where its answer goes."""
        # How the server takes an answer that is not put into messages, if it does.
        self.direct: DirectAnswer | None = scope.get("extensions", _NONE).get(EXTENSION)
        self._receive = receive
        self._send = send

    def _request_id(self) -> str:
        """The trusted proxy's, if it has one, else a new one."""
        said = self.headers.get("x-request-id", "") if self.trusted_proxy else ""
        return said if _REQUEST_ID.fullmatch(said) else new_request_id().decode()

    def _shows_credentials(self) -> bool:
        return (
            "authorization" in self.headers
            or "cookie" in self.headers
            or (b"sig=" in self.raw_query and SIGNATURE in self.query)
        )

    def again(
        self, span: bytes, request_id: bytes, started_at: float, sent: int | None = None
    ) -> Exchange:
        """That of a request that differs in its range, the first and last position in `span`.

        Its answer has the same status if `sent` bytes of its body are sent; else nothing is yet.
        It has to be connected.
        """
        other = copy(self)
        if sent is None:
            other.status = other.range_result = None
        other.headers = {**self.headers, "range": f"bytes={span.decode()}"}
        other.request_id = request_id.decode()
        other.started_at = started_at
        other.body_bytes = other._yielded_at = sent or 0
        other.cut = other.pace = other.repeat = None
        return other

    @property
    def query(self) -> Mapping[str, str]:
        """The query's fields; of those that came twice the first."""
        return _read_query(self.raw_query)

    @property
    def client_address(self) -> str:
        """The client's own, as far as proxies can be trusted."""
        return self._surroundings.proxies.client(self.peer, self.headers.get("x-forwarded-for"))

    @property
    def client(self) -> str:
        """Who it is to the limits."""
        grant = self.auth.grant
        return self.client_address if grant is None else grant.client

    @property
    def asked(self) -> Asked:
        """What the authorities look at."""
        return Asked(self.headers, self.query, self.image_id, self.trusted_proxy)

    def may(self, action: Action) -> MayRead:
        """Which private images its credentials let it use so."""
        return partial(self.auth.allows, action)

    async def body(self, limit: int) -> bytes:
        """The request's body; raises a 413 beyond `limit` bytes, a 408, `CutShortError`."""
        body = b""
        try:
            while not self._body_read:
                body += await self._more_body()
                if len(body) > limit:
                    raise HttpError(
                        413,
                        "body_too_long",
                        f"The body may have {limit} bytes.",
                        max_body_bytes=limit,
                    )
        except TimeoutError:
            raise HttpError(408, "body_too_slow", "The body took too long.") from None
        return body

    async def _more_body(self) -> bytes:
        """The next piece of the body; raises `TimeoutError`, and `CutShortError` if it ends."""
        if self._body_until is None:
            self._body_until = asyncio.get_running_loop().time() + self._surroundings.body_s
        async with asyncio.timeout_at(self._body_until):
            message = await self._receive()
        if message["type"] == "http.disconnect":
            raise CutShortError("the client went away")
        self._body_read = not message.get("more_body", False)
        piece: bytes = message.get("body", b"")
        return piece

    async def _drain(self) -> bool:
        """Takes a body that nobody wants: a server may end the connection over an unread one.

        Not a long or slow one: whether it was read to its end.
        """
        left = _LONGEST_UNWANTED_BODY
        with suppress(TimeoutError, CutShortError):
            while not self._body_read and left > 0:
                left -= len(await self._more_body())
        return self._body_read

    async def reply(self, reply: Reply) -> None:
        """Sends a whole answer, with its length; to HEAD without its body."""
        fields = reply.fields
        if self.method not in _WITHOUT_BODY and not await self._drain() and self._is_http_1:
            fields = (*fields, ("Connection", "close"))
        # Neither has a body, and 204 may not have the field (RFC 9110 §8.6).
        if reply.status not in (204, 304):
            fields = (*fields, ("Content-Length", str(len(reply.body))))
        await self.start(reply.status, fields)
        await self.send(b"" if self.method == "HEAD" else reply.body, more=False)

    async def start(self, status: int, fields: Fields) -> None:
        """Sends the status and the headers, those of CORS and `nosniff` included."""
        await self.start_encoded(status, encoded(fields))

    async def start_encoded(self, status: int, fields: EncodedFields) -> None:
        """As `start`, of fields that were encoded before."""
        if self.has_credentials and ENCODED_PRIVATE not in fields:
            fields = (*(f for f in fields if f[0] != ENCODED_PRIVATE[0]), ENCODED_PRIVATE)
        self.status = status
        request_id = (b"x-request-id", self.request_id.encode())
        await self._send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [*fields, request_id, *self.common.fields],
            }
        )

    async def send(self, piece: bytes, *, more: bool) -> None:
        """Sends a piece of the body; returns when the server takes the next one."""
        if self.pace is not None and piece:
            await self.pace(len(piece))
        await self._send({"type": "http.response.body", "body": piece, "more_body": more})
        self.body_bytes += len(piece)
        if more:
            await self.take_turns()

    def send_directly(
        self, head: tuple[int, Sequence[bytes]], piece: bytes | memoryview, *, more: bool
    ) -> int:
        """As `start`, unless that was done, and `send`, to `direct`, which has to be writable.

        `head` is the status and header lines of the handler's own. Returns how much of the piece
        was taken, as `DirectAnswer.write` does.
        """
        assert self.direct is not None
        complete = None
        if self.status is None:
            self.status, lines = head
            request_id = b"x-request-id: %s\r\n" % self.request_id.encode()
            complete = self.status, (*lines, request_id, self.common.lines)
        taken = self.direct.write(complete, piece, more=more)
        self.body_bytes += taken
        return taken

    async def take_turns(self) -> None:
        """Lets others go on after a while: a client may be as fast as the reads."""
        if self.body_bytes - self._yielded_at >= _LONGEST_TURN:
            self._yielded_at = self.body_bytes
            await asyncio.sleep(0)

    @property
    def common(self) -> HeaderBlock:
        """The header fields that its answer has in common with all others."""
        return self._surroundings.common_fields(
            self.headers.get("origin"), self.methods if self.is_preflight else None
        )

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[Callable[[], bool]]:
        """Whether the client is gone, as a function: servers take pieces for it silently."""
        task = asyncio.create_task(self._disconnected())
        try:
            yield task.done
        finally:
            task.cancel()

    async def _disconnected(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass


# What answers an exchange.
Handler = Callable[[Exchange], Awaitable[None]]


def new_request_id() -> bytes:
    """An id that no other request has."""
    return b"%032x" % _IDS.getrandbits(128)


def _decoded_path(raw: bytes) -> str:
    """The path, but for slashes that are part of a name: `%2F` stays as it is (RFC 3986 §2.2)."""
    return unquote(re.sub("(?i)%2f", "%252F", raw.decode("latin-1")))


def encoded(fields: Fields) -> EncodedFields:
    """The fields as ASGI takes them."""
    return tuple(
        (name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in fields
    )


ENCODED_PRIVATE: Final = encoded((PRIVATE,))[0]


def _read_headers(raw: list[tuple[bytes, bytes]]) -> tuple[dict[str, str], int]:
    """The fields by lower-case name, and the bytes of all.

    The values of those that came twice are joined (RFC 9110 §5.3).
    """
    headers: dict[str, str] = {}
    length = 4 * len(raw)
    for raw_name, raw_value in raw:
        length += len(raw_name) + len(raw_value)
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers, length


# A signed address is asked for again and again.
@lru_cache(1024)
def _read_query(raw: bytes) -> Mapping[str, str]:
    fields: dict[str, str] = {}
    try:
        pairs = parse_qsl(raw.decode("latin-1"), keep_blank_values=True, max_num_fields=64)
    except ValueError:
        return {}
    for name, value in pairs:
        fields.setdefault(name, value)
    return fields
