"""Makes the response to a request under a behaviour, without a connection."""

from __future__ import annotations

import gzip
import re
from dataclasses import dataclass, replace
from email.utils import formatdate, parsedate_to_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .behaviour import Behaviour
    from .image_content import ServedContent, ServedVersion

SHIFT = 512
BOUNDARY = "aero-test-boundary"
EXPOSED_HEADERS = (
    "Accept-Ranges, Content-Encoding, Content-Length, Content-Range, Content-Type, Date, ETag, "
    "Link, Last-Modified, Retry-After"
)
# What web/guide/servers.md asks for, and no more.
DOCUMENTED_HEADERS = "Content-Range, ETag, Accept-Ranges"


@dataclass(frozen=True, slots=True)
class RequestHead:
    """The head of a request. `headers` by lower-case name."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Body:
    """`before`, then the image's bytes from `start` to `stop`, then `after`."""

    before: bytes = b""
    content: ServedContent | None = None
    start: int = 0
    stop: int = 0
    after: bytes = b""
    corrupt_at: int | None = None

    @property
    def length(self) -> int:
        """Bytes in all."""
        return len(self.before) + self.stop - self.start + len(self.after)

    def read(self, position: int, length: int) -> bytes:
        """At most `length` bytes from `position` in the body; none only at its end."""
        if position < len(self.before):
            return self.before[position : position + length]
        offset = self.start + position - len(self.before)
        if offset < self.stop:
            return self._image_bytes(offset, min(length, self.stop - offset))
        return self.after[offset - self.stop :][:length]

    def _image_bytes(self, offset: int, length: int) -> bytes:
        assert self.content is not None
        data = self.content.read(offset, length)
        if self.corrupt_at is None or not offset <= self.corrupt_at < offset + len(data):
            return data
        damaged = bytearray(data)
        damaged[self.corrupt_at - offset] ^= 0xFF
        return bytes(damaged)

    def read_all(self) -> bytes:
        """All of it, in memory."""
        parts, position = [], 0
        while part := self.read(position, self.length - position):
            parts.append(part)
            position += len(part)
        return b"".join(parts)


@dataclass(frozen=True, slots=True)
class ServedResponse:
    """A response. `headers` are in the order of sending; the body is sent unless `head_only`."""

    status: int
    headers: Mapping[str, str]
    body: Body
    head_only: bool = False


def image_response(
    request: RequestHead, version: ServedVersion, behaviour: Behaviour, count: int
) -> ServedResponse:
    """The response to a request for an image. `count` varies what must differ each time."""
    if request.method == "OPTIONS":
        return _preflight(request, behaviour)
    head = request.method == "HEAD"
    if head and behaviour.head_status is not None:
        return _text(behaviour.head_status, request, behaviour)
    if behaviour.status is not None:
        return _text(behaviour.status, request, behaviour, _retry_after(behaviour))
    if behaviour.redirect_status is not None:
        location = {"Location": behaviour.redirect_to}
        return _text(behaviour.redirect_status, request, behaviour, location)
    if request.method not in ("GET", "HEAD"):
        return _text(405, request, behaviour, {"Allow": "GET, HEAD, OPTIONS"})
    return _bytes_response(request, version, behaviour, count)


def text_response(status: int, request: RequestHead, behaviour: Behaviour) -> ServedResponse:
    """A status with its name for a body."""
    return _text(status, request, behaviour)


def _bytes_response(
    request: RequestHead, version: ServedVersion, behaviour: Behaviour, count: int
) -> ServedResponse:
    size = version.content.size
    validators = _validators(version, behaviour, count)
    status = _failed_precondition(request.headers, validators)
    if status is not None:
        return _text(status, request, behaviour, validators)
    wanted = None if behaviour.ignore_range else _wanted_range(request, size, validators)
    start, stop = (0, size) if wanted is None else wanted
    if wanted is not None and start >= stop:
        unsatisfied = {**validators, "Content-Range": f"bytes */{size}"}
        return _text(416, request, behaviour, unsatisfied)
    if wanted is not None and stop - start > (behaviour.max_range or size):
        return _text(413, request, behaviour, _retry_after(behaviour))
    body = Body(
        content=version.content,
        start=start,
        stop=max(start, stop - behaviour.short_by),
        after=b"\xff" * behaviour.long_by,
        corrupt_at=behaviour.corrupt_at,
    )
    headers = {"Content-Type": behaviour.content_type, **validators}
    headers |= _cross_origin(request, behaviour)
    if behaviour.accept_ranges:
        headers["Accept-Ranges"] = "bytes"
    if behaviour.cache_control is not None:
        headers["Cache-Control"] = behaviour.cache_control
    if wanted is not None:
        content_range = _content_range(start, stop, size, behaviour)
        body = _framed(headers, body, content_range, behaviour)
    head = request.method == "HEAD"
    body = _encoded(headers, body, behaviour, head=head)
    return ServedResponse(
        200 if wanted is None else 206, _with_own(headers, behaviour), body, head_only=head
    )


def _framed(
    headers: dict[str, str], body: Body, content_range: str | None, behaviour: Behaviour
) -> Body:
    """The body of a 206; adds the header that says what it holds, or the multipart that does."""
    if behaviour.multipart:
        headers["Content-Type"] = f"multipart/byteranges; boundary={BOUNDARY}"
        return _as_multipart(body, content_range, behaviour)
    if content_range is not None:
        headers["Content-Range"] = content_range
    return body


def _encoded(headers: dict[str, str], body: Body, behaviour: Behaviour, *, head: bool) -> Body:
    """The body as it is sent; adds the headers of its coding and length."""
    if behaviour.coding != "none":
        headers["Content-Encoding"] = "gzip"
    if head:
        if behaviour.head_length and behaviour.coding != "gzip":
            headers["Content-Length"] = str(body.length)
        return body
    if behaviour.coding == "gzip":
        body = Body(before=gzip.compress(body.read_all(), mtime=0))
    if behaviour.chunked:
        headers["Transfer-Encoding"] = "chunked"
    else:
        headers["Content-Length"] = str(body.length)
    return body


# ── preconditions and ranges: RFC 9110 §13 and §14 ────────────────────────────────────────────────


def _failed_precondition(headers: Mapping[str, str], validators: Mapping[str, str]) -> int | None:
    """412 or 304 in the order of RFC 9110 §13.2.2; None to go on."""
    etag, modified = validators.get("ETag"), _date(validators.get("Last-Modified"))
    if "if-match" in headers:
        if not _matches(headers["if-match"], etag, strong=True):
            return 412
    elif (
        (limit := _date(headers.get("if-unmodified-since"))) is not None
        and modified is not None
        and modified > limit
    ):
        return 412
    if "if-none-match" in headers:
        if _matches(headers["if-none-match"], etag, strong=False):
            return 304
    elif (
        (since := _date(headers.get("if-modified-since"))) is not None
        and modified is not None
        and modified <= since
    ):
        return 304
    return None


def _wanted_range(
    request: RequestHead, size: int, validators: Mapping[str, str]
) -> tuple[int, int] | None:
    """The half-open range asked for; an empty one if unsatisfiable; None for the whole image.

    A list of ranges gets the whole image, which RFC 9110 §14.2 allows.
    """
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", request.headers.get("range", "").replace(" ", ""))
    condition = request.headers.get("if-range")
    if request.method != "GET" or match is None or match[1] == match[2] == "":
        return None
    if condition is not None and not _fresh(condition, validators):
        return None
    if match[1] == "":
        return max(0, size - int(match[2])), size
    start = int(match[1])
    if match[2] != "" and int(match[2]) < start:
        return None
    return start, size if match[2] == "" else min(int(match[2]) + 1, size)


def _fresh(condition: str, validators: Mapping[str, str]) -> bool:
    if '"' in condition:
        return _matches(condition, validators.get("ETag"), strong=True)
    return condition == validators.get("Last-Modified")


def _matches(listed: str, etag: str | None, *, strong: bool) -> bool:
    if listed.strip() == "*":
        return True
    if etag is None or (strong and etag.startswith("W/")):
        return False
    for weak, opaque in re.findall(r'(W/)?("[^"]*")', listed):
        if opaque == etag.removeprefix("W/") and not (strong and weak):
            return True
    return False


def _date(text: str | None) -> float | None:
    try:
        return None if text is None else parsedate_to_datetime(text).timestamp()
    except ValueError:
        return None


# ── headers ───────────────────────────────────────────────────────────────────────────────────────


def _validators(version: ServedVersion, behaviour: Behaviour, count: int) -> dict[str, str]:
    date = {"Last-Modified": formatdate(version.modified_s, usegmt=True)}
    match behaviour.validators:
        case "both":
            return {"ETag": version.etag, **date}
        case "etag":
            return {"ETag": version.etag}
        case "last-modified":
            return date
        case "weak":
            return {"ETag": f"W/{version.etag}"}
        case "changing":
            later = formatdate(version.modified_s + count, usegmt=True)
            return {"ETag": f'{version.etag[:-1]}-{count}"', "Last-Modified": later}
        case "none":
            return {}


def _content_range(start: int, stop: int, size: int, behaviour: Behaviour) -> str | None:
    match behaviour.content_range:
        case "right":
            return f"bytes {start}-{stop - 1}/{size}"
        case "shifted":
            return f"bytes {start + SHIFT}-{stop - 1 + SHIFT}/{max(size, stop + SHIFT)}"
        case "wrong-size":
            return f"bytes {start}-{stop - 1}/{size + SHIFT}"
        case "no-size":
            return f"bytes {start}-{stop - 1}/*"
        case "malformed":
            return f"bytes {start}..{stop - 1} of {size}"
        case "missing":
            return None


def _cross_origin(request: RequestHead, behaviour: Behaviour) -> dict[str, str]:
    headers: dict[str, str] = {}
    if behaviour.corp is not None:
        headers["Cross-Origin-Resource-Policy"] = behaviour.corp
    origin = request.headers.get("origin")
    if behaviour.cors == "credentials" and origin is not None:
        headers["Access-Control-Allow-Origin"] = origin
        headers["Access-Control-Allow-Credentials"] = "true"
        headers["Vary"] = "Origin"
    elif behaviour.cors in ("full", "documented", "hidden"):
        headers["Access-Control-Allow-Origin"] = "*"
    if behaviour.cors in ("full", "credentials"):
        headers["Access-Control-Expose-Headers"] = EXPOSED_HEADERS
    elif behaviour.cors == "documented":
        headers["Access-Control-Expose-Headers"] = DOCUMENTED_HEADERS
    return headers


def _preflight(request: RequestHead, behaviour: Behaviour) -> ServedResponse:
    if behaviour.preflight_status is not None:
        return ServedResponse(behaviour.preflight_status, {"Content-Length": "0"}, Body())
    headers = {"Allow": "GET, HEAD, OPTIONS", **_cross_origin(request, behaviour)}
    if behaviour.cors != "none":
        headers["Access-Control-Allow-Methods"] = "GET, HEAD, OPTIONS"
        asked = request.headers.get("access-control-request-headers")
        if asked is not None:
            headers["Access-Control-Allow-Headers"] = asked
    return ServedResponse(204, headers, Body())


def _retry_after(behaviour: Behaviour) -> dict[str, str]:
    if behaviour.retry_after_s is None:
        return {}
    return {"Retry-After": str(behaviour.retry_after_s)}


def _text(
    status: int,
    request: RequestHead,
    behaviour: Behaviour,
    more: Mapping[str, str] | None = None,
) -> ServedResponse:
    bodiless = status in (204, 304)
    text = b"" if bodiless else f"{status} {reason(status)}\n".encode()
    headers = dict(more or {}) | _cross_origin(request, behaviour)
    if not bodiless:
        headers |= {"Content-Type": "text/plain; charset=utf-8", "Content-Length": str(len(text))}
    head_only = request.method == "HEAD" or bodiless
    return ServedResponse(
        status, _with_own(headers, behaviour), Body(before=text), head_only=head_only
    )


def _with_own(headers: dict[str, str], behaviour: Behaviour) -> dict[str, str]:
    for name, value in behaviour.headers:
        headers = {key: old for key, old in headers.items() if key.lower() != name.lower()}
        if value:
            headers[name] = value
    return headers


def _as_multipart(body: Body, content_range: str | None, behaviour: Behaviour) -> Body:
    lines = [f"--{BOUNDARY}", f"Content-Type: {behaviour.content_type}"]
    if content_range is not None:
        lines.append(f"Content-Range: {content_range}")
    before = "\r\n".join([*lines, "", ""]).encode()
    after = f"\r\n--{BOUNDARY}--\r\n".encode()
    return replace(body, before=before + body.before, after=body.after + after)


def reason(status: int) -> str:
    """The status in words."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"
