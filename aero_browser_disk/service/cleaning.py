"""Cleans up in the background, from time to time and when something was left over."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

from .http.access_log import AccessLog
from .outgoing import BlockingCalls

_PAUSE_S: Final = 3600.0
_TIMEOUT_S: Final = 3600.0


class Cleaning:
    """Calls `clean`, which blocks and returns how many things it removed, never twice at once.

    `subject` and `route` are for the log. For one event loop.
    """

    def __init__(self, clean: Callable[[], int], subject: str, route: str, log: AccessLog) -> None:
        self._clean = clean
        self._subject = subject
        self._route = route
        self._log = log
        self._calls = BlockingCalls(f"cleaning up {subject}", 1, _TIMEOUT_S)
        self._task: asyncio.Task[None] | None = None
        self._cleaned_at = float("-inf")
        self._again = False

    def begin(self, *, at_once: bool = False) -> None:
        """Begins if that was last done an hour ago, or `at_once`."""
        now = time.monotonic()
        if not at_once and now - self._cleaned_at < _PAUSE_S:
            return
        self._cleaned_at = now
        if self._task is not None and not self._task.done():
            self._again = True
            return
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while True:
            self._again = False
            try:
                count = await self._calls.run(self._clean)
            except OSError as error:
                self._log.event("failed", route=self._route, error=str(error))
                return
            if count:
                self._log.event(f"{self._subject}_cleaned", count=count)
            if not self._again:
                return
