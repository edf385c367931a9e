"""Disks and long work as notebooks show them (JupyterLite, Jupyter, PyScript's `display`).

disk                                  # the last line of a cell: size, version, what is cached
await fetch_all(disk)                 # a bar while the whole image is fetched
"""

from __future__ import annotations

import contextlib
import sys
import time
from typing import Any, Final

from .disk import Disk
from .disk_html import meter_html, text_html
from .errors import InvalidOptionError
from .progress import Progress, RateMeter, TerminalBar, Unwatched
from .streaming.bulk_read import chunks_of, read_in_order

__all__ = ["NotebookBar", "Progress", "fetch_all", "progress"]

_AT_MOST_EVERY_S: Final = 0.2


class NotebookBar:
    """A `Progress` in the output of a cell; it stays there when done."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._done = self._total = 0
        self._shown = 0.0
        self._rate = RateMeter()
        self._handle: Any = None

    def update(self, done: int, total: int) -> None:
        self._done, self._total = done, total
        self._rate.note(done)
        if time.monotonic() - self._shown >= _AT_MOST_EVERY_S or done >= total:
            self._show()

    def close(self) -> None:
        if self._handle is not None:
            self._show()

    def _repr_html_(self) -> str:
        rate = self._rate.text(self._total - self._done)
        return f"{text_html(self._what)} {meter_html(self._done, self._total)} {text_html(rate)}"

    def _show(self) -> None:
        self._shown = time.monotonic()
        if self._handle is None:
            from IPython.display import display

            self._handle = display(self, display_id=True)
        else:
            self._handle.update(self)


def progress(what: str) -> Progress:
    """A progress bar: in a notebook's cell, on a terminal, or none elsewhere."""
    if _in_notebook():
        return NotebookBar(what)
    return TerminalBar(sys.stderr, what) if sys.stderr.isatty() else Unwatched()


async def fetch_all(disk: Disk, shown: Progress | None = None) -> None:
    """Fetches the whole image into the disk's cache, with a bar.

    Cached blocks are not fetched again. Raises what reading does, and `InvalidOptionError` if the
    cache limit is smaller than the image.
    """
    size, limit = disk.info.size, disk.stats().cache_limit_bytes
    if limit < size:
        raise InvalidOptionError("cache_limit_bytes", limit, f"at least the image's size, {size}")
    bar = progress("Fetching") if shown is None else shown
    done = 0
    with contextlib.closing(bar):
        async for data in read_in_order(disk, chunks_of(0, size)):
            done += len(data)
            bar.update(done, size)


def _in_notebook() -> bool:
    """Whether this runs in a notebook's kernel, which can show output."""
    shell = sys.modules.get("IPython")
    current = shell.get_ipython() if shell is not None else None
    return getattr(current, "kernel", None) is not None
