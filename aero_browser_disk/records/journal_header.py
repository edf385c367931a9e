"""Headers in two copies, of which the newer valid one counts, and the bytes of a journal's.

The older copy is overwritten, so a crash always leaves one valid header. A journal's header is a
magic, the length of a JSON object and the CRC-32 of that, little-endian, and the object.

The record of an image (`record`) shares `newest` and `copy_offset` only. Its bytes are another
format, with the serial number under the checksum, which files of every earlier version have.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Iterable
from typing import Any, Protocol, TypeVar

from ..platform.base import ReadableBuffer

_HEAD = struct.Struct("<8sII")


class _Numbered(Protocol):
    @property
    def serial(self) -> int: ...


HeaderT = TypeVar("HeaderT", bound=_Numbered)


def encode_header(magic: bytes, fields: dict[str, Any]) -> bytes:
    """The bytes of a header, without the padding."""
    body = json.dumps(fields).encode()
    return _HEAD.pack(magic, len(body), zlib.crc32(body)) + body


def decode_header(magic: bytes, data: ReadableBuffer) -> dict[str, Any] | None:
    """The facts of a copy of the header; None when there is none, or not all of it."""
    if len(data) < _HEAD.size:
        return None
    found, length, checksum = _HEAD.unpack_from(data)
    body = bytes(data[_HEAD.size : _HEAD.size + length])
    # The checksum of no bytes is 0, so a torn header whose rest is zeros would fit.
    if found != magic or not body or len(body) != length or zlib.crc32(body) != checksum:
        return None
    fields: dict[str, Any] = json.loads(body)
    return fields


def newest(copies: Iterable[HeaderT | None]) -> HeaderT | None:
    """The copy that counts: the valid one with the highest serial number."""
    return max((copy for copy in copies if copy), key=lambda copy: copy.serial, default=None)


def copy_offset(serial: int, copy_size: int) -> int:
    """The offset of the copy with that serial number: copies are written by turns."""
    return serial % 2 * copy_size


def new_salt() -> int:
    """A salt that no header had before, but for chance."""
    return int.from_bytes(os.urandom(4), "little")
