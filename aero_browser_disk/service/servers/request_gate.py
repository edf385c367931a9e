"""Splits a connection's bytes into requests, with limits that apply before parsing."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_HEAD_END: Final = b"\r\n\r\n"
_METHOD: Final = re.compile(rb"([A-Z]{1,20}) ")
_ORIGIN: Final = re.compile(rb"\r\n(?i:origin):[ \t]*([!-~]{1,300})[ \t]*\r\n")


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """Limits of one request, checked before the application sees it.

    `max_head_bytes` counts request line and headers, `max_fields` the lines of headers.
    `max_framing_bytes` limits the framing of a chunked body: sizes, extensions and
    trailers; each byte of content allows eight more.
    """

    max_line_bytes: int = 4 * 1024
    max_head_bytes: int = 36 * 1024
    max_fields: int = 100
    max_framing_bytes: int = 32 * 1024


class RefusedRequestError(Exception):
    """The bytes are not a valid request; the connection must end.

    `method` and `origin` are what could be parsed; empty if nothing was.
    """

    def __init__(self, status: int, code: str, message: str, head: bytes = b"") -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        method, origin = _METHOD.match(head), _ORIGIN.search(head)
        self.method = "" if method is None else method[1].decode("ascii")
        self.origin = b"" if origin is None else origin[1]


class RequestGate:
    """The bytes of one connection that are not parsed yet."""

    __slots__ = ("_limits", "_searched", "waiting")

    def __init__(self, limits: RequestLimits) -> None:
        self._limits = limits
        self._searched = 0
        self.waiting = b""

    def push(self, data: bytes) -> None:
        """Adds received bytes."""
        self.waiting = self.waiting + data if self.waiting else data

    def take(self, length: int | None = None) -> bytes:
        """The next bytes of a body, `length` at most."""
        taken = self.waiting if length is None else self.waiting[:length]
        self.waiting = self.waiting[len(taken) :]
        return taken

    def next_head(self) -> bytes | None:
        """Request line and headers of the next request; None while they are not all there.

        Raises `RefusedRequestError` when they are longer than they may be (414 or 431), or have
        line ends on which parsers disagree (400). Empty lines before it are skipped
        (RFC 9112 §2.2).
        """
        if not self._searched:
            self.waiting = self.waiting.lstrip(b"\r\n")
        end = self.waiting.find(_HEAD_END, self._searched)
        if end < 0:
            self._check(self.waiting)
            self._searched = max(0, len(self.waiting) - len(_HEAD_END) + 1)
            return None
        self._searched = 0
        head = self.take(end + len(_HEAD_END))
        self._check(head)
        return head

    def _check(self, head: bytes) -> None:
        limits, lines = self._limits, head.count(b"\n")
        if lines != head.count(b"\r\n"):
            raise RefusedRequestError(400, "bad_request", "End each line with CR and LF.", head)
        line_end = head.find(b"\r\n")
        if (len(head) if line_end < 0 else line_end) > limits.max_line_bytes:
            raise RefusedRequestError(414, "url_too_long", "The request line is too long.", head)
        if len(head) > limits.max_head_bytes or lines > limits.max_fields + 2:
            raise RefusedRequestError(
                431, "headers_too_large", "The headers are too many or too long.", head
            )

    def check_framing(self, received: int, content: int) -> None:
        """Checks a chunked body of `received` bytes, `content` of which are data.

        Raises `RefusedRequestError` (431) when the rest, its framing, is too long.
        """
        if received - content > self._limits.max_framing_bytes + 8 * content:
            raise RefusedRequestError(
                431, "headers_too_large", "Chunk extensions or trailers are too long."
            )
