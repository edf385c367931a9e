"""A remote image pinned to one version: its size, its ranges, no answer believed unchecked."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import re
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Literal
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

from .byte_ranges import ByteRange, ContentRange, EntityTag, parse_content_range, parse_http_date
from .errors import (
    EmptyImageError,
    HttpStatusError,
    ImageChangedError,
    InvalidResponseError,
    InvalidUrlError,
    NetworkError,
    RangeNotSupportedError,
    UnreadableHeaderError,
)
from .platform.base import Credentials, HttpClient, HttpResponse
from .redaction import redact_url

Deliver = Callable[[int, memoryview], None]
"""Takes a piece of the image: the offset of its first byte, and its bytes, which are its own."""

_LONGEST_VALIDATOR = 512
_MAX_AGE = re.compile(r'\bmax-age="?(\d+)', re.IGNORECASE)
_REVALIDATE = re.compile(r"\b(?:no-cache|no-store)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ImageVersion:
    """One immutable state of an image: its size in bytes and its validator.

    `validator` is a strong ETag as sent, else a Last-Modified date as sent, else empty: then two
    versions of equal size cannot be told apart.
    """

    size: int
    validator: str

    def __str__(self) -> str:
        return f"{self.validator or 'no validator'}, {self.size} bytes"


@dataclass(slots=True)
class Traffic:
    """What was asked of the image's host since the image was opened."""

    requests: int = 0
    in_flight: int = 0
    bytes_downloaded: int = 0


@dataclass(frozen=True, slots=True)
class ImageAddress:
    """Where an image is, and how to ask for it. What is secret in it stays in memory.

    `url` is the address without user info and fragment; user info becomes an `Authorization`
    header, since fetch refuses it in an address. `timeout_s` bounds the wait for the headers of an
    answer and for each further piece of its body.
    """

    url: str
    headers: Mapping[str, str]
    credentials: Credentials
    timeout_s: float

    @property
    def shown(self) -> str:
        """The address as it may be shown or logged."""
        return redact_url(self.url)

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
        plain = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment=""))
        return cls(
            plain, {**_basic_authorization(parts), **(headers or {})}, credentials, timeout_s
        )


class RemoteImage:
    """An image on a host, pinned to one version."""

    def __init__(
        self, http: HttpClient, address: ImageAddress, version: ImageVersion, traffic: Traffic
    ) -> None:
        self.version = version
        self.traffic = traffic
        self.fresh_for_s = 0.0
        """Seconds from the last answer in which the host vouches for this version."""
        self.changed = False
        """Whether the host was seen to have another version."""
        self._http = http
        self._address = address

    @classmethod
    async def probe(cls, http: HttpClient, address: ImageAddress) -> RemoteImage:
        """Asks the host for the size and the validator of an image, and pins them.

        By `HEAD`; where that is refused or does not tell, by a range request for the first byte.

        Raises `NetworkError`, `HttpStatusError`, `RangeNotSupportedError`, `EmptyImageError`,
        `InvalidResponseError` or `UnreadableHeaderError`.
        """
        image = cls(http, address, ImageVersion(0, ""), Traffic())
        image.version = await image._probe_by_head() or await image._probe_by_first_byte()
        return image

    async def fetch(self, span: ByteRange, deliver: Deliver) -> None:
        """Hands the bytes of `span` to `deliver`, in order, as they come in.

        Once it returns, all were delivered. When it raises, those that were are still right.

        Raises what `probe` does, and `ImageChangedError` when the host has another version; nothing
        of that was delivered.
        """
        async with self._request("GET", {"Range": span.header}) as response:
            self._check(response, span)
            offset = span.start
            while (piece := await self._read(response)) is not None:
                if offset + len(piece) > span.stop:
                    raise self._length_error(span, f"more than {span.length} bytes")
                deliver(offset, piece)
                offset += len(piece)
            if offset != span.stop:
                raise self._length_error(span, f"{offset - span.start} bytes")

    # ── probing ──────────────────────────────────────────────────────────────────────────────────

    async def _probe_by_head(self) -> ImageVersion | None:
        try:
            async with self._request("HEAD") as response:
                headers = response.headers
                length = headers.get("content-length", "")
                useful = response.status == 200 and length.isascii() and length.isdecimal()
                if not useful or _is_encoded(headers) or int(length) == 0:
                    return None
                if headers.get("accept-ranges", "").strip().lower() == "none":
                    raise RangeNotSupportedError(self._address.shown)
                self.fresh_for_s = freshness_s(headers)
                return ImageVersion(int(length), strong_validator(headers))
        except NetworkError:
            return None  # some hosts drop what they do not serve: the range request tells

    async def _probe_by_first_byte(self) -> ImageVersion:
        first = ByteRange(0, 1)
        async with self._request("GET", {"Range": first.header}) as response:
            empty = response.status == 200 and response.headers.get("content-length") == "0"
            if empty or _unsatisfied_size(response) == 0:
                raise EmptyImageError(self._address.shown)
            answered = self._content_range(response)
            self._check_span(response, answered, first)
            if answered.size is None:
                raise self._wrong("the size in Content-Range", "a number", "*")
            self.fresh_for_s = freshness_s(response.headers)
            return ImageVersion(answered.size, strong_validator(response.headers))

    # ── requests ─────────────────────────────────────────────────────────────────────────────────

    @contextlib.asynccontextmanager
    async def _request(
        self, method: Literal["GET", "HEAD"], headers: Mapping[str, str] | None = None
    ) -> AsyncIterator[HttpResponse]:
        address = self._address
        self.traffic.requests += 1
        self.traffic.in_flight += 1
        response = None
        try:
            async with self._time_limit():
                response = await self._http.request(
                    method, address.url, {**address.headers, **(headers or {})}, address.credentials
                )
            yield response
        finally:
            self.traffic.in_flight -= 1
            if response is not None:
                response.abort()

    async def _read(self, response: HttpResponse) -> memoryview | None:
        async with self._time_limit():
            piece = await response.read()
        self.traffic.bytes_downloaded += len(piece or b"")
        return piece

    @contextlib.asynccontextmanager
    async def _time_limit(self) -> AsyncIterator[None]:
        seconds = self._address.timeout_s
        try:
            async with asyncio.timeout(seconds):
                yield
        except TimeoutError as error:
            raise NetworkError(self._address.shown, f"nothing came for {seconds:g} s") from error

    # ── checks ───────────────────────────────────────────────────────────────────────────────────

    def _check(self, response: HttpResponse, span: ByteRange) -> None:
        """Raises unless the answer is `span` of the pinned version, whole and unencoded."""
        now = _unsatisfied_size(response)
        if now is not None and now != self.version.size:
            raise self._changed(f"{now} bytes")
        answered = self._content_range(response)
        found = ImageVersion(
            self.version.size if answered.size is None else answered.size,
            self._validator_of(response.headers),
        )
        if found != self.version:
            raise self._changed(str(found))
        if answered.size is None and not self.version.validator:
            raise self._wrong("the size in Content-Range", str(self.version.size), "*")
        self._check_span(response, answered, span)
        self.fresh_for_s = freshness_s(response.headers)

    def _content_range(self, response: HttpResponse) -> ContentRange:
        """What a single, unencoded part says it is (RFC 9110 §15.3.7); raises when it is none."""
        headers = response.headers
        if response.status == 200:
            raise RangeNotSupportedError(self._address.shown)
        if response.status != 206:
            raise HttpStatusError(self._address.shown, response.status)
        if headers.get("content-type", "").strip().lower().startswith("multipart/"):
            raise self._wrong("the answer", "one range", "several parts (multipart/byteranges)")
        if _is_encoded(headers):
            raise self._wrong("Content-Encoding", "absent", headers["content-encoding"])
        raw = headers.get("content-range")
        if raw is None:
            raise UnreadableHeaderError(self._address.shown, "Content-Range")
        try:
            return parse_content_range(raw)
        except ValueError:
            raise self._wrong("Content-Range", "well formed", raw) from None

    def _check_span(self, response: HttpResponse, answered: ContentRange, span: ByteRange) -> None:
        if answered.range != span:
            expected = ContentRange(span, answered.size)
            raise self._wrong("Content-Range", str(expected), str(answered))
        length = response.headers.get("content-length")
        if length is not None and length != str(span.length):
            raise self._length_error(span, f"{length} bytes")

    def _validator_of(self, headers: Mapping[str, str]) -> str:
        """The validator of an answer, of the kind that is pinned."""
        pinned = self.version.validator
        if pinned and not _is_entity_tag(pinned):
            return headers.get("last-modified", "").strip()
        return strong_validator(headers) if pinned else ""

    def _changed(self, found: str) -> ImageChangedError:
        self.changed = True
        return ImageChangedError(self._address.shown, str(self.version), found)

    def _wrong(self, what: str, expected: str, found: str) -> InvalidResponseError:
        return InvalidResponseError(self._address.shown, what, expected, found)

    def _length_error(self, span: ByteRange, found: str) -> InvalidResponseError:
        return self._wrong("the length of the answer", f"{span.length} bytes", found)


def strong_validator(headers: Mapping[str, str]) -> str:
    """What names a version in an answer: its strong ETag, else its Last-Modified, else nothing.

    A weak ETag proves nothing about bytes (RFC 9110 §8.8.1). Nor does one that is too long to keep.
    """
    etag = headers.get("etag", "").strip()
    if len(etag) <= _LONGEST_VALIDATOR and _is_entity_tag(etag) and not EntityTag.parse(etag).weak:
        return etag
    modified = headers.get("last-modified", "").strip()
    return modified if parse_http_date(modified) is not None else ""


def freshness_s(headers: Mapping[str, str]) -> float:
    """Seconds for which the host vouches for an answer (RFC 9111 §4.2.1); 0 when it does not."""
    policy = headers.get("cache-control", "")
    max_age = _MAX_AGE.search(policy)
    if max_age is None or _REVALIDATE.search(policy):
        return 0.0
    age = headers.get("age", "").strip()
    return max(0.0, float(max_age[1]) - (float(age) if age.isdecimal() else 0.0))


def _is_entity_tag(value: str) -> bool:
    try:
        EntityTag.parse(value)
    except ValueError:
        return False
    return True


def _is_encoded(headers: Mapping[str, str]) -> bool:
    return headers.get("content-encoding", "identity").strip().lower() not in ("", "identity")


def _unsatisfied_size(response: HttpResponse) -> int | None:
    """The size that a 416 tells, if it does (RFC 9110 §15.5.17)."""
    if response.status != 416:
        return None
    try:
        return parse_content_range(response.headers.get("content-range", "")).size
    except ValueError:
        return None


def _basic_authorization(parts: SplitResult) -> dict[str, str]:
    if parts.username is None:
        return {}
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
