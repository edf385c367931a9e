"""Web addresses as the URL Standard reads them, the same in a browser and in CPython.

A browser has a parser of that standard, `URL`. CPython's `urllib.parse` follows another one, so
there `ada-url` reads addresses, the parser of Node.js. Requests, messages and comparisons all use
the same parse: parsers that disagree about where a host ends leak passwords.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from functools import lru_cache

_SURROGATES = re.compile(r"[\ud800-\udfff]")
_PORTS = {"http:": 80, "https:": 443}
_OUTSIDE_ASCII = re.compile(r"[^\x00-\x7f]")


@dataclass(frozen=True, slots=True)
class WebUrl:
    """An `http` or `https` address in its parts, all of them in ASCII and percent-encoded.

    `host` has the port unless it is the scheme's own; `query` and `fragment` begin with their
    delimiter, unless they are empty. `path` begins with a slash.
    """

    scheme: str
    username: str
    password: str
    hostname: str
    port: int
    host: str
    path: str
    query: str
    fragment: str

    @property
    def origin(self) -> str:
        """Scheme, host and port (URL Standard §4.7)."""
        return f"{self.scheme}://{self.host}"

    @property
    def target(self) -> str:
        """The request target: path and query."""
        return self.path + self.query

    @property
    def plain(self) -> str:
        """The address without user info and fragment."""
        return self.origin + self.target


@lru_cache(maxsize=128)
def parse_web_url(text: str, base: str = "") -> WebUrl | None:
    """What the URL Standard §4.4 makes of `text`, relative to `base` if that is given.

    None when it is not well-formed, or not an `http` or `https` address. Cached: each request needs
    the parts of the same address several times, which took a fifth of its time (measured).
    """
    text = _SURROGATES.sub("\ufffd", text)  # as any USVString (Web IDL §3.2.13)
    if sys.platform == "emscripten":
        from .browser.web_url import parse
    else:
        from .ada import parse
    url = parse(text, base)
    own_port = None if url is None else _PORTS.get(url.protocol)
    if url is None or own_port is None or "%" in url.hostname:
        return None  # Chromium 156 keeps forbidden host code points as %XX (see §3.5)
    return WebUrl(
        scheme=url.protocol[:-1],
        username=url.username,
        password=url.password,
        hostname=url.hostname,
        port=int(url.port or own_port),
        host=url.host,
        path=url.pathname,
        query=url.search,
        fragment=url.hash,
    )


def parse_location(value: str, base: str) -> WebUrl | None:
    """Where a `Location` header leads (Fetch standard §2.2.6); None when that is no web address.

    `value` is the header's bytes decoded as ISO-8859-1. Bytes outside ASCII are percent-encoded one
    by one, as browsers do.
    """
    return parse_web_url(_OUTSIDE_ASCII.sub(lambda found: f"%{ord(found[0]):02X}", value), base)
