"""Who asks: an image's address and headers, and how they are renewed when they run out."""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

from ..errors import InvalidUrlError
from ..platform.base import Clock, Credentials
from ..platform.redaction import redact_url

_HOST = re.compile(r"[^\x00-\x20\x7f#%/:<>?@\[\\\]^|]+|[0-9a-fA-F:.]+")  # URL Standard, §3.1
_RENEWED_BEFORE_S = 15.0  # before its end, so that a request that takes a while is not cut off


@dataclass(frozen=True, slots=True)
class ImageAddress:
    """Where an image is, and how to ask for it. What is secret in it stays in memory.

    `url` is the address without user info and fragment; user info becomes an `Authorization`
    header, since fetch refuses it in an address. `timeout_s` bounds the wait for the headers of an
    answer and for each further piece of its body.
    """

    url: str
    headers: Mapping[str, str]
    credentials: Credentials = "same-origin"
    timeout_s: float = 30.0

    @property
    def shown(self) -> str:
        """The address as it may be shown or logged."""
        return redact_url(self.url)

    def beside(self, url: str) -> ImageAddress:
        """The address of another document of the host; elsewhere nothing is sent along."""
        if _origin(url) == _origin(self.url):
            return replace(self, url=url)
        return replace(self, url=url, headers={}, credentials="omit")

    @classmethod
    def parse(
        cls,
        url: str,
        headers: Mapping[str, str] | None = None,
        credentials: Credentials = "same-origin",
        timeout_s: float = 30.0,
    ) -> ImageAddress:
        """Reads an address; raises `InvalidUrlError` when no image can be asked for there."""
        try:
            parts = urlsplit(url.strip())
            host, _ = parts.hostname, parts.port
        except ValueError as error:
            raise InvalidUrlError(redact_url(url), "it is not a well-formed URL.") from error
        if parts.scheme not in ("http", "https"):
            raise InvalidUrlError(redact_url(url), "it must start with https:// or http://.")
        if not host:
            raise InvalidUrlError(redact_url(url), "it names no host.")
        if not _HOST.fullmatch(host):
            raise InvalidUrlError(redact_url(url), "its host has characters that none can have.")
        plain = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment=""))
        return cls(
            plain, {**_basic_authorization(parts), **(headers or {})}, credentials, timeout_s
        )


@dataclass(frozen=True, slots=True)
class Grant:
    """What a renewal gives: an address, headers if they change too, and until when they serve.

    `expires_at` is in seconds since the epoch; None when it is not known.
    """

    url: str
    headers: Mapping[str, str] | None = None
    expires_at: float | None = None


Renew = Callable[[], Awaitable[Grant]]


class Access:
    """The address to ask now. `renew`, if given, is called before it expires and on refusal."""

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

    async def address(self) -> ImageAddress:
        """The address, renewed if it is about to expire; raises what the renewal raises."""
        ends = self._expires_at
        if self._renew and ends is not None and self._clock.now() > ends - _RENEWED_BEFORE_S:
            await self._renew_once()
        return self._address

    async def renewed(self, refused: ImageAddress) -> ImageAddress | None:
        """Another address than the one that the host refused, if there is one to be had."""
        if self._address is refused and self._renew is not None:
            await self._renew_once()
        return None if self._address is refused else self._address

    async def _renew_once(self) -> None:
        """Renews; whoever asks meanwhile waits for the same renewal."""
        if self._renewal is None:
            self._renewal = asyncio.ensure_future(self._take_grant())
            self._renewal.add_done_callback(self._renewal_ended)
        await asyncio.shield(self._renewal)

    def _renewal_ended(self, renewal: asyncio.Future[None]) -> None:
        self._renewal = None
        if not renewal.cancelled():
            renewal.exception()  # who waited has it; asyncio is not to complain if nobody did

    async def _take_grant(self) -> None:
        assert self._renew is not None
        grant = await self._renew()
        old = self._address
        headers = old.headers if grant.headers is None else grant.headers
        self._address = ImageAddress.parse(grant.url, headers, old.credentials, old.timeout_s)
        self._expires_at = grant.expires_at


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc


def _basic_authorization(parts: SplitResult) -> dict[str, str]:
    if parts.username is None:
        return {}
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
