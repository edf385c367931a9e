"""Checks that a page of another origin can stream an image: 206, headers, preflight, Vary.

`python scripts/deploy/verify_streaming.py URL [--origin ORIGIN]`: a line for each check,
status 1 if one fails. Reads a few bytes only.
"""

from __future__ import annotations

import argparse
import http.client
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

NEEDED_EXPOSED = ("Accept-Ranges", "Content-Range", "ETag")
_TIMEOUT_S = 30


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, headers by lower-case name, and at most the first KiB of the body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Check:
    """What must hold, whether it does, and what was found."""

    name: str
    holds: bool
    found: str


def ask(url: str, headers: Mapping[str, str], method: str = "GET") -> Answer:
    """One request on a connection of its own."""
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.netloc, timeout=_TIMEOUT_S)
    try:
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request(method, target, headers=dict(headers))
        response = connection.getresponse()
        fields: dict[str, str] = {}
        for name, value in response.getheaders():
            key = name.lower()
            fields[key] = f"{fields[key]}, {value}" if key in fields else value
        return Answer(response.status, fields, response.read(1024))
    finally:
        connection.close()


def verify(url: str, origin: str) -> Iterator[Check]:
    """Every check, in the order in which a browser would stumble."""
    first = ask(url, {"Range": "bytes=0-0", "Origin": origin, "Accept-Encoding": "gzip, br"})
    yield from _ranges(first)
    yield from _cors("range", first, origin)
    yield from _length(url, origin, first)
    beyond = ask(url, {"Range": "bytes=99999999999999-", "Origin": origin})
    yield Check("416 beyond the end", beyond.status == 416, f"status {beyond.status}")
    yield from _cors("416", beyond, origin)
    etag = first.headers.get("etag", "")
    if etag:
        other = ask(
            url, {"Range": "bytes=0-0", "If-Range": '"no-such-version"', "Origin": origin}, "HEAD"
        )
        yield Check("If-Range of another version", other.status == 200, f"status {other.status}")
        same = ask(url, {"If-None-Match": etag, "Origin": origin}, "HEAD")
        yield Check("304 for the version at hand", same.status == 304, f"status {same.status}")
    yield from _preflight(url, origin)


def _ranges(answer: Answer) -> Iterator[Check]:
    headers = answer.headers
    yield Check("206 for a range", answer.status == 206, f"status {answer.status}")
    content_range = headers.get("content-range", "none")
    whole = content_range.startswith("bytes 0-0/") and content_range[10:].isdecimal()
    yield Check("Content-Range with the size", whole, content_range)
    yield Check("one byte of body", len(answer.body) == 1, f"{len(answer.body)} bytes")
    encoding = headers.get("content-encoding", "none")
    yield Check("no Content-Encoding", encoding == "none", encoding)
    etag = headers.get("etag", "none")
    yield Check("a strong ETag", etag.startswith('"'), etag)
    cache = headers.get("cache-control", "none")
    yield Check("Cache-Control with no-transform", "no-transform" in cache, cache)


def _cors(place: str, answer: Answer, origin: str) -> Iterator[Check]:
    allowed = answer.headers.get("access-control-allow-origin", "none")
    yield Check(f"{place}: the page's origin is allowed", allowed in ("*", origin), allowed)
    exposed = answer.headers.get("access-control-expose-headers", "none")
    names = {name.strip().lower() for name in exposed.split(",")}
    lacking = [name for name in NEEDED_EXPOSED if name.lower() not in names]
    yield Check(f"{place}: headers are exposed", not lacking, exposed)
    vary = answer.headers.get("vary", "none")
    varies = "origin" in vary.lower()
    yield Check(f"{place}: Vary: Origin, or * for all", allowed == "*" or varies, vary)
    policy = answer.headers.get("cross-origin-resource-policy", "none")
    yield Check(f"{place}: not for its own origin only", policy != "same-origin", policy)


def _length(url: str, origin: str, first: Answer) -> Iterator[Check]:
    head = ask(url, {"Origin": origin}, "HEAD")
    size = first.headers.get("content-range", "").rpartition("/")[2]
    length = head.headers.get("content-length", "none")
    yield Check("HEAD tells the size", head.status == 200 and length == size, length)
    same = head.headers.get("etag") == first.headers.get("etag")
    yield Check("HEAD and GET agree on the ETag", same, head.headers.get("etag", "none"))


def _preflight(url: str, origin: str) -> Iterator[Check]:
    asked = {
        "Origin": origin,
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": "if-range,range",
    }
    answer = ask(url, asked, "OPTIONS")
    yield Check("preflight: 2xx", 200 <= answer.status < 300, f"status {answer.status}")
    allowed = answer.headers.get("access-control-allow-origin", "none")
    yield Check("preflight: the page's origin is allowed", allowed in ("*", origin), allowed)
    methods = answer.headers.get("access-control-allow-methods", "none")
    yield Check("preflight: GET is allowed", "GET" in methods or methods == "*", methods)
    headers = answer.headers.get("access-control-allow-headers", "none")
    names = {name.strip().lower() for name in headers.split(",")}
    allows = {"range", "if-range"} <= names or "*" in names
    yield Check("preflight: Range and If-Range are allowed", allows, headers)
    vary = answer.headers.get("vary", "none").lower()
    varies = all(
        name in vary
        for name in ("origin", "access-control-request-method", "access-control-request-headers")
    )
    yield Check("preflight: Vary for all three", varies, vary)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="verify_streaming", description=__doc__)
    parser.add_argument("url", help="the bytes of an image")
    parser.add_argument("--origin", default="https://app.example.com", help="the page's origin")
    options = parser.parse_args()
    failed = 0
    try:
        for check in verify(options.url, options.origin):
            failed += not check.holds
            print(f"{'ok  ' if check.holds else 'FAIL'} {check.name}: {check.found}")
    except OSError as error:
        print(f"FAIL no answer: {error}")
        return 1
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
