"""What happens, as one line of JSON each; nothing in it is secret or of unbounded length."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable
from json.encoder import encode_basestring_ascii
from typing import Final, TextIO

from .exchange import Exchange

_LONGEST_RANGE: Final = 100
_LONGEST_METHOD: Final = 20
# How long the line of a request may wait for others, to be written with them, in seconds: a write
# for each costs a busy service a tenth of its throughput (measured).
_LONGEST_WAIT_S: Final = 0.02
# By hand: `json.dumps` takes five times as long (measured).
_LINE: Final = (
    '{"event": "request", "method": %s, "route": %s, "id": %s, "status": %s, "range": %s, '
    '"bytes": %s, "duration_ms": %s, "request_id": %s%s}\n'
)
# encode_basestring_ascii is typed as one of two functions.
_quoted: Callable[[str], str] = encode_basestring_ascii


class AccessLog:
    """Writes the lines to `stream`, each whole, in the order in which things happened.

    Those of requests are written a few at a time, at most 20 ms late; anything else at once.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._waiting: list[str] = []

    def event(self, event: str, **values: object) -> None:
        """Writes what is no request: `listening`, `manifest_rejected`, `failed`."""
        self._waiting.append(json.dumps({"event": event, **values}) + "\n")
        self.flush()

    def request(self, exchange: Exchange) -> None:
        """Writes a request that is over. Its path and query are left out: they may hold a token."""
        asked = exchange.headers.get("range")
        took_ms = (time.monotonic() - exchange.started_at) * 1000
        self._wait(
            _LINE
            % (
                *_kind(exchange),
                _text(asked if asked is None else asked[:_LONGEST_RANGE]),
                exchange.body_bytes,
                f"{took_ms:.3f}",
                _quoted(exchange.request_id),
                "" if exchange.cut is None else f', "cut": {_quoted(exchange.cut)}',
            )
        )

    def line_of(self, exchange: Exchange) -> str:
        """What `repeated` needs to know of a request that is over."""
        kind = [text.replace("%", "%%") for text in _kind(exchange)]
        return _LINE % (*kind, '"bytes=%s"', "%d", "%.3f", '"%s"', "")

    def repeated(
        self, line: str, span: bytes, body_bytes: int, took_s: float, request_id: bytes
    ) -> None:
        """Writes a request that differs from that of `line` in this: nothing to be quoted."""
        self._wait(line % (span.decode(), body_bytes, took_s * 1000, request_id.decode()))

    def _wait(self, line: str) -> None:
        if not self._waiting:
            asyncio.get_running_loop().call_later(_LONGEST_WAIT_S, self.flush)
        self._waiting.append(line)

    def flush(self) -> None:
        """Writes what waits."""
        if self._waiting:
            lines = "".join(self._waiting)
            self._waiting.clear()
            try:
                self._stream.write(lines)
                self._stream.flush()
            except BrokenPipeError:
                # Who read it is gone; that must end neither a request nor the service.
                os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())


def _kind(exchange: Exchange) -> tuple[str, str, str, str]:
    """What requests that are alike have in common."""
    return (
        _quoted(exchange.method[:_LONGEST_METHOD]),
        _text(exchange.route),
        _text(exchange.image_id),
        "null" if exchange.status is None else str(exchange.status),
    )


def _text(value: str | None) -> str:
    return "null" if value is None else _quoted(value)
