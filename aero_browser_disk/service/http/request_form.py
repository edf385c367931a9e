"""Requests that differ only in range and id, recognized by their bytes alone."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

# Where the values that vary begin; field names have any case.
_RANGE: Final = re.compile(rb"\r\n(?i:range):[ \t]*bytes=")
_REQUEST_ID: Final = re.compile(rb"\r\n(?i:x-request-id):[ \t]*")
_LINE_END: Final = b"\r\n"
_ID_CHARACTERS: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-"
# Longer ranges are parsed, and counted with the other headers.
_MAX_RANGE_LENGTH: Final = 40
_LONGEST_ID: Final = 64


@dataclass(frozen=True, slots=True)
class RequestForm:
    """The bytes of all requests that differ from one only in range and X-Request-Id.

    Proxies give each request its own id.
    """

    _parts: Sequence[tuple[bytes, bool]]
    """What stays the same, and whether a range follows it, else an id."""
    _rest: bytes

    @classmethod
    def of(cls, request: bytes) -> RequestForm | None:
        """The form of a whole request in which no field comes twice; None when it has no range."""
        fields = [_RANGE.search(request), _REQUEST_ID.search(request)]
        if fields[0] is None:
            return None
        parts, position = [], 0
        for field in sorted(filter(None, fields), key=re.Match.start):
            parts.append((request[position : field.end()], field is fields[0]))
            position = request.index(_LINE_END, field.end())
        form = cls(tuple(parts), request[position:])
        return form if form.values(request) else None

    def values(self, request: bytes) -> tuple[bytes, bytes] | None:
        """The range (`0-511`) and the id of a request of this form, else None.

        The id is empty if there is none. No regular expression: it takes twice as long (measured).
        """
        position, byte_range, request_id = 0, b"", b""
        for same, is_range in self._parts:
            if not request.startswith(same, position):
                return None
            start = position + len(same)
            position = request.find(_LINE_END, start)
            if is_range:
                byte_range = request[start:position]
            else:
                request_id = request[start:position]
        first, _, last = byte_range.partition(b"-")
        if (
            request[position:] != self._rest
            or not (first.isdigit() and last.isdigit() and len(byte_range) <= _MAX_RANGE_LENGTH)
            or (request_id and not _is_id(request_id))
        ):
            return None
        return byte_range, request_id


def _is_id(value: bytes) -> bool:
    """Whether a trusted proxy may give a request this id."""
    return len(value) <= _LONGEST_ID and not value.translate(None, _ID_CHARACTERS)
