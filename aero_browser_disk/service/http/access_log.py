"""The log: one line of JSON for each event, without secrets and of bounded length."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache, partial
from json.encoder import encode_basestring_ascii
from typing import Final, Protocol

from .exchange import Exchange

_LONGEST_RANGE: Final = 100
_LONGEST_METHOD: Final = 20
_MAX_REPORTED: Final = 1024
# How long a request's line may wait for others to be written with it, in seconds. One write for
# each line costs a busy service a tenth of its throughput (measured).
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

    Lines of requests are written in batches, at most 20 ms late; all others at once.
    """

    def __init__(self, stream: LineStream) -> None:
        self._stream = stream
        # Formatted when they are written: a batch is cheaper than single lines.
        self._waiting: list[tuple[bytes, tuple[bytes | int | float, ...]]] = []

    def event(self, event: str, **values: object) -> None:
        """Writes an event that is not a request: `listening`, `manifest_rejected`, `failed`."""
        self._waiting.append((b"%b\n", (json.dumps({"event": event, **values}).encode(),)))
        self.flush()

    def manifest_rejected(self, reason: str) -> None:
        """Writes why a changed manifest is not used."""
        self.event("manifest_rejected", reason=reason)

    def request(self, exchange: Exchange) -> None:
        """Writes a finished request without path and query, which may contain a token."""
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
        """A function that writes requests like this finished one.

        Its arguments: the range (`0-511`), body bytes, milliseconds, request id.
        """
        kind = [text.replace(b"%", b"%%") for text in _kind(exchange)]
        line = _LINE % (*kind, b'"bytes=%b"', b"%d", b"%.3f", b'"%b"', b"")
        return partial(self._wait, line)

    def _wait(self, line: bytes, *values: bytes | float) -> None:
        if not self._waiting:
            asyncio.get_running_loop().call_later(_LONGEST_WAIT_S, self.flush)
        self._waiting.append((line, values))

    def flush(self) -> None:
        """Writes the pending lines."""
        if self._waiting:
            lines = b"".join([line % values for line, values in self._waiting]).decode()
            self._waiting.clear()
            # A failed write must end neither a request nor the service. A full disk may have space
            # for the next lines.
            with suppress(OSError):
                self._stream.write(lines)
                self._stream.flush()

    def close(self) -> None:
        """Writes the pending lines and closes the stream."""
        self.flush()
        self._stream.close()


class UnusableImages:
    """Logs images of the manifest whose files cannot be served, each once."""

    def __init__(self, log: AccessLog) -> None:
        self._log = log
        self._report = lru_cache(_MAX_REPORTED)(self._write)

    def report(self, image_id: str | None, reason: str) -> None:
        """Logs a new reason; without one, the manifest does not name the image."""
        if image_id is not None and reason:
            self._report(image_id, reason)

    def _write(self, image_id: str, reason: str) -> None:
        self._log.event("image_unusable", id=image_id, reason=reason)


def _kind(exchange: Exchange) -> tuple[bytes, bytes, bytes, bytes]:
    """The values that similar requests have in common."""
    return (
        _text(exchange.request.method[:_LONGEST_METHOD]),
        _text(exchange.request.route),
        _text(exchange.request.image_id),
        b"null" if exchange.record.status is None else b"%d" % exchange.record.status,
    )


def _text(value: str | None) -> bytes:
    return b"null" if value is None else _quoted(value).encode()
