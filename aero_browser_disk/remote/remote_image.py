"""A remote image pinned to one version: its size and its ranges. Every response is checked."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from ..errors import (
    EmptyImageError,
    HttpStatusError,
    ImageChangedError,
    InvalidResponseError,
    NetworkError,
    RangeNotSupportedError,
    UnreadableHeaderError,
)
from ..platform.base import HttpClient, HttpResponse
from ..platform.byte_range import ByteRange
from ..platform.stall_limit import StallLimit
from .access import Access, ImageAddress
from .byte_ranges import ContentRange, parse_content_range
from .numbers import MAX_IMAGE_SIZE, decimal_number
from .receiving import receive_by, stall_limit
from .response_headers import (
    freshness_s,
    is_encoded,
    is_entity_tag,
    parse_links,
    retry_after_s,
    strong_validator,
    unsatisfied_size,
    weak_validators,
)

_MAX_FOUND = 200  # characters of a header in an error

Deliver = Callable[[int, memoryview], None]
"""Takes a chunk of the image: the offset of its first byte, and its bytes, valid for the call."""


@dataclass(frozen=True, slots=True)
class ImageVersion:
    """One immutable state of an image: its size in bytes and its validator.

    `validator` is a strong ETag as sent, else a Last-Modified date as sent, else empty: then
    nothing proves that two versions of equal size are the same. See `strong_validator`.
    """

    size: int
    validator: str

    def __str__(self) -> str:
        return f"{self.validator or 'no validator'}, {self.size} bytes"


@dataclass(slots=True)
class Traffic:
    """The requests for an image since it was opened, and what they brought."""

    requests: int = 0
    in_flight: int = 0
    bytes_downloaded: int = 0


class RemoteImage:
    """An image on a server, pinned to one version."""

    def __init__(
        self, http: HttpClient, access: Access, version: ImageVersion, traffic: Traffic
    ) -> None:
        self.version = version
        self.traffic = traffic
        self.fresh_for_s = 0.0
        """Seconds for which the last response promises that this version is current."""
        self.changed = False
        """Whether a response was of another version."""
        self.confirmed = False
        """Whether a response was of this version since the image was opened."""
        self.links: Mapping[str, str] = {}
        """What the server offers with the image: addresses by relation type (RFC 8288)."""
        self._http = http
        self._receive = receive_by(http)
        self._access = access
        self._head_coding = ""
        self._weak: tuple[str, str] | None = None  # of an image whose date is too recent to pin

    @classmethod
    async def probe(cls, http: HttpClient, access: Access) -> RemoteImage:
        """Asks the server for the size and the validator of an image, and pins them.

        By `HEAD`; if that is refused or incomplete, by a range request for the first byte.

        Raises `NetworkError`, `HttpStatusError`, `RangeNotSupportedError`, `EmptyImageError`,
        `InvalidResponseError` or `UnreadableHeaderError`, and what the renewal of access raises.
        """
        image = cls(http, access, ImageVersion(0, ""), Traffic())
        image.version = await image._probe_by_head() or await image._probe_by_first_byte()
        return image

    async def fetch(self, byte_range: ByteRange, deliver: Deliver) -> None:
        """Hands the bytes of `byte_range` to `deliver`, in order, as they come in.

        When it returns, all bytes were delivered. When it raises, those delivered before are valid.

        Raises what `probe` does, and `ImageChangedError` when the server has another version;
        nothing of that was delivered.
        """
        self.traffic.in_flight += 1
        try:
            await self._access.request(
                lambda address: self._fetch_from(address, byte_range, deliver)
            )
        finally:
            self.traffic.in_flight -= 1

    async def download(self, begun: Callable[[int | None, str], None]) -> AsyncIterator[memoryview]:
        """All of the image in one response, from a server that serves no ranges.

        `begun` is called with the size in bytes, None if it is not sent, and the validator.
        Raises `NetworkError`, `HttpStatusError`, and `InvalidResponseError` for another length.
        """
        async with self._request("GET") as pending:
            address, response = pending.address, pending.response
            if response.status != 200:
                raise HttpStatusError(
                    address.shown, response.status, retry_after_s(response.headers)
                )
            length = decimal_number(response.headers.get("content-length", ""))
            size = None if is_encoded(response.headers) else length
            begun(size, strong_validator(response.headers, self._access.now()))
            received = 0
            while (chunk := await self._read(pending)) is not None:
                received += len(chunk)
                yield chunk
            if size is not None and received != size:
                raise _wrong(address, "the length of the response", str(size), str(received))

    async def fetch_document(self, url: str, max_bytes: int) -> bytes:
        """Downloads a small document of the image, with the image's headers.

        Raises what `fetch` does, and `InvalidResponseError` when it has more than `max_bytes`.
        Headers are only sent to the image's own origin.
        """
        async with self._request("GET", url=url) as pending:
            if pending.response.status != 200:
                raise HttpStatusError(pending.address.shown, pending.response.status)
            document = bytearray()
            while (chunk := await self._read(pending)) is not None:
                document += chunk
                if len(document) > max_bytes:
                    raise _wrong(
                        pending.address, "the document", f"at most {max_bytes} bytes", "larger"
                    )
            return bytes(document)

    async def fetch_sidecar(self, ending: str, max_bytes: int) -> bytes:
        """Downloads the small document next to the image whose name has this ending more.

        The query of the image's address is sent along. Raises as `fetch_document`.
        """
        parts = (await self._access.address()).web_url
        name = parts.path.rpartition("/")[2]
        return await self.fetch_document(f"./{name}{ending}{parts.query}", max_bytes)

    # ── probing ──────────────────────────────────────────────────────────────────────────────────

    async def _probe_by_head(self) -> ImageVersion | None:
        try:
            async with self._request("HEAD") as pending:
                address, response = pending.address, pending.response
                headers = response.headers
                length = decimal_number(headers.get("content-length", ""))
                self._head_coding = headers.get("content-encoding", "")
                if response.status != 200 or not length or is_encoded(headers):
                    return None
                if length > MAX_IMAGE_SIZE:
                    return None
                if headers.get("accept-ranges", "").strip().lower() == "none":
                    raise RangeNotSupportedError(address.shown)
                return self._version(address, length, headers)
        except NetworkError:
            return None  # some servers drop HEAD: the range request decides

    async def _probe_by_first_byte(self) -> ImageVersion:
        try:
            return await self._first_byte()
        except NetworkError as error:
            # Chromium shows nothing of a range that it cannot decode.
            if is_encoded({"content-encoding": self._head_coding}):
                address = await self._access.address()
                found = self._head_coding
                raise _wrong(address, "Content-Encoding", "absent", found) from error
            raise

    async def _first_byte(self) -> ImageVersion:
        first = ByteRange(0, 1)
        async with self._request("GET", {"Range": first.header}) as pending:
            address = pending.address
            status, headers = pending.response.status, pending.response.headers
            empty = status == 200 and headers.get("content-length") == "0"
            if empty or unsatisfied_size(status, headers) == 0:
                raise EmptyImageError(address.shown)
            content_range = _content_range(address, status, headers)
            _check_range(address, headers, content_range, first)
            if content_range.size is None:
                raise _wrong(address, "the size in Content-Range", "a number", "*")
            return self._version(address, content_range.size, headers)

    def _version(
        self, address: ImageAddress, size: int, headers: Mapping[str, str]
    ) -> ImageVersion:
        """The version in a response; notes what else it says about the image."""
        if size > MAX_IMAGE_SIZE:
            raise _wrong(address, "the size of the image", "at most 2^53 - 1 bytes", "larger")
        self.fresh_for_s = freshness_s(headers)
        self.links = parse_links(headers.get("link", ""), address.url)
        validator = strong_validator(headers, self._access.now())
        weak = weak_validators(headers)
        self._weak = weak if weak[1] and not validator else None
        return ImageVersion(size, validator)

    # ── requests ─────────────────────────────────────────────────────────────────────────────────

    @contextlib.asynccontextmanager
    async def _request(
        self,
        method: Literal["GET", "HEAD"],
        headers: Mapping[str, str] | None = None,
        url: str | None = None,
    ) -> AsyncIterator[_PendingResponse]:
        """The response to a request; after a refusal, to the same request with renewed access.

        Raises `NetworkError` when nothing comes for as long as the address allows.
        """
        self.traffic.in_flight += 1
        response = None
        try:
            address = await self._access.address()
            if url is not None:
                address = address.sibling(url)
            async with stall_limit(address) as limit:
                response = await self._send(address, method, headers or {})
                limit.moved()
                # HEAD may be refused although GET is allowed: an address may be signed for GET
                # alone.
                if response.status in (401, 403) and method == "GET" and url is None:
                    renewed = await self._access.renewed(address)
                    if renewed is not None:
                        response.abort()
                        address = renewed
                        response = await self._send(address, method, headers or {})
                        limit.moved()
                yield _PendingResponse(address, response, limit)
        finally:
            self.traffic.in_flight -= 1
            if response is not None:
                response.abort()

    async def _fetch_from(
        self, address: ImageAddress, byte_range: ByteRange, deliver: Deliver
    ) -> None:
        self.traffic.requests += 1
        arrival = _Arrival(self, address, byte_range, deliver)
        await self._receive(address, {"Range": byte_range.header}, arrival)
        arrival.check_end()

    async def _send(
        self, address: ImageAddress, method: Literal["GET", "HEAD"], headers: Mapping[str, str]
    ) -> HttpResponse:
        self.traffic.requests += 1
        return await self._http.request(
            method, address.url, {**address.headers, **headers}, address.credentials
        )

    async def _read(self, pending: _PendingResponse) -> memoryview | None:
        chunk = await pending.response.read()
        pending.limit.moved()
        self.traffic.bytes_downloaded += len(chunk or b"")
        return chunk

    # ── checks ───────────────────────────────────────────────────────────────────────────────────

    def check(
        self, address: ImageAddress, status: int, headers: Mapping[str, str], byte_range: ByteRange
    ) -> None:
        """Raises unless a response is `byte_range` of the pinned version, whole and unencoded."""
        now = unsatisfied_size(status, headers)
        if now is not None and now != self.version.size:
            raise self._changed(address, f"{now} bytes")
        content_range = _content_range(address, status, headers)
        found = ImageVersion(
            self.version.size if content_range.size is None else content_range.size,
            self._validator_of(headers),
        )
        if found != self.version:
            raise self._changed(address, str(found))
        if content_range.size is None and not self.version.validator:
            raise _wrong(address, "the size in Content-Range", str(self.version.size), "*")
        weak = self._weak and weak_validators(headers)
        if weak != self._weak:  # a difference proves a change, equality nothing
            raise self._changed(address, f"{' '.join(weak or ())}, {found.size} bytes")
        _check_range(address, headers, content_range, byte_range)
        self.fresh_for_s = freshness_s(headers)
        self.confirmed = True

    def _validator_of(self, headers: Mapping[str, str]) -> str:
        """The validator of a response, of the kind that is pinned."""
        pinned = self.version.validator
        if pinned and headers.get("etag") == pinned:
            return pinned  # the usual case, which needs no parsing
        if pinned and not is_entity_tag(pinned):
            return headers.get("last-modified", "").strip()
        return strong_validator(headers, self._access.now()) if pinned else ""

    def _changed(self, address: ImageAddress, found: str) -> ImageChangedError:
        self.changed = True
        return ImageChangedError(address.shown, str(self.version), found)


@dataclass(frozen=True, slots=True)
class _PendingResponse:
    address: ImageAddress
    response: HttpResponse
    limit: StallLimit


class _Arrival:
    """Receives a range of a pinned image; checks the response before any of it is delivered."""

    def __init__(
        self, image: RemoteImage, address: ImageAddress, byte_range: ByteRange, deliver: Deliver
    ) -> None:
        self._image = image
        self._address = address
        self._byte_range = byte_range
        self._deliver = deliver
        self._offset = byte_range.start

    def head(self, status: int, headers: Mapping[str, str]) -> None:
        self._image.check(self._address, status, headers, self._byte_range)

    def chunk(self, data: memoryview) -> None:
        offset, byte_range = self._offset, self._byte_range
        self._image.traffic.bytes_downloaded += len(data)
        self._offset = offset + len(data)
        if self._offset > byte_range.stop:
            raise _length_error(self._address, byte_range, f"more than {byte_range.length} bytes")
        self._deliver(offset, data)

    def check_end(self) -> None:
        """Raises unless all of the range came."""
        if self._offset != self._byte_range.stop:
            found = f"{self._offset - self._byte_range.start} bytes"
            raise _length_error(self._address, self._byte_range, found)


def _content_range(address: ImageAddress, status: int, headers: Mapping[str, str]) -> ContentRange:
    """The Content-Range of a response with one unencoded range (RFC 9110 §15.3.7); raises for any
    other."""
    if status == 200:
        raise RangeNotSupportedError(address.shown)
    if status != 206:
        raise HttpStatusError(address.shown, status, retry_after_s(headers))
    if headers.get("content-type", "").strip().lower().startswith("multipart/"):
        raise _wrong(address, "the response", "one range", "several parts (multipart/byteranges)")
    if is_encoded(headers):
        raise _wrong(address, "Content-Encoding", "absent", headers["content-encoding"])
    raw = headers.get("content-range")
    if raw is None:
        raise UnreadableHeaderError(address.shown, "Content-Range")
    try:
        return parse_content_range(raw)
    except ValueError:
        raise _wrong(address, "Content-Range", "well formed", raw) from None


def _check_range(
    address: ImageAddress,
    headers: Mapping[str, str],
    content_range: ContentRange,
    byte_range: ByteRange,
) -> None:
    """Raises unless the response is all of `byte_range`."""
    if content_range.range != byte_range:
        expected = ContentRange(byte_range, content_range.size)
        raise _wrong(address, "Content-Range", str(expected), str(content_range))
    length = headers.get("content-length")
    if length is not None and length != str(byte_range.length):
        raise _length_error(address, byte_range, f"{length} bytes")


def _wrong(address: ImageAddress, what: str, expected: str, found: str) -> InvalidResponseError:
    return InvalidResponseError(address.shown, what, expected, found[:_MAX_FOUND])


def _length_error(address: ImageAddress, byte_range: ByteRange, found: str) -> InvalidResponseError:
    return _wrong(address, "the length of the response", f"{byte_range.length} bytes", found)
