"""Ends work that makes no progress for too long, however long it takes overall."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self


class StallLimit:
    """As `asyncio.timeout`, but each `moved()` restarts the time. Raises `TimeoutError`.

    It uses one timer: a download has thousands of chunks, and setting a timer takes a browser
    longer than handing over a chunk.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._moved_at = self._loop.time()
        self._timeout = asyncio.timeout(None)
        self._timer: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Self:
        await self._timeout.__aenter__()
        self._timer = self._loop.call_later(self._seconds, self._check)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        await self._timeout.__aexit__(kind, error, trace)

    def moved(self) -> None:
        """There was progress."""
        self._moved_at = self._loop.time()

    def _check(self) -> None:
        quiet = self._loop.time() - self._moved_at
        if quiet >= self._seconds:
            self._timeout.reschedule(self._loop.time())
        else:
            self._timer = self._loop.call_later(self._seconds - quiet, self._check)
