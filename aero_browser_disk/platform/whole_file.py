"""Files of this machine that appear under their name when they are whole (CPython)."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write that replaces `path` at the end; after an error nothing of it is left."""
    unfinished = path.with_name(f".{secrets.token_hex(8)}.part")  # no other file's name
    try:
        with unfinished.open("xb") as file:
            yield file
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
