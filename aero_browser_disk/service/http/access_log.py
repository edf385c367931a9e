"""What happens, as one line of JSON each; nothing in it is secret or of unbounded length."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable
from functools import partial
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
    b'{"event": "request", "method": %b, "route": %b, "id": %b, "status": %b, "range": %b, '
    b'"bytes": %b, "duration_ms": %b, "request_id": %b%b}\n'
)
# encode_basestring_ascii is typed as one of two functions.
_quoted: Callable[[str], str] = encode_basestring_ascii


class AccessLog:
    """Writes the lines to `stream`, each whole, in the order in which things happened.

    Those of requests are written a few at a time, at most 20 ms late; anything else at once.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        # Put together when they are written: many in one go take less than each by itself.
        self._waiting: list[tuple[bytes, tuple[bytes | int | float, ...]]] = []

    def event(self, event: str, **values: object) -> None:
        """Writes what is no request: `listening`, `manifest_rejected`, `failed`."""
        self._waiting.append((b"%b\n", (json.dumps({"event": event, **values}).encode(),)))
        self.flush()

    def request(self, exchange: Exchange) -> None:
        """Writes a request that is over. Its path and query are left out: they may hold a token."""
        asked = exchange.headers.get("range")
        took_ms = (time.monotonic() - exchange.started_at) * 1000
        self._wait(
            _LINE,
            *_kind(exchange),
            _text(asked if asked is None else asked[:_LONGEST_RANGE]),
            b"%d" % exchange.body_bytes,
            b"%.3f" % took_ms,
            _text(exchange.request_id),
            b"" if exchange.cut is None else b', "cut": ' + _text(exchange.cut),
        )

    def repeated(self, exchange: Exchange) -> Callable[[bytes, int, float, bytes], None]:
        """What writes requests that differ from one that is over.

        By first and last position (`0-511`), body bytes, milliseconds, and id.
        """
        kind = [text.replace(b"%", b"%%") for text in _kind(exchange)]
        line = _LINE % (*kind, b'"bytes=%b"', b"%d", b"%.3f", b'"%b"', b"")
        return partial(self._wait, line)

    def _wait(self, line: bytes, *values: bytes | float) -> None:
        if not self._waiting:
            asyncio.get_running_loop().call_later(_LONGEST_WAIT_S, self.flush)
        self._waiting.append((line, values))

    def flush(self) -> None:
        """Writes what waits."""
        if self._waiting:
            lines = b"".join([line % values for line, values in self._waiting]).decode()
            self._waiting.clear()
            # Whatever goes wrong must end neither a request nor the service.
            try:
                self._stream.write(lines)
                self._stream.flush()
            except BrokenPipeError:
                # Who read it is gone.
                os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())
            except OSError:
                # Its disk is full; the next lines may find room again.
                return


def _kind(exchange: Exchange) -> tuple[bytes, bytes, bytes, bytes]:
    """What requests that are alike have in common."""
    return (
        _text(exchange.method[:_LONGEST_METHOD]),
        _text(exchange.route),
        _text(exchange.image_id),
        b"null" if exchange.status is None else b"%d" % exchange.status,
    )


def _text(value: str | None) -> bytes:
    return b"null" if value is None else _quoted(value).encode()
