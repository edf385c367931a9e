"""Further ranges of the same image, served at once or not at all."""

from __future__ import annotations

from typing import Final

from ..stores.image_store import LENT_LENGTH, Image, Lender, OpenImage, VersionChangedError
from .direct_bytes import lend_bytes
from .exchange import Exchange, Handler


class LentRanges:
    """A `RangeResponse`: a 206 with `lines` and bytes from memory, in one chunk."""

    __slots__ = ("_lender", "_limit", "_opened", "_size", "form")

    status: Final = 206

    def __init__(self, opened: OpenImage, lender: Lender, lines: bytes, limit: int) -> None:
        self._opened = opened
        self._lender = lender
        self._size = opened.image.size
        self._limit = min(limit, LENT_LENGTH)
        self.form = (
            lines.replace(b"%", b"%%")
            + b"content-range: bytes %%d-%%d/%d\r\n" % self._size
            + b"content-length: %d\r\n"
        )

    def __call__(self, first: int, last: int) -> tuple[tuple[int, int, int], memoryview] | None:
        """As `RangeResponse`."""
        stop = min(last + 1, self._size)
        if not 0 < stop - first <= self._limit or not self._lender.is_current():
            return None
        try:
            chunk = self._lender.lend(first, stop)
        except VersionChangedError:
            return None
        if chunk is None:
            return None
        return (first, stop - 1, stop - first), chunk

    def rest(self, numbers: tuple[int, ...], taken: int) -> Handler:
        """As `RangeResponse.rest`."""
        byte_range = numbers[0] + taken, numbers[1] + 1
        release = self._lender.hold()

        async def respond(exchange: Exchange) -> None:
            try:
                await lend_bytes(exchange, self._opened, (self.status, ()), byte_range)
            finally:
                release()

        return respond


class AcceleratedRanges:
    """A `RangeResponse` whose `lines` make nginx send the range."""

    __slots__ = ("_lender", "_limit", "_size", "form")

    status: Final = 200

    def __init__(self, image: Image, lender: Lender, lines: bytes, limit: int) -> None:
        self._lender = lender
        self._size = image.size
        self._limit = limit
        self.form = lines.replace(b"%", b"%%")

    def __call__(self, first: int, last: int) -> tuple[tuple[()], bytes] | None:
        """As `RangeResponse`."""
        length = min(last + 1, self._size) - first
        if not 0 < length <= self._limit or not self._lender.is_current():
            return None
        return (), b""

    def rest(self, numbers: tuple[int, ...], taken: int) -> Handler:
        """As `RangeResponse.rest`: never called, the body is empty."""
        raise AssertionError("the body is empty")
