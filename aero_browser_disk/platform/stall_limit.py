"""Ends work in which nothing happens for too long, however long it takes as a whole."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self


class StallLimit:
    """As `asyncio.timeout`, but each `moved()` starts the time over. Raises `TimeoutError`.

    One timer for the whole of it: a download comes in thousands of chunks, and to set a timer takes
    a browser longer than to hand over a chunk.
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
        """Something happened."""
        self._moved_at = self._loop.time()

    def _check(self) -> None:
        quiet = self._loop.time() - self._moved_at
        if quiet >= self._seconds:
            self._timeout.reschedule(self._loop.time())
        else:
            self._timer = self._loop.call_later(self._seconds - quiet, self._check)
