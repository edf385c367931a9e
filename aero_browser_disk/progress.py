"""The progress of long work: a bar on a terminal, or nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol, TextIO

from .units import format_bytes, format_percent

_WIDTH = 30
_AT_MOST_EVERY_S = 0.1
_RATE_OVER_S = 3.0


class Progress(Protocol):
    """Receives the progress in bytes."""

    def update(self, done: int, total: int) -> None:
        """`done` of `total` bytes are done."""

    def close(self) -> None:
        """The work ended, well or not. Idempotent."""


class Unwatched:
    """A `Progress` that shows nothing."""

    def update(self, done: int, total: int) -> None:
        """Says nothing."""

    def close(self) -> None:
        """Says nothing."""


class TerminalBar:
    """A `Progress` as a line on a terminal, updated in place and removed at the end."""

    def __init__(
        self, stream: TextIO, what: str, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream = stream
        self._what = what
        self._now = now
        self._started = self._shown = now() - _AT_MOST_EVERY_S
        self._rate = RateMeter(now)
        self._length = 0

    def update(self, done: int, total: int) -> None:
        self._rate.note(done)
        if self._now() - self._shown >= _AT_MOST_EVERY_S or done >= total:
            self._shown = self._now()
            self._write(f"{self._what} {bar(done, total)} {self._rate.text(total - done)}")

    def close(self) -> None:
        if self._length:
            self._write("")
            self._stream.write("\r")
            self._stream.flush()
            self._length = 0

    def _write(self, line: str) -> None:
        self._stream.write(f"\r{line.ljust(self._length)}")
        self._stream.flush()
        self._length = len(line)


class RateMeter:
    """How fast bytes come, over the last seconds, and how long the rest takes at that rate."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._seen: list[tuple[float, int]] = []

    def note(self, done: int) -> None:
        """`done` bytes are done by now."""
        at = self._now()
        self._seen.append((at, done))
        while len(self._seen) > 2 and self._seen[1][0] < at - _RATE_OVER_S:
            del self._seen[0]

    def text(self, left: int) -> str:
        """`12.5 MiB/s, 3 min left`; empty while nothing is known."""
        if len(self._seen) < 2:
            return ""
        (began, before), (at, done) = self._seen[0], self._seen[-1]
        if at <= began or done <= before:
            return ""
        rate = (done - before) / (at - began)
        return f"{format_bytes(int(rate))}/s, {_duration(left / rate)} left"


def bar(done: int, total: int) -> str:
    """`[####......]  40 %  4 MiB of 10 MiB`."""
    filled = _WIDTH * min(done, total) // total if total else _WIDTH
    shown = f"[{'#' * filled}{'.' * (_WIDTH - filled)}] {format_percent(done, total):>7}"
    return f"{shown}  {format_bytes(done)} of {format_bytes(total)}"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{round(seconds)} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{round(seconds / 3600)} h"
