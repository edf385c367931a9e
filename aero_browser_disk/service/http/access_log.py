"""What happens, as one line of JSON each; nothing in it is secret or of unbounded length."""

from __future__ import annotations

import asyncio
import json
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from json.encoder import encode_basestring_ascii
from typing import Final, Protocol

from .exchange import Exchange

_LONGEST_RANGE: Final = 100
_LONGEST_METHOD: Final = 20
_MAX_REPORTED: Final = 1024
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


class LineStream(Protocol):
    """Where lines go: any text stream, or a `LogWriter`."""

    def write(self, lines: str, /) -> object:
        """Takes whole lines; may raise `OSError`."""

    def flush(self) -> None:
        """Writes them; may raise `OSError`."""

    def close(self) -> None:
        """No more lines come."""


class AccessLog:
    """Writes the lines to `stream`, each whole, in the order in which things happened.

    Those of requests are written a few at a time, at most 20 ms late; anything else at once.
    """

    def __init__(self, stream: LineStream) -> None:
        self._stream = stream
        # Put together when they are written: many in one go take less than each by itself.
        self._waiting: list[tuple[bytes, tuple[bytes | int | float, ...]]] = []

    def event(self, event: str, **values: object) -> None:
        """Writes what is no request: `listening`, `manifest_rejected`, `failed`."""
        self._waiting.append((b"%b\n", (json.dumps({"event": event, **values}).encode(),)))
        self.flush()

    def manifest_rejected(self, reason: str) -> None:
        """Writes why a changed manifest is not used."""
        self.event("manifest_rejected", reason=reason)

    def request(self, exchange: Exchange) -> None:
        """Writes a request that is over. Its path and query are left out: they may hold a token."""
        asked = exchange.request.headers.get("range")
        took_ms = (time.monotonic() - exchange.record.started_at) * 1000
        self._wait(
            _LINE,
            *_kind(exchange),
            _text(asked if asked is None else asked[:_LONGEST_RANGE]),
            b"%d" % exchange.record.body_bytes,
            b"%.3f" % took_ms,
            _text(exchange.request.id),
            b"" if exchange.record.cut is None else b', "cut": ' + _text(exchange.record.cut),
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
            # Whatever goes wrong must end neither a request nor the service: the disk may be full,
            # and the next lines may find free space again.
            with suppress(OSError):
                self._stream.write(lines)
                self._stream.flush()

    def close(self) -> None:
        """Writes what waits, and closes the stream."""
        self.flush()
        self._stream.close()


class UnusableImages:
    """Logs the images that the manifest names and whose files cannot be served, each once."""

    def __init__(self, log: AccessLog) -> None:
        self._log = log
        self._reported: OrderedDict[tuple[str, str], None] = OrderedDict()

    def report(self, image_id: str | None, reason: str) -> None:
        """Logs it, unless it was the same before, or there is no reason: nobody named the image."""
        if image_id is None or not reason or (image_id, reason) in self._reported:
            return
        self._reported[image_id, reason] = None
        while len(self._reported) > _MAX_REPORTED:
            self._reported.popitem(last=False)
        self._log.event("image_unusable", id=image_id, reason=reason)


def _kind(exchange: Exchange) -> tuple[bytes, bytes, bytes, bytes]:
    """What requests that are alike have in common."""
    return (
        _text(exchange.request.method[:_LONGEST_METHOD]),
        _text(exchange.request.route),
        _text(exchange.request.image_id),
        b"null" if exchange.record.status is None else b"%d" % exchange.record.status,
    )


def _text(value: str | None) -> bytes:
    return b"null" if value is None else _quoted(value).encode()
