"""The list of relayed servers: addresses that begin with a prefix."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from aero_browser_disk.platform.web_url import WebUrl, parse_web_url

SERVER_NAME: Final = r"^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$"
# Not allowed in a path: two parsers may read such a path differently.
_NO_NAME: Final = re.compile(r"[\x00-\x1f\x7f\\\ufffd]|%(?:2[ef]|5c)", re.IGNORECASE)
_ANY_HOST: Final = re.compile(r"^(https?://)\*\.", re.IGNORECASE)
_PORTS: Final = {"http": 80, "https": 443}
# Path characters that need no escape (RFC 3986 §3.3).
_PLAIN: Final = "!$&'()*+,;=:@~"


@dataclass(frozen=True, slots=True)
class Prefix:
    """Addresses of one scheme, host and port whose path begins with `path`, which ends in a slash.

    With `below` the hosts are those below the named one: `https://*.example.com/`.
    """

    scheme: str
    hostname: str
    port: int
    path: str
    below: bool = False

    @classmethod
    def parse(cls, text: str, *, wildcard: bool = False) -> Prefix:
        """Parses a prefix; raises `ValueError`. Its host may begin with `*.` if `wildcard`."""
        below = wildcard and _ANY_HOST.match(text) is not None
        url = parse_web_url(_ANY_HOST.sub(r"\1", text) if below else text)
        if url is None or "*" in url.host or url.query or url.fragment:
            raise ValueError("must be an http or https URL without query and fragment")
        if url.username or url.password:
            raise ValueError("must not have a user or a password: the relay sends no credentials")
        if not url.path.endswith("/"):
            raise ValueError("must end with a slash")
        if below and (url.hostname.startswith("[") or "." not in url.hostname.strip(".")):
            raise ValueError("*. must be followed by a domain such as example.com")
        return cls(url.scheme, _host(url), url.port, url.path, below)

    def __str__(self) -> str:
        host = f"{'*.' if self.below else ''}{self.hostname}"
        port = "" if self.port == _PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{host}{port}{self.path}"

    def covers(self, url: WebUrl) -> bool:
        """Whether the address, normalised by the parser, begins with this prefix."""
        host = _host(url)
        is_host = host.endswith("." + self.hostname) if self.below else host == self.hostname
        return (
            is_host
            and (url.scheme, url.port) == (self.scheme, self.port)
            and url.path.startswith(self.path)
            and not (url.username or url.password)
        )

    def join(self, path: str) -> WebUrl | None:
        """The address of a decoded path below the prefix; None when it would not be below it."""
        names = path.split("/")
        if _NO_NAME.search(path) or any(name in ("", ".", "..") for name in names):
            return None
        escaped = "/".join(quote(name, safe=_PLAIN) for name in names)
        url = parse_web_url(f"{self}{escaped}")
        return url if url is not None and self.covers(url) else None


@dataclass(frozen=True, slots=True)
class ListedServer:
    """A server on the list. Its images are below `prefix`; it may redirect there and to others.

    `public`: whether everybody may read its images.
    """

    name: str
    prefix: Prefix
    public: bool
    redirects: tuple[Prefix, ...] = ()

    def allows(self, url: WebUrl) -> bool:
        """Whether a redirect may lead to this address."""
        return any(prefix.covers(url) for prefix in (self.prefix, *self.redirects))

    def image_id(self, path: str) -> str:
        """The id of the image at this path in credentials and logs; no other image has it."""
        return f"{self.id}/{path}"

    @property
    def id(self) -> str:
        """The id of all its images together in credentials."""
        return f"relay:{self.name}"


def _host(url: WebUrl) -> str:
    """The host without a trailing dot, which does not change the host."""
    return url.hostname.rstrip(".")
