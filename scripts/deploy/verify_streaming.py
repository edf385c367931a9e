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

NEEDED_EXPOSED = ("Accept-Ranges", "Content-Range", "Content-Length", "ETag")
NEEDED_ALLOWED = ("Range", "If-Range", "If-None-Match", "If-Modified-Since")
# May come only once (RFC 9110 §5.3): browsers join two of them into a value that matches nothing.
SINGLE = (
    "accept-ranges",
    "access-control-allow-origin",
    "cache-control",
    "content-length",
    "content-range",
    "content-type",
    "cross-origin-resource-policy",
    "etag",
    "last-modified",
)
_TIMEOUT_S = 30


@dataclass(frozen=True, slots=True)
class Response:
    """Status, headers by lower-case name, and at most the first KiB of the body.

    `repeated` are the names of headers that came more than once, though they may not.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    repeated: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> str:
        """The value of a header; `none` if it is missing."""
        return self.headers.get(name, "none")


@dataclass(frozen=True, slots=True)
class Check:
    """A requirement, whether it is met, and what was found."""

    name: str
    holds: bool
    found: str


def request(url: str, headers: Mapping[str, str], method: str = "GET") -> Response:
    """One request on a connection of its own."""
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.netloc, timeout=_TIMEOUT_S)
    try:
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request(method, target, headers=dict(headers))
        response = connection.getresponse()
        fields: dict[str, str] = {}
        repeated = []
        for name, value in response.getheaders():
            key = name.lower()
            if key in fields and key in SINGLE:
                repeated.append(key)
            fields[key] = f"{fields[key]}, {value}" if key in fields else value
        return Response(response.status, fields, response.read(1024), tuple(repeated))
    finally:
        connection.close()


def verify(url: str, origin: str) -> Iterator[Check]:
    """Every check, in the order in which a browser would fail."""
    page = {"Origin": origin}
    first = request(url, {"Range": "bytes=0-0", "Accept-Encoding": "gzip, br", **page})
    size = first["content-range"].rpartition("/")[2]
    yield from _range("range", first, "bytes 0-0/")
    yield Check("one byte of body", len(first.body) == 1, f"{len(first.body)} bytes")
    yield from _representation("range", first)
    yield from _cors("range", first, origin)
    last = request(url, {"Range": "bytes=-1", **page}, "HEAD")
    yield Check("HEAD foretells a range", last["content-length"] == "1", last["content-length"])
    yield from _representation("HEAD of a range", last)
    yield from _whole(url, page, first, size, origin)
    beyond = request(url, {"Range": "bytes=99999999999999-", **page})
    yield Check("416 beyond the end", beyond.status == 416, f"status {beyond.status}")
    found = beyond["content-range"]
    yield Check("416: Content-Range with the size", found == f"bytes */{size}", found)
    yield Check("416: Accept-Ranges", beyond["accept-ranges"] == "bytes", beyond["accept-ranges"])
    yield from _cors("416", beyond, origin)
    yield from _conditions(url, page, first, origin)
    yield from _preflight(url, origin)


def _range(part: str, response: Response, begins: str) -> Iterator[Check]:
    yield Check(f"206 for a {part}", response.status == 206, f"status {response.status}")
    found = response["content-range"]
    whole = found.startswith(begins) and found[len(begins) :].isdecimal()
    yield Check("Content-Range with the size", whole, found)
    length = response["content-length"]
    yield Check("Content-Length of the range", length == "1", length)


def _representation(part: str, response: Response) -> Iterator[Check]:
    """The checks of every response with bytes of the image."""
    accepts = response["accept-ranges"]
    yield Check(f"{part}: Accept-Ranges", accepts == "bytes", accepts)
    encoding = response["content-encoding"]
    yield Check(f"{part}: no Content-Encoding", encoding == "none", encoding)
    yield Check(f"{part}: a strong ETag", response["etag"].startswith('"'), response["etag"])
    modified = response["last-modified"]
    yield Check(f"{part}: Last-Modified", modified.endswith(" GMT"), modified)
    cache = response["cache-control"]
    yield Check(f"{part}: Cache-Control with no-transform", "no-transform" in cache, cache)
    explicit = "max-age=" in cache or "no-store" in cache
    yield Check(f"{part}: Cache-Control says how long", explicit, cache)


def _cors(part: str, response: Response, origin: str) -> Iterator[Check]:
    allowed = response["access-control-allow-origin"]
    yield Check(f"{part}: the page's origin is allowed", allowed in ("*", origin), allowed)
    exposed = response["access-control-expose-headers"]
    lacking = [name for name in NEEDED_EXPOSED if name.lower() not in _names(exposed)]
    yield Check(f"{part}: headers are exposed", not lacking, exposed)
    varies = "origin" in _names(response["vary"])
    yield Check(f"{part}: Vary: Origin, or * for all", allowed == "*" or varies, response["vary"])
    policy = response["cross-origin-resource-policy"]
    # Without this header a page under COEP may read what CORS allows; with this value it may not.
    yield Check(f"{part}: not for its own origin only", policy != "same-origin", policy)
    said = ", ".join(response.repeated) or "none"
    yield Check(f"{part}: no header twice", not response.repeated, said)


def _whole(
    url: str, page: Mapping[str, str], first: Response, size: str, origin: str
) -> Iterator[Check]:
    head = request(url, page, "HEAD")
    length = head["content-length"]
    yield Check("HEAD has the size", head.status == 200 and length == size, length)
    yield Check("HEAD and GET agree on the ETag", head["etag"] == first["etag"], head["etag"])
    yield from _representation("HEAD", head)
    yield from _cors("HEAD", head, origin)


def _conditions(url: str, page: Mapping[str, str], first: Response, origin: str) -> Iterator[Check]:
    etag, modified = first.headers.get("etag"), first.headers.get("last-modified")
    if etag:
        ranged = {"Range": "bytes=0-0", **page}
        other = request(url, {"If-Range": '"no-such-version"', **ranged}, "HEAD")
        yield Check("If-Range of another version", other.status == 200, f"status {other.status}")
        yield from _representation("If-Range of another version", other)
        same = request(url, {"If-Range": etag, **ranged}, "HEAD")
        yield Check("If-Range of this version", same.status == 206, f"status {same.status}")
        yield from _representation("If-Range of this version", same)
        known = request(url, {"If-None-Match": etag, **page}, "HEAD")
        yield Check("304 for the version at hand", known.status == 304, f"status {known.status}")
        yield Check("304: the same ETag", known["etag"] == etag, known["etag"])
        yield from _cors("304", known, origin)
    if modified:
        known = request(url, {"If-Modified-Since": modified, **page}, "HEAD")
        yield Check("304 for its date", known.status == 304, f"status {known.status}")


def _preflight(url: str, origin: str) -> Iterator[Check]:
    asked = {
        "Origin": origin,
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": "if-range,range",
    }
    response = request(url, asked, "OPTIONS")
    yield Check("preflight: 2xx", 200 <= response.status < 300, f"status {response.status}")
    allowed = response["access-control-allow-origin"]
    yield Check("preflight: the page's origin is allowed", allowed in ("*", origin), allowed)
    methods = response["access-control-allow-methods"]
    lacking = {"get", "head", "options"} - _names(methods)
    yield Check("preflight: GET, HEAD, OPTIONS", not lacking or methods == "*", methods)
    headers = response["access-control-allow-headers"]
    names = _names(headers)
    allows = {name.lower() for name in NEEDED_ALLOWED} <= names or "*" in names
    yield Check("preflight: Range and conditions are allowed", allows, headers)
    age = response["access-control-max-age"]
    yield Check("preflight: Max-Age", age.isdecimal(), age)
    needed = {"origin", "access-control-request-method", "access-control-request-headers"}
    varies = needed <= _names(response["vary"])
    yield Check("preflight: Vary for all three", varies, response["vary"])


def _names(value: str) -> set[str]:
    return {name.strip().lower() for name in value.split(",")}


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
        print(f"FAIL no response: {error}")
        return 1
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
