"""Finds the errors of tasks and futures that nobody took."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def errors_nobody_took() -> Iterator[list[str]]:
    """What the event loop reports of tasks that were dropped inside; complete afterwards."""
    found: list[str] = []

    def note(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        found.append(f"{context['message']}: {context.get('exception')!r}")

    loop = asyncio.get_running_loop()
    before = loop.get_exception_handler()
    gc.collect()  # those of others are theirs
    loop.set_exception_handler(note)
    try:
        yield found
        gc.collect()
    finally:
        loop.set_exception_handler(before)
