"""Positions in files, as `io` has them."""

from __future__ import annotations

import io
import os

_CHUNK = 2 << 20


def seek_to(position: int, size: int, offset: int, whence: int) -> int:
    """The new position of a seek; raises `ValueError` as files do."""
    starts = {os.SEEK_SET: 0, os.SEEK_CUR: position, os.SEEK_END: size}
    if whence not in starts:
        raise ValueError(f"invalid whence ({whence}, should be 0, 1 or 2)")
    if starts[whence] + offset < 0:
        raise ValueError(f"negative seek position {starts[whence] + offset}")
    return starts[whence] + offset


def read_rest(file: io.RawIOBase, length: int) -> bytes:
    """The `length` bytes that a raw file has left, in large reads; fewer if it ends before."""
    parts = []
    while length > 0 and (part := file.read(min(length, _CHUNK))):
        parts.append(part)
        length -= len(part)
    return b"".join(parts)
