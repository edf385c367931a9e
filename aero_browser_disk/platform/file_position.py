"""Positions in files, as `io` has them."""

from __future__ import annotations

import os


def seek_to(position: int, size: int, offset: int, whence: int) -> int:
    """Where a seek leads; raises `ValueError` as files do."""
    starts = {os.SEEK_SET: 0, os.SEEK_CUR: position, os.SEEK_END: size}
    if whence not in starts:
        raise ValueError(f"invalid whence ({whence}, should be 0, 1 or 2)")
    if starts[whence] + offset < 0:
        raise ValueError(f"negative seek position {starts[whence] + offset}")
    return starts[whence] + offset
