"""Whole files from a server, each in one plain GET: an address, and the files next to it."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from ..errors import HttpStatusError
from ..platform.base import HttpClient
from .access import Access, ImageAddress
from .receiving import receive_by
from .remote_image import Traffic
from .response_headers import retry_after_s


@dataclass(slots=True)
class WholeFile:
    """The bytes of a file, and the headers that came with them."""

    data: bytearray = field(default_factory=bytearray)
    headers: Mapping[str, str] = field(default_factory=dict)


class WholeFiles:
    """Requests whole files, without ranges or preflights, so that any server will do.

    The content is not checked here: the caller knows what the file must be.
    """

    def __init__(self, http: HttpClient, access: Access, traffic: Traffic) -> None:
        self._receive = receive_by(http)
        self._access = access
        self._traffic = traffic

    async def fetch(self, path: str, max_bytes: int) -> WholeFile:
        """The file at `path`, relative to the address; the address itself for "".

        Returns at most `max_bytes` + 1 bytes, even of a longer file. The query of the address is
        sent along. After a refusal the request is repeated once with renewed access. Raises
        `NetworkError`, `HttpStatusError`, and what the renewal raises.
        """
        self._traffic.in_flight += 1
        try:
            return await self._access.request(lambda address: self._fetch(address, path, max_bytes))
        finally:
            self._traffic.in_flight -= 1

    async def _fetch(self, address: ImageAddress, path: str, max_bytes: int) -> WholeFile:
        target = address.sibling(path + address.web_url.query) if path else address
        arrival = _Arrival(target, max_bytes, self._traffic)
        self._traffic.requests += 1
        with contextlib.suppress(_EnoughError):
            await self._receive(target, {}, arrival)
        return arrival.file


class _EnoughError(Exception):
    """The file is longer than `max_bytes`."""


class _Arrival:
    """Receives a file; gives up once it is longer than `max_bytes`."""

    def __init__(self, address: ImageAddress, max_bytes: int, traffic: Traffic) -> None:
        self.file = WholeFile()
        self._address = address
        self._max_bytes = max_bytes
        self._traffic = traffic

    def head(self, status: int, headers: Mapping[str, str]) -> None:
        if status != 200:
            raise HttpStatusError(self._address.shown, status, retry_after_s(headers))
        self.file.headers = dict(headers)

    def chunk(self, data: memoryview) -> None:
        self._traffic.bytes_downloaded += len(data)
        self.file.data += data[: self._max_bytes + 1 - len(self.file.data)]
        if len(self.file.data) > self._max_bytes:
            raise _EnoughError
