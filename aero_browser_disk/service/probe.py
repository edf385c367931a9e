"""Checks any server or CDN from outside, and says in plain words what a browser could not use."""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import SplitResult, urlsplit, urlunsplit

from aero_browser_disk.byte_ranges import ContentRange, EntityTag, parse_content_range

_TIMEOUT_S: Final = 20.0
# A server that ignores Range sends the whole disk; nobody needs more of it to know.
_MOST_READ: Final = 64 * 1024
_READ_HEADERS: Final = ("content-range", "etag", "accept-ranges")
_SENT_HEADERS: Final = ("range", "if-range", "if-match", "authorization")
_PREFLIGHT_VARY: Final = (
    "origin",
    "access-control-request-method",
    "access-control-request-headers",
)
_LOCAL: Final = ("localhost", "127.0.0.1", "::1")


class ProbeError(ValueError):
    """The server could not be asked."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that was looked at: it is right, could be better, or keeps browsers out."""

    kind: Literal["ok", "note", "FAILS"]
    text: str


@dataclass(frozen=True, slots=True)
class Answer:
    """Headers by lower-case name, and at most the first 64 KiB of the body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


Ask = Callable[[str, Mapping[str, str]], Answer]


def probe(url: str, origin: str, authorization: str | None = None) -> list[Finding]:
    """Asks what a page of `origin` would ask. Raises `ProbeError`."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ProbeError("not an address of http or https")
    extra = {} if authorization is None else {"Authorization": authorization}

    def ask(method: str, headers: Mapping[str, str]) -> Answer:
        return _ask(parts, method, {"Origin": origin, **extra, **headers})

    return [*_address(parts, origin), *_first_byte(ask, origin), *_preflight(parts, origin)]


def _address(parts: SplitResult, origin: str) -> Iterator[Finding]:
    insecure = parts.scheme == "http" and parts.hostname not in _LOCAL
    if insecure and origin.startswith("https://"):
        yield Finding("FAILS", "a page on https may not read from http: serve it over TLS")


def _first_byte(ask: Ask, origin: str) -> Iterator[Finding]:
    first = ask("GET", {"Range": "bytes=0-0"})
    yield from _cors(first, origin, "the bytes")
    if first.status != 206:
        yield Finding("FAILS", _no_range(first))
        return
    yield Finding("ok", "one byte was asked for and one came (206)")
    if "content-encoding" in first.headers:
        yield Finding(
            "FAILS",
            f"the bytes are compressed ({first.headers['content-encoding']}), so offsets mean "
            "nothing: turn compression off for images",
        )
    try:
        told = parse_content_range(first.headers.get("content-range", ""))
    except ValueError:
        told = ContentRange(None, 0)
    if told.range is None or told.range.stop != 1 or len(first.body) != 1 or told.size is None:
        yield Finding(
            "FAILS",
            "the answer is not the byte that was asked for: Content-Range is "
            f"{first.headers.get('content-range')!r} with {len(first.body)} bytes",
        )
        return
    yield from _validators(ask, first)
    yield from _far_ranges(ask, origin, told.size)


def _no_range(answer: Answer) -> str:
    if answer.status == 200:
        return (
            "the server ignores Range (200 instead of 206): a proxy or CDN may strip it, or "
            "compression may be on"
        )
    if answer.status in (401, 403):
        return f"the server wants credentials ({answer.status}): give --authorization or a lease"
    if 300 <= answer.status < 400:
        return f"it redirects ({answer.status}): give the address where it leads"
    return f"the server answers {answer.status}"


def _validators(ask: Ask, first: Answer) -> Iterator[Finding]:
    etag, modified = first.headers.get("etag"), first.headers.get("last-modified")
    try:
        strong = etag is not None and not EntityTag.parse(etag).weak
    except ValueError:
        strong = False
    if strong:
        yield Finding("ok", f"it has a strong ETag: {etag}")
    elif modified is not None:
        yield Finding(
            "note",
            f"there is no strong ETag ({etag}); Last-Modified will do, if no two versions are of "
            "the same second",
        )
    else:
        yield Finding(
            "FAILS",
            "there is neither a strong ETag nor Last-Modified: nothing can be kept between visits",
        )
    again = ask("GET", {"Range": "bytes=0-0"})
    if again.headers.get("etag") != etag:
        yield Finding(
            "FAILS",
            f"two answers have two ETags ({etag}, {again.headers.get('etag')}): servers behind it "
            "disagree, or the image changes",
        )
    if strong and ask("GET", {"Range": "bytes=0-0", "If-Range": '"another"'}).status == 206:
        yield Finding("note", "it ignores If-Range (harmless: clients compare ETags)")


def _far_ranges(ask: Ask, origin: str, size: int) -> Iterator[Finding]:
    last = ask("GET", {"Range": f"bytes={size - 1}-{size - 1}"})
    right = last.status == 206 and len(last.body) == 1
    if right and last.headers.get("content-range") == f"bytes {size - 1}-{size - 1}/{size}":
        yield Finding("ok", f"the last of its {size} bytes can be read")
    else:
        yield Finding("FAILS", f"its last byte cannot be read ({last.status})")
    beyond = ask("GET", {"Range": f"bytes={size}-{size}"})
    if beyond.status != 416:
        yield Finding("note", f"a range behind the end gets {beyond.status}, not 416")
    elif not _may_read(beyond, origin):
        yield Finding("note", "errors lack CORS headers: a page cannot tell why (416)")


def _cors(answer: Answer, origin: str, what: str) -> Iterator[Finding]:
    allowed = answer.headers.get("access-control-allow-origin")
    if not _may_read(answer, origin):
        yield Finding(
            "FAILS",
            f"a page of {origin} may not read {what}: Access-Control-Allow-Origin is {allowed!r}",
        )
        return
    yield Finding("ok", f"a page of {origin} may read {what}")
    exposed = _names(answer.headers.get("access-control-expose-headers", ""))
    hidden = [name for name in _READ_HEADERS if name not in exposed and "*" not in exposed]
    if hidden:
        yield Finding(
            "FAILS" if bool({"content-range", "etag"} & {*hidden}) else "note",
            f"a page cannot see {', '.join(hidden)}: add to Access-Control-Expose-Headers",
        )
    if allowed != "*" and "origin" not in _names(answer.headers.get("vary", "")):
        yield Finding("FAILS", "Vary lacks Origin: a cache hands one page's answer to another")


def _preflight(parts: SplitResult, origin: str) -> Iterator[Finding]:
    asked = {
        "Origin": origin,
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": ", ".join(_SENT_HEADERS),
    }
    # Browsers send no credentials with it.
    answer = _ask(parts, "OPTIONS", asked)
    if not 200 <= answer.status < 300 or not _may_read(answer, origin):
        yield Finding("FAILS", f"a preflight fails ({answer.status}): tokens cannot be sent")
        return
    allowed = _names(answer.headers.get("access-control-allow-headers", ""))
    lacking = [name for name in _SENT_HEADERS if name not in allowed]
    # `*` does not stand for Authorization (Fetch standard).
    if "*" in allowed:
        lacking = [name for name in lacking if name == "authorization"]
    if lacking:
        text = f"a preflight does not allow {', '.join(lacking)}"
        yield Finding(
            "FAILS" if "range" in lacking else "note",
            f"{text}: add to Access-Control-Allow-Headers",
        )
    else:
        yield Finding("ok", "a preflight allows what clients send")
    vary = _names(answer.headers.get("vary", ""))
    missing = [name for name in _PREFLIGHT_VARY if name not in vary and "*" not in vary]
    if missing:
        text = f"Vary of the preflight lacks {', '.join(missing)}"
        yield Finding("note", f"{text}: a CDN may mix up answers")


def _may_read(answer: Answer, origin: str) -> bool:
    return answer.headers.get("access-control-allow-origin") in ("*", origin)


def _names(value: str) -> set[str]:
    return {name.strip().lower() for name in value.split(",") if name.strip()}


def _ask(parts: SplitResult, method: str, headers: Mapping[str, str]) -> Answer:
    assert parts.hostname
    try:
        if parts.scheme == "https":
            context = ssl.create_default_context()
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                parts.hostname, parts.port, timeout=_TIMEOUT_S, context=context
            )
        else:
            connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=_TIMEOUT_S)
        try:
            target = urlunsplit(("", "", parts.path or "/", parts.query, ""))
            # As browsers do: a server must not take it up.
            connection.request(method, target, headers={"Accept-Encoding": "gzip, br", **headers})
            answer = connection.getresponse()
            fields: dict[str, str] = {}
            for name, value in answer.getheaders():
                known = fields.get(name.lower())
                fields[name.lower()] = value if known is None else f"{known}, {value}"
            return Answer(answer.status, fields, answer.read(_MOST_READ))
        finally:
            connection.close()
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise ProbeError(f"{parts.hostname} cannot be asked: {error}") from None
