"""Files of this machine that appear under their name only when complete (CPython)."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write that replaces `path` at the end; after an error nothing of it is left.

    A device or a pipe is never replaced: the file is that one. Raises `OSError` at once where
    `path` is a folder, or is in none.
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not path.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    if path.exists() and not path.is_file():
        with path.open("wb") as file:
            yield file
        return
    with _put_in_place(path) as file:
        yield file


@contextlib.contextmanager
def replaced_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write that replaces a regular file at the end; after an error that is as it was.

    Its mode and, where allowed, its owner stay. Durable at the end, and at no instant is there
    anything but the whole old file or the whole new one under that name. Raises `OSError`.
    """
    with _put_in_place(path) as file:
        yield file
        file.flush()
        old = path.stat()
        with contextlib.suppress(PermissionError):
            os.chown(file.fileno(), old.st_uid, old.st_gid)
        os.fchmod(file.fileno(), stat.S_IMODE(old.st_mode))
        os.fsync(file.fileno())
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the new name
    finally:
        os.close(folder)


@contextlib.contextmanager
def _put_in_place(path: Path) -> Iterator[BinaryIO]:
    """A file beside `path` that takes its name at the end, and is removed after an error."""
    unfinished = path.with_name(f".{secrets.token_hex(8)}.part")  # no other file's name
    try:
        with unfinished.open("xb") as file:
            yield file
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
