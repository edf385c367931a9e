"""Waiting for what sets no event."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


async def until(condition: Callable[[], bool]) -> None:
    """Lets everything else run until the condition holds; the test's own time-out bounds it."""
    while not condition():  # noqa: ASYNC110 - what it waits for sets no event
        await asyncio.sleep(0)
