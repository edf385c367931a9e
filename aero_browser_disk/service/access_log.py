"""What happens, as one line of JSON each; nothing in it is secret or of unbounded length."""

from __future__ import annotations

import json
import time
from typing import TextIO

from .exchange import Exchange

_LONGEST_RANGE = 100
_LONGEST_METHOD = 20


class AccessLog:
    """Writes the lines to `stream`, each at once and whole."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def event(self, event: str, **values: object) -> None:
        """Writes what is no request: `listening`, `manifest_rejected`, `failed`."""
        self._stream.write(json.dumps({"event": event, **values}) + "\n")
        self._stream.flush()

    def request(self, exchange: Exchange) -> None:
        """Writes a request that is over. Its path and query are left out: they may hold a token."""
        asked = exchange.headers.get("range")
        values: dict[str, object] = {
            "method": exchange.method[:_LONGEST_METHOD],
            "route": exchange.route,
            "id": exchange.image_id,
            "status": exchange.status,
            "range": asked if asked is None else asked[:_LONGEST_RANGE],
            "bytes": exchange.body_bytes,
            "duration_ms": round((time.monotonic() - exchange.started_at) * 1000, 3),
            "request_id": exchange.request_id,
        }
        if exchange.cut is not None:
            values["cut"] = exchange.cut
        self.event("request", **values)
