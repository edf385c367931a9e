"""What a page would see of an image's server, for programs that are not in a browser."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ..errors import NetworkError
from ..platform.base import Credentials, HttpClient, HttpResponse, Method
from ..platform.redaction import redact_url
from ..platform.web_url import parse_web_url
from ..remote.response_headers import is_encoded

# Fetch standard, "CORS-safelisted response-header name".
_ALWAYS_READABLE: Final = frozenset(
    (
        "cache-control",
        "content-language",
        "content-length",
        "content-type",
        "expires",
        "last-modified",
        "pragma",
    )
)


class BrowserView:
    """An `HttpClient` over another; shows what a page of `origin` may see (Fetch standard).

    A response that the page may not read is a `NetworkError`, as in a browser, and so is a range
    that came compressed: Chromium 156 shows nothing of it. Requests that would need a preflight are
    sent without one.
    """

    def __init__(self, http: HttpClient, origin: str) -> None:
        self._http = http
        self._origin = origin

    async def request(
        self,
        method: Method,
        url: str,
        headers: Mapping[str, str] | None = None,
        credentials: Credentials = "same-origin",
        body: bytes | None = None,
    ) -> HttpResponse:
        sent = dict(headers or {})
        # Browsers ask for a part as it is, and for the whole in whatever coding they know.
        sent["Accept-Encoding"] = "identity" if "Range" in sent else "gzip, deflate, br, zstd"
        if self._is_same(url):
            return await self._http.request(method, url, sent, credentials, body)
        sent["Origin"] = self._origin
        response = await self._http.request(method, url, sent, credentials, body)
        undecoded = "Range" in sent and is_encoded(response.headers)
        if undecoded or not self._may_read(response.headers, credentials):
            response.abort()
            raise NetworkError(redact_url(url))
        return _Shown(response, _readable(response.headers, credentials))

    async def responds(self, url: str) -> bool:
        return await self._http.responds(url)

    def is_multiplexed(self, url: str) -> bool:
        return self._http.is_multiplexed(url)

    async def close(self) -> None:
        await self._http.close()

    def _is_same(self, url: str) -> bool:
        parsed = parse_web_url(url)
        return parsed is not None and parsed.origin == self._origin

    def _may_read(self, headers: Mapping[str, str], credentials: Credentials) -> bool:
        """The CORS check (Fetch standard, §4.10)."""
        allowed = headers.get("access-control-allow-origin", "").strip()
        if credentials != "include":
            return allowed in ("*", self._origin)
        may_send = headers.get("access-control-allow-credentials", "").strip() == "true"
        return allowed == self._origin and may_send


class _Shown:
    """A response with the headers that the page may read."""

    def __init__(self, response: HttpResponse, headers: Mapping[str, str]) -> None:
        self._response = response
        self.status = response.status
        self.headers = headers

    async def read(self) -> memoryview | None:
        return await self._response.read()

    def abort(self) -> None:
        self._response.abort()


def _readable(headers: Mapping[str, str], credentials: Credentials) -> dict[str, str]:
    exposed = {
        name.strip().lower() for name in headers.get("access-control-expose-headers", "").split(",")
    }
    everything = "*" in exposed and credentials != "include"
    readable = _ALWAYS_READABLE | exposed
    return {name: value for name, value in headers.items() if everything or name in readable}
