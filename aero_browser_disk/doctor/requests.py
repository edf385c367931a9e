"""What the doctor asks of a host: few requests, each short, all of them bounded."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from ..errors import BrokenResponseError
from ..platform.base import HttpClient, HttpResponse
from ..platform.byte_range import ByteRange
from ..platform.stall_limit import StallLimit
from ..remote.access import ImageAddress
from ..remote.numbers import decimal_number
from ..remote.receiving import stall_limit

MOST_BYTES: Final = 1 << 20
"""All that an examination downloads, at most."""


@dataclass(frozen=True, slots=True)
class Seen:
    """An answer as far as it was taken.

    `is_broken`: it ended before its announced end. `latency_s` is the time until its headers came,
    `duration_s` until its last byte did.
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


class Questions:
    """Asks for one image, and counts."""

    def __init__(self, http: HttpClient, address: ImageAddress) -> None:
        self.requests = 0
        self.bytes_downloaded = 0
        self._http = http
        self._address = address

    async def ask(
        self,
        method: Literal["GET", "HEAD"],
        span: ByteRange | None = None,
        most: int = 0,
    ) -> Seen:
        """The answer, and of its body no more than `most` bytes and one piece.

        Raises `NetworkError` when none came that may be seen.
        """
        self.requests += 1
        address = self._address
        headers = {**address.headers, **({} if span is None else {"Range": span.header})}
        started = time.perf_counter()
        async with stall_limit(address) as limit:
            response = await self._http.request(method, address.url, headers, address.credentials)
            latency_s = time.perf_counter() - started
            limit.moved()
            body, is_broken = await self._read(response, most, limit)
        return Seen(
            response.status,
            response.headers,
            body,
            is_broken,
            latency_s,
            time.perf_counter() - started,
        )

    async def is_answered(self) -> bool:
        """Whether the host answers at all, readable or not."""
        try:
            async with StallLimit(self._address.timeout_s):
                return await self._http.answers(self._address.url)
        except TimeoutError:
            return False

    async def _read(
        self, response: HttpResponse, most: int, limit: StallLimit
    ) -> tuple[bytes, bool]:
        body = bytearray()
        most = min(most, MOST_BYTES - self.bytes_downloaded)
        try:
            while len(body) < most:
                piece = await response.read()
                if piece is None:
                    return bytes(body), False
                limit.moved()
                body += piece
                self.bytes_downloaded += len(piece)
        except BrokenResponseError:
            return bytes(body), True
        finally:
            response.abort()
        return bytes(body), False
