"""Requests that differ in hardly more than their range, told by their bytes alone."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

# Where what varies begins, and what it may be: nothing that the parser would take for anything else
# than the value of the field, and no more than the limits on headers would bear.
_RANGE_FIELD: Final = re.compile(rb"\r\n(?i:range):[ \t]*bytes=")
_REQUEST_ID_FIELD: Final = re.compile(rb"\r\n(?i:x-request-id):[ \t]*")
_SPAN: Final = re.compile(rb"[0-9]{1,18}-[0-9]{1,18}")
_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_LINE_END: Final = b"\r\n"


@dataclass(frozen=True, slots=True)
class RequestForm:
    """The bytes of one request, and of all that have another range or X-Request-Id in its place.

    Proxies give each request an id of its own.
    """

    _parts: Sequence[tuple[bytes, re.Pattern[bytes]]]
    """What stays the same, and then what may vary."""
    _rest: bytes

    @classmethod
    def of(cls, request: bytes) -> RequestForm | None:
        """The form of a whole request in which no field comes twice; None when it has no range."""
        parts: list[tuple[bytes, re.Pattern[bytes]]] = []
        position = 0
        for _, start, varying in sorted(
            (found.start(), found.end(), varying)
            for field, varying in ((_RANGE_FIELD, _SPAN), (_REQUEST_ID_FIELD, _REQUEST_ID))
            if (found := field.search(request))
        ):
            value = varying.match(request, start)
            if value is not None and request.startswith(_LINE_END, value.end()):
                parts.append((request[position:start], varying))
                position = value.end()
        has_range = any(varying is _SPAN for _, varying in parts)
        return cls(parts, request[position:]) if has_range else None

    def values(self, request: bytes) -> tuple[bytes, bytes | None] | None:
        """The first and last position (`0-511`) and the id of a request of this form, else None."""
        position, span, request_id = 0, b"", None
        for same, varying in self._parts:
            if not request.startswith(same, position):
                return None
            value = varying.match(request, position + len(same))
            if value is None:
                return None
            if varying is _SPAN:
                span = value[0]
            else:
                request_id = value[0]
            position = value.end()
        return (span, request_id) if request[position:] == self._rest else None
