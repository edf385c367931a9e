"""A client's request: target, headers, credentials, and the body as it arrives."""

from __future__ import annotations

import asyncio
import os
import random
import re
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from typing import Any, Final
from urllib.parse import parse_qsl, unquote

from starlette.types import Receive, Scope

from .client_address import UNIX
from .direct_response import REFUSAL
from .response import CutShortError, HttpError
from .service_context import ServiceContext

# The query field that a signed URL has (see `signed_urls`).
SIGNATURE: Final = "sig"
_NONE: Final[Mapping[str, Any]] = {}
_MAX_UNWANTED_BODY: Final = 1 << 20
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
# Ids must differ; they need not be secret.
_IDS: Final = random.Random(os.urandom(32))  # noqa: S311


class Request:
    """A request, its headers by lower-case name."""

    def __init__(self, scope: Scope, receive: Receive, context: ServiceContext) -> None:
        self.method: str = scope["method"]
        path: str = scope["path"]
        if b"%" in (scope.get("raw_path") or b""):
            path = _decoded_path(scope["raw_path"])
        self.path = path.removeprefix(scope.get("root_path", ""))
        self.raw_query: bytes = scope.get("query_string", b"")
        self.url_length = len(scope.get("raw_path") or path.encode()) + len(self.raw_query)
        self.headers: Mapping[str, str]
        self.headers, self.header_bytes = _read_headers(scope["headers"])
        version: str = scope.get("http_version", "1")
        self.is_http_1 = version.startswith("1")
        # RFC 9112 §3.2; HTTP/2 does not need the field. granian makes up an empty one where it is
        # missing.
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        self.names_host = version != "1.1" or (len(hosts) == 1 and hosts[0] != b"")
        # Why the server could not parse the request: status, code and message.
        self.refusal: tuple[int, str, str] | None = scope.get("extensions", _NONE).get(REFUSAL)
        # Over a Unix socket servers report no client address, or an invalid one.
        self.peer: str = UNIX if context.is_unix else (scope.get("client") or ("",))[0]
        self.trusted_proxy = context.proxies.trusts(self.peer)
        self.id = self._id()
        self.is_preflight = (
            self.method == "OPTIONS" and "access-control-request-method" in self.headers
        )
        # Set by the route.
        self.route: str | None = None
        self.methods = ""
        self.parameters: Mapping[str, str] = {}
        self.image_id: str | None = None
        self._context = context
        self.receive = receive
        self._body_read = False
        # When the body must be complete, by the loop's clock.
        self._body_until: float | None = None

    def _id(self) -> str:
        """The id that a trusted proxy sent, else a new one."""
        given = self.headers.get("x-request-id", "") if self.trusted_proxy else ""
        return given if _REQUEST_ID.fullmatch(given) else new_request_id().decode()

    @property
    def has_credentials(self) -> bool:
        """Whether it has credentials, valid or not."""
        return (
            "authorization" in self.headers
            or "cookie" in self.headers
            or (b"sig=" in self.raw_query and SIGNATURE in self.query)
        )

    @property
    def query(self) -> Mapping[str, str]:
        """The query's fields; of repeated ones the first."""
        return _read_query(self.raw_query)

    @property
    def client_address(self) -> str:
        """The client's address, as far as the proxies are trusted."""
        return self._context.proxies.client(self.peer, self.headers.get("x-forwarded-for"))

    async def body(self, limit: int) -> bytes:
        """The request's body; raises a 413 beyond `limit` bytes, a 408, `CutShortError`."""
        # Not bytes: adding to them would copy all that is there each time.
        body = bytearray()
        try:
            while not self._body_read:
                body += await self._more_body()
                if len(body) > limit:
                    raise HttpError(
                        413,
                        "body_too_long",
                        f"The body is limited to {limit} bytes.",
                        max_body_bytes=limit,
                    )
        except TimeoutError:
            raise HttpError(408, "body_too_slow", "The body took too long.") from None
        return bytes(body)

    async def _more_body(self) -> bytes:
        """The next chunk of the body; raises `TimeoutError`, and `CutShortError` if it ends."""
        if self._body_until is None:
            self._body_until = asyncio.get_running_loop().time() + self._context.body_s
        async with asyncio.timeout_at(self._body_until):
            message = await self.receive()
        if message["type"] == "http.disconnect":
            raise CutShortError("the client disconnected")
        self._body_read = not message.get("more_body", False)
        chunk: bytes = message.get("body", b"")
        return chunk

    async def drain(self) -> bool:
        """Reads an unwanted body: a server may close the connection if it stays unread.

        Not a long or slow one: returns whether it was read to its end.
        """
        left = _MAX_UNWANTED_BODY
        with suppress(TimeoutError, CutShortError):
            while not self._body_read and left > 0:
                left -= len(await self._more_body())
        return self._body_read

    async def disconnected(self) -> None:
        """Returns when the client is gone."""
        while (await self.receive())["type"] != "http.disconnect":
            pass

    def connect(self, receive: Receive) -> None:
        """Sets where the rest of it comes from."""
        self.receive = receive


def new_request_id() -> bytes:
    """An id that no other request has."""
    return b"%032x" % _IDS.getrandbits(128)


def _decoded_path(raw: bytes) -> str:
    """The decoded path, except `%2F`, which is not a separator (RFC 3986 §2.2)."""
    return unquote(re.sub("(?i)%2f", "%252F", raw.decode("latin-1")))


def _read_headers(raw: list[tuple[bytes, bytes]]) -> tuple[dict[str, str], int]:
    """The fields by lower-case name, and their bytes. Repeated ones are joined (RFC 9110 §5.3)."""
    headers: dict[str, str] = {}
    length = 4 * len(raw)
    for raw_name, raw_value in raw:
        length += len(raw_name) + len(raw_value)
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers, length


# Signed URLs are requested repeatedly.
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
