"""Reads that are not the guest's: they are not recorded in boot profiles and cause no
read-ahead."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

_BACKGROUND: ContextVar[bool] = ContextVar("background", default=False)


@contextlib.contextmanager
def background_reads() -> Iterator[None]:
    """Marks the reads in a `with` block as ours, such as listing files.

    They are not recorded in the boot profile and cause no read-ahead: the block after a folder's is
    mostly another folder's. The mark belongs to the task, so it reaches every disk that is read,
    through overlays too. Do not `yield` within the block: the consumer would be marked as well.
    """
    before = _BACKGROUND.set(True)
    try:
        yield
    finally:
        _BACKGROUND.reset(before)


def is_background() -> bool:
    """Whether the reads of this task are marked."""
    return _BACKGROUND.get()
