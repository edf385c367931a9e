"""The doctor's requests: few, each short, all of them bounded."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from ..errors import BrokenResponseError
from ..platform.base import HttpClient, HttpResponse
from ..platform.byte_range import ByteRange
from ..platform.stall_limit import StallLimit
from ..remote.access import ImageAddress
from ..remote.numbers import decimal_number
from ..remote.receiving import stall_limit

MAX_BYTES: Final = 1 << 20
"""What an examination downloads, at most."""


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """A response, as far as it was read.

    `is_broken`: it ended before its announced length. `latency_s` is the time until its headers
    came, `duration_s` until its last byte did.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    is_broken: bool
    latency_s: float
    duration_s: float

    @property
    def length(self) -> int | None:
        """Content-Length, if it is readable and a number."""
        return decimal_number(self.headers.get("content-length", ""))

    @property
    def coding(self) -> str:
        """Content-Encoding; empty when the bytes are sent as they are."""
        coding = self.headers.get("content-encoding", "").strip().lower()
        return "" if coding == "identity" else coding


class Prober:
    """Sends the requests for one image, and counts them."""

    def __init__(
        self, http: HttpClient, address: ImageAddress, on_bytes: Callable[[], None]
    ) -> None:
        """`on_bytes` is called whenever some came."""
        self._on_bytes = on_bytes
        self.requests = 0
        self.bytes_downloaded = 0
        self._http = http
        self._address = address

    async def request(
        self,
        method: Literal["GET", "HEAD"],
        byte_range: ByteRange | None = None,
        max_bytes: int = 0,
        path: str = "",
    ) -> ProbeResult:
        """The response, and of its body at most `max_bytes` and one chunk.

        `path` names a sidecar file of the image. Raises `NetworkError` when none came, or none that
        the page may read.
        """
        self.requests += 1
        address = self._address
        if path:
            address = address.sibling(path + address.web_url.query)
        headers = {
            **address.headers,
            **({} if byte_range is None else {"Range": byte_range.header}),
        }
        started = time.perf_counter()
        async with stall_limit(address) as limit:
            response = await self._http.request(method, address.url, headers, address.credentials)
            latency_s = time.perf_counter() - started
            limit.moved()
            body, is_broken = await self._read(response, max_bytes, limit)
        return ProbeResult(
            response.status,
            response.headers,
            body,
            is_broken,
            latency_s,
            time.perf_counter() - started,
        )

    async def responds(self) -> bool:
        """Whether the server responds at all, readable or not."""
        try:
            async with StallLimit(self._address.timeout_s):
                return await self._http.responds(self._address.url)
        except TimeoutError:
            return False

    async def _read(
        self, response: HttpResponse, max_bytes: int, limit: StallLimit
    ) -> tuple[bytes, bool]:
        body = bytearray()
        max_bytes = min(max_bytes, MAX_BYTES - self.bytes_downloaded)
        try:
            while len(body) < max_bytes:
                chunk = await response.read()
                if chunk is None:
                    return bytes(body), False
                limit.moved()
                body += chunk
                self.bytes_downloaded += len(chunk)
                self._on_bytes()
        except BrokenResponseError:
            return bytes(body), True
        finally:
            response.abort()
        return bytes(body), False
