"""A remote image pinned to one version: its size, its ranges, no answer believed unchecked."""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urljoin

from .access import Access, ImageAddress
from .byte_ranges import ByteRange, ContentRange, EntityTag, parse_content_range, parse_http_date
from .errors import (
    EmptyImageError,
    HttpStatusError,
    ImageChangedError,
    InvalidResponseError,
    NetworkError,
    RangeNotSupportedError,
    UnreadableHeaderError,
)
from .platform.base import HttpClient, HttpResponse
from .stall_limit import StallLimit

Deliver = Callable[[int, memoryview], None]
"""Takes a piece of the image: the offset of its first byte, and its bytes, which are its own."""

_LONGEST_VALIDATOR = 512
_LINK = re.compile(r"<([^>]*)>([^,<]*)")
_RELATION = re.compile(r';\s*rel\s*=\s*(?:"([^"]*)"|([^\s;,"]+))', re.IGNORECASE)
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


class RemoteImage:
    """An image on a host, pinned to one version."""

    def __init__(
        self, http: HttpClient, access: Access, version: ImageVersion, traffic: Traffic
    ) -> None:
        self.version = version
        self.traffic = traffic
        self.fresh_for_s = 0.0
        """Seconds from the last answer in which the host vouches for this version."""
        self.changed = False
        """Whether the host was seen to have another version."""
        self.confirmed = False
        """Whether the host was seen to have this version since the image was opened."""
        self.links: Mapping[str, str] = {}
        """What the host offers beside the image: addresses by relation type (RFC 8288)."""
        self._http = http
        self._access = access
        self._head_coding = ""

    @classmethod
    async def probe(cls, http: HttpClient, access: Access) -> RemoteImage:
        """Asks the host for the size and the validator of an image, and pins them.

        By `HEAD`; where that is refused or does not tell, by a range request for the first byte.

        Raises `NetworkError`, `HttpStatusError`, `RangeNotSupportedError`, `EmptyImageError`,
        `InvalidResponseError` or `UnreadableHeaderError`, and what the renewal of access raises.
        """
        image = cls(http, access, ImageVersion(0, ""), Traffic())
        image.version = await image._probe_by_head() or await image._probe_by_first_byte()
        return image

    async def fetch(self, span: ByteRange, deliver: Deliver) -> None:
        """Hands the bytes of `span` to `deliver`, in order, as they come in.

        Once it returns, all were delivered. When it raises, those that were are still right.

        Raises what `probe` does, and `ImageChangedError` when the host has another version; nothing
        of that was delivered.
        """
        async with self._request("GET", {"Range": span.header}) as answer:
            address = answer.address
            self._check(address, answer.response, span)
            offset = span.start
            while (piece := await self._read(answer)) is not None:
                if offset + len(piece) > span.stop:
                    raise _length_error(address, span, f"more than {span.length} bytes")
                deliver(offset, piece)
                offset += len(piece)
            if offset != span.stop:
                raise _length_error(address, span, f"{offset - span.start} bytes")

    async def download(self, begun: Callable[[int | None, str], None]) -> AsyncIterator[memoryview]:
        """All of the image in one answer, from a host that serves no ranges.

        `begun` is told the size in bytes, None if the host does not tell it, and the validator.
        Raises `NetworkError`, `HttpStatusError`, and `InvalidResponseError` for another length.
        """
        async with self._request("GET") as answer:
            address, response = answer.address, answer.response
            if response.status != 200:
                raise HttpStatusError(
                    address.shown, response.status, retry_after_s(response.headers)
                )
            length = response.headers.get("content-length", "")
            known = length.isascii() and length.isdecimal() and not _is_encoded(response.headers)
            size = int(length) if known else None
            begun(size, strong_validator(response.headers))
            received = 0
            while (piece := await self._read(answer)) is not None:
                received += len(piece)
                yield piece
            if size is not None and received != size:
                raise _wrong(address, "the length of the answer", length, str(received))

    async def fetch_document(self, url: str, most_bytes: int) -> bytes:
        """A small document beside the image, asked for as the image is.

        Raises what `fetch` does, and `InvalidResponseError` when it has more than `most_bytes`.
        Access is only sent along to the image's own origin.
        """
        async with self._request("GET", url=url) as answer:
            if answer.response.status != 200:
                raise HttpStatusError(answer.address.shown, answer.response.status)
            document = bytearray()
            while (piece := await self._read(answer)) is not None:
                document += piece
                if len(document) > most_bytes:
                    raise _wrong(
                        answer.address, "the document", f"at most {most_bytes} bytes", "larger"
                    )
            return bytes(document)

    # ── probing ──────────────────────────────────────────────────────────────────────────────────

    async def _probe_by_head(self) -> ImageVersion | None:
        try:
            async with self._request("HEAD") as answer:
                address, response = answer.address, answer.response
                headers = response.headers
                length = headers.get("content-length", "")
                self._head_coding = headers.get("content-encoding", "")
                useful = response.status == 200 and length.isascii() and length.isdecimal()
                if not useful or _is_encoded(headers) or int(length) == 0:
                    return None
                if headers.get("accept-ranges", "").strip().lower() == "none":
                    raise RangeNotSupportedError(address.shown)
                self._note(address, headers)
                return ImageVersion(int(length), strong_validator(headers))
        except NetworkError:
            return None  # some hosts drop what they do not serve: the range request tells

    async def _probe_by_first_byte(self) -> ImageVersion:
        try:
            return await self._first_byte()
        except NetworkError as error:
            # Chromium shows nothing of a range that it cannot decode.
            if _is_encoded({"content-encoding": self._head_coding}):
                address = await self._access.address()
                found = self._head_coding
                raise _wrong(address, "Content-Encoding", "absent", found) from error
            raise

    async def _first_byte(self) -> ImageVersion:
        first = ByteRange(0, 1)
        async with self._request("GET", {"Range": first.header}) as answer:
            address, response = answer.address, answer.response
            empty = response.status == 200 and response.headers.get("content-length") == "0"
            if empty or _unsatisfied_size(response) == 0:
                raise EmptyImageError(address.shown)
            answered = _content_range(address, response)
            _check_span(address, response, answered, first)
            if answered.size is None:
                raise _wrong(address, "the size in Content-Range", "a number", "*")
            self._note(address, response.headers)
            return ImageVersion(answered.size, strong_validator(response.headers))

    def _note(self, address: ImageAddress, headers: Mapping[str, str]) -> None:
        self.fresh_for_s = freshness_s(headers)
        self.links = parse_links(headers.get("link", ""), address.url)

    # ── requests ─────────────────────────────────────────────────────────────────────────────────

    @contextlib.asynccontextmanager
    async def _request(
        self,
        method: Literal["GET", "HEAD"],
        headers: Mapping[str, str] | None = None,
        url: str | None = None,
    ) -> AsyncIterator[_Answer]:
        """An answer to a request, or after a refusal to the same with renewed access.

        Raises `NetworkError` when nothing comes for as long as the address allows.
        """
        self.traffic.in_flight += 1
        response = None
        try:
            address = await self._access.address()
            if url is not None:
                address = address.beside(url)
            async with _stall_limit(address) as limit:
                response = await self._send(address, method, headers or {})
                limit.moved()
                if response.status in (401, 403) and url is None:
                    renewed = await self._access.renewed(address)
                    if renewed is not None:
                        response.abort()
                        address = renewed
                        response = await self._send(address, method, headers or {})
                        limit.moved()
                yield _Answer(address, response, limit)
        finally:
            self.traffic.in_flight -= 1
            if response is not None:
                response.abort()

    async def _send(
        self, address: ImageAddress, method: Literal["GET", "HEAD"], headers: Mapping[str, str]
    ) -> HttpResponse:
        self.traffic.requests += 1
        return await self._http.request(
            method, address.url, {**address.headers, **headers}, address.credentials
        )

    async def _read(self, answer: _Answer) -> memoryview | None:
        piece = await answer.response.read()
        answer.limit.moved()
        self.traffic.bytes_downloaded += len(piece or b"")
        return piece

    # ── checks ───────────────────────────────────────────────────────────────────────────────────

    def _check(self, address: ImageAddress, response: HttpResponse, span: ByteRange) -> None:
        """Raises unless the answer is `span` of the pinned version, whole and unencoded."""
        now = _unsatisfied_size(response)
        if now is not None and now != self.version.size:
            raise self._changed(address, f"{now} bytes")
        answered = _content_range(address, response)
        found = ImageVersion(
            self.version.size if answered.size is None else answered.size,
            self._validator_of(response.headers),
        )
        if found != self.version:
            raise self._changed(address, str(found))
        if answered.size is None and not self.version.validator:
            raise _wrong(address, "the size in Content-Range", str(self.version.size), "*")
        _check_span(address, response, answered, span)
        self.fresh_for_s = freshness_s(response.headers)
        self.confirmed = True

    def _validator_of(self, headers: Mapping[str, str]) -> str:
        """The validator of an answer, of the kind that is pinned."""
        pinned = self.version.validator
        if pinned and not _is_entity_tag(pinned):
            return headers.get("last-modified", "").strip()
        return strong_validator(headers) if pinned else ""

    def _changed(self, address: ImageAddress, found: str) -> ImageChangedError:
        self.changed = True
        return ImageChangedError(address.shown, str(self.version), found)


@dataclass(frozen=True, slots=True)
class _Answer:
    address: ImageAddress
    response: HttpResponse
    limit: StallLimit


@contextlib.asynccontextmanager
async def _stall_limit(address: ImageAddress) -> AsyncIterator[StallLimit]:
    try:
        async with StallLimit(address.timeout_s) as limit:
            yield limit
    except TimeoutError as error:
        raise NetworkError(address.shown, f"nothing came for {address.timeout_s:g} s") from error


def _content_range(address: ImageAddress, response: HttpResponse) -> ContentRange:
    """What a single, unencoded part says it is (RFC 9110 §15.3.7); raises when it is none."""
    headers = response.headers
    if response.status == 200:
        raise RangeNotSupportedError(address.shown)
    if response.status != 206:
        raise HttpStatusError(address.shown, response.status, retry_after_s(headers))
    if headers.get("content-type", "").strip().lower().startswith("multipart/"):
        raise _wrong(address, "the answer", "one range", "several parts (multipart/byteranges)")
    if _is_encoded(headers):
        raise _wrong(address, "Content-Encoding", "absent", headers["content-encoding"])
    raw = headers.get("content-range")
    if raw is None:
        raise UnreadableHeaderError(address.shown, "Content-Range")
    try:
        return parse_content_range(raw)
    except ValueError:
        raise _wrong(address, "Content-Range", "well formed", raw) from None


def _check_span(
    address: ImageAddress, response: HttpResponse, answered: ContentRange, span: ByteRange
) -> None:
    """Raises unless the answer is all of `span`."""
    if answered.range != span:
        expected = ContentRange(span, answered.size)
        raise _wrong(address, "Content-Range", str(expected), str(answered))
    length = response.headers.get("content-length")
    if length is not None and length != str(span.length):
        raise _length_error(address, span, f"{length} bytes")


def _wrong(address: ImageAddress, what: str, expected: str, found: str) -> InvalidResponseError:
    return InvalidResponseError(address.shown, what, expected, found)


def _length_error(address: ImageAddress, span: ByteRange, found: str) -> InvalidResponseError:
    return _wrong(address, "the length of the answer", f"{span.length} bytes", found)


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


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """How long the host asks to be left alone (RFC 9110 §10.2.3), if it says so in seconds.

    A date would be measured with two clocks, so it is not used.
    """
    value = headers.get("retry-after", "").strip()
    return float(value) if value.isascii() and value.isdecimal() and len(value) < 9 else None


def parse_links(value: str, base: str) -> dict[str, str]:
    """The targets of a Link header by relation type, as whole URLs (RFC 8288 §3)."""
    links: dict[str, str] = {}
    for target, parameters in _LINK.findall(value):
        relation = _RELATION.search(parameters)
        if relation:
            for name in (relation[1] or relation[2]).split():
                links.setdefault(name, urljoin(base, target))
    return links


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
