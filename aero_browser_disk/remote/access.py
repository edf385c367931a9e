"""The address and the headers of an image, and how they are renewed when access ends."""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar
from urllib.parse import unquote, urlsplit, urlunsplit

from ..errors import HttpStatusError, InvalidOptionError, InvalidUrlError, RenewalError
from ..platform.base import Clock, Credentials
from ..platform.credential_headers import without_credentials
from ..platform.redaction import redact_url
from ..platform.web_url import WebUrl, parse_web_url

Result = TypeVar("Result")

_RENEWED_BEFORE_S = 15.0  # before expiry, so that a long request is not cut off
_WEB_SCHEME = re.compile(r"(?i)[\x00-\x20]*https?:")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 §5.6.2
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")  # RFC 9110 §5.5
_OWN_HEADERS = frozenset({"range", "if-range", "host", "content-length", "transfer-encoding"})


@dataclass(frozen=True, slots=True)
class ImageAddress:
    """The address of an image, and how to request it. Its secret parts stay in memory.

    `url` is the address in the form of the URL Standard, without user info and fragment; user info
    becomes an `Authorization` header, since fetch refuses it in an address. `timeout_s` bounds the
    wait for the headers of a response and for each further part of its body. `identity` names the
    cache of the image: the address as it was given, without user info and fragment.
    """

    url: str
    headers: Mapping[str, str] = field(repr=False)
    credentials: Credentials = "same-origin"
    timeout_s: float = 30.0
    identity: str = field(default="", repr=False)

    @property
    def shown(self) -> str:
        """The address as it may be shown or logged."""
        return redact_url(self.url)

    @property
    def web_url(self) -> WebUrl:
        """The parts of `url`."""
        parsed = parse_web_url(self.url)
        assert parsed is not None
        return parsed

    def sibling(self, url: str) -> ImageAddress:
        """The address of another document; headers and credentials are only sent to the same
        origin."""
        parsed = parse_web_url(url, self.url)
        if parsed is None:
            raise InvalidUrlError(redact_url(url), "it is not a well-formed URL.")
        if parsed.origin == self.web_url.origin:
            return replace(self, url=parsed.plain)
        return replace(self, url=parsed.plain, headers={}, credentials="omit")

    @classmethod
    def parse(
        cls,
        url: str,
        headers: Mapping[str, str] | None = None,
        credentials: Credentials = "same-origin",
        timeout_s: float = 30.0,
    ) -> ImageAddress:
        """Reads an address; raises `InvalidUrlError` when no image can be asked for there.

        Raises `InvalidOptionError` for invalid headers and for a `timeout_s` of 0 or less.
        """
        if not timeout_s > 0:
            raise InvalidOptionError("timeout_s", timeout_s, "above 0")
        parsed = parse_web_url(url)
        if parsed is None:
            well_formed = "it is not a well-formed URL."
            reason = (
                well_formed if _WEB_SCHEME.match(url) else "it must start with https:// or http://."
            )
            raise InvalidUrlError(redact_url(url), reason)
        given = _checked_headers(headers or {})
        if not any(name.lower() == "authorization" for name in given):
            given = {**_basic_authorization(parsed), **given}
        return cls(parsed.plain, given, credentials, timeout_s, _identity_of(url, parsed))


@dataclass(frozen=True, slots=True)
class RenewedAccess:
    """What a renewal returns: an address, headers if they change too, and when they expire.

    Without `headers` the old ones are sent; to another origin without credentials (`Authorization`,
    `Cookie`, `Proxy-Authorization`). `expires_at` is in seconds since the epoch; None when it is
    not known.
    """

    url: str
    headers: Mapping[str, str] | None = None
    expires_at: float | None = None


Renew = Callable[[], Awaitable[RenewedAccess]]


class Access:
    """The address to use now. `renew`, if given, is called before it expires and on refusal."""

    def __init__(
        self,
        address: ImageAddress,
        clock: Clock,
        renew: Renew | None = None,
        expires_at: float | None = None,
    ) -> None:
        self._address = address
        self._clock = clock
        self._renew = renew
        self._expires_at = expires_at
        self._renewal: asyncio.Future[None] | None = None

    def now(self) -> float:
        """Seconds since the epoch."""
        return self._clock.now()

    async def address(self) -> ImageAddress:
        """The address, renewed if it is about to expire.

        If the renewal fails, the old one is used: the server may still accept it, and if it
        refuses, `renewed` raises the reason.
        """
        ends = self._expires_at
        if self._renew and ends is not None and self._clock.now() > ends - _RENEWED_BEFORE_S:
            try:
                await self._renew_once()
            except Exception:  # noqa: BLE001 - whatever a renewal raises, the old address may still work
                self._expires_at = None  # from here on only a refusal renews it
        return self._address

    async def renewed(self, refused: ImageAddress) -> ImageAddress | None:
        """A renewed address in place of the one that the server refused.

        Raises what the renewal raises, and `RenewalError` when it takes longer than `timeout_s`.
        """
        if self._address is refused and self._renew is not None:
            await self._renew_once()
        return None if self._address is refused else self._address

    async def request(self, send: Callable[[ImageAddress], Awaitable[Result]]) -> Result:
        """What `send` returns for the address; after a refusal, once more for a renewed one.

        Raises what `send` does, `HttpStatusError` included where nothing renews, and what `renewed`
        does.
        """
        address = await self.address()
        try:
            return await send(address)
        except HttpStatusError as refusal:
            if refusal.status not in (401, 403):
                raise
            renewed = await self.renewed(address)
            if renewed is None:
                raise
            return await send(renewed)

    async def _renew_once(self) -> None:
        """Renews; concurrent calls wait for the same renewal."""
        if self._renewal is None:
            self._renewal = asyncio.ensure_future(self._take_renewal())
            self._renewal.add_done_callback(self._renewal_ended)
        await asyncio.shield(self._renewal)

    def _renewal_ended(self, renewal: asyncio.Future[None]) -> None:
        self._renewal = None
        if not renewal.cancelled():
            renewal.exception()  # retrieved, so that asyncio does not warn if nobody waited

    async def _take_renewal(self) -> None:
        assert self._renew is not None
        old = self._address
        try:
            async with asyncio.timeout(old.timeout_s):
                renewed = await self._renew()
        except TimeoutError as error:
            raise RenewalError(f"nothing came for {old.timeout_s:g} s.") from error
        new = ImageAddress.parse(renewed.url, renewed.headers, old.credentials, old.timeout_s)
        if renewed.headers is None:
            same = new.web_url.origin == old.web_url.origin
            kept = old.headers if same else without_credentials(old.headers)
            new = ImageAddress.parse(renewed.url, kept, old.credentials, old.timeout_s)
        self._address = new
        self._expires_at = renewed.expires_at


def _checked_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers of the caller; a value may be secret, so no error shows it."""
    given: Iterable[tuple[object, object]] = headers.items()
    for name, value in given:
        if not isinstance(name, str) or not _HEADER_NAME.fullmatch(name):
            raise InvalidOptionError("headers", name, "a header with a name of RFC 9110")
        if name.lower() in _OWN_HEADERS:
            raise InvalidOptionError("headers", name, "a header that the disk does not send itself")
        if not isinstance(value, str) or not _HEADER_VALUE.fullmatch(value):
            raise InvalidOptionError("headers", name, "a header whose value prints")
    return dict(headers)


def _basic_authorization(url: WebUrl) -> dict[str, str]:
    if not url.username and not url.password:
        return {}
    pair = f"{unquote(url.username)}:{unquote(url.password)}"
    return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}


def _identity_of(text: str, url: WebUrl) -> str:
    """The address as it was given: existing caches and overlays are named by it."""
    try:
        parts = urlsplit(text.strip())
        netloc = parts.netloc.rpartition("@")[2]
        given = urlunsplit(parts._replace(netloc=netloc, fragment=""))
        given.encode()
    except ValueError:
        return url.plain
    return given
