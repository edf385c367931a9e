"""Tasks and futures that take fewer trips through the event loop: 0.1 ms each in Pyodide."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine
from typing import Any


def bare_future() -> asyncio.Future[Any]:
    """A future, not of the loop's own kind: the two callbacks of those take a trip each."""
    return asyncio.Future(loop=asyncio.get_running_loop())


def task_begun(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """A task for `work`, which has run as far as its first wait.

    Not yet where no loop runs (a file is read between two calls of `Runner.run`), nor before Python
    3.12. Not the loop's own kind of task, which in Pyodide takes one more trip at its end.
    """
    if sys.version_info >= (3, 12):
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            pass
        else:
            return asyncio.Task(work, loop=loop, eager_start=True)
    return asyncio.ensure_future(work)
