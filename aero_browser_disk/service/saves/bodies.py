"""Receives the bodies of pushes: each at once, and all together in limited memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Final

from ..http.exchange import Exchange
from ..http.response import HttpError

_OF_ONE: Final = 16 << 20
_OF_ALL: Final = 128 << 20
_WAIT: Final = {"Retry-After": "1"}


class Bodies:
    """Receives bodies, of one owner and of all in so many bytes at once. For one event loop."""

    def __init__(self, of_one: int = _OF_ONE, of_all: int = _OF_ALL) -> None:
        self._of_one = of_one
        self._of_all = of_all
        self._taken: Counter[str] = Counter()

    @asynccontextmanager
    async def receive(self, exchange: Exchange, owner: str, limit: int) -> AsyncIterator[bytes]:
        """The body, which counts until the block ends.

        Raises the 411 without Content-Length, the 413 beyond `limit` bytes, the 429 or 503 while
        there is no space for it, and what `Request.body` does.
        """
        text = exchange.request.headers.get("content-length", "")
        # int() takes other digits too.
        if not (text.isascii() and text.isdigit()):
            raise HttpError(411, "length_required", "Send Content-Length.")
        if len(text) > len(str(limit)) or int(text) > limit:
            message = f"The body is limited to {limit} bytes."
            raise HttpError(413, "body_too_long", message, max_body_bytes=limit)
        with self._counted(owner, int(text)):
            yield await exchange.request.body(int(text))

    @contextmanager
    def _counted(self, owner: str, length: int) -> Iterator[None]:
        if self._taken[owner] + length > self._of_one:
            message = "Too many uploads at once: wait for some of them to end."
            raise HttpError(429, "too_many_requests", message, _WAIT, limit="body_bytes")
        if self._taken.total() + length > self._of_all:
            raise HttpError(503, "busy", "Too many uploads at once. Try again.", _WAIT)
        self._taken[owner] += length
        try:
            yield
        finally:
            self._taken[owner] -= length
            if not self._taken[owner]:
                del self._taken[owner]
