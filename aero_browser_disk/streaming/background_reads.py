"""Reads that no guest asked for: they are no part of a boot, and nothing follows from them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

_BACKGROUND: ContextVar[bool] = ContextVar("background", default=False)


@contextlib.contextmanager
def background_reads() -> Iterator[None]:
    """Marks the reads within as ours: looking for files, not a guest's.

    They are not written into the boot profile, and nothing is read ahead of them: what lies behind
    a folder's block is mostly another folder's. It holds for whatever disk is read, through
    overlays and all, because it goes with the task. Not to be held across a `yield`: who takes
    what is yielded would be marked as well.
    """
    before = _BACKGROUND.set(True)
    try:
        yield
    finally:
        _BACKGROUND.reset(before)


def is_background() -> bool:
    """Whether the reads of this task are marked so."""
    return _BACKGROUND.get()
