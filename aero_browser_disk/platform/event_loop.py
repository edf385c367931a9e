"""Tasks and futures that take fewer trips through the event loop: 0.1 ms each in Pyodide."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from typing import Any

Ended = Callable[[asyncio.Task[None]], None]
"""Called with a task that ended, in whatever way."""


def bare_future() -> asyncio.Future[Any]:
    """A plain future: callbacks of the loop's own futures take a trip each."""
    return asyncio.Future(loop=asyncio.get_running_loop())


def owned_task(
    work: Coroutine[Any, Any, None], ended: Ended, *, eager: bool = False
) -> asyncio.Task[None]:
    """A task for `work`; `ended` is called once when it is over, whether it began or not.

    A task that is cancelled before its first step never enters its coroutine, so a `finally` in
    `work` releases nothing. What a task owns is released in `ended`, which is the last step of a
    task that began, and a callback of one that did not.

    An `eager` task has run as far as its first wait on return. Not where no loop runs (a file is
    read between two calls of `Runner.run`), nor before Python 3.12. Not the loop's own kind of
    task, which in Pyodide takes one more trip at its end.
    """

    async def owning() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.remove_done_callback(never_began)
        try:
            await work
        finally:
            ended(task)

    def never_began(task: asyncio.Task[None]) -> None:
        work.close()
        ended(task)

    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        task = asyncio.ensure_future(owning())
    else:
        if eager and sys.version_info >= (3, 12):
            return asyncio.Task(owning(), loop=loop, eager_start=True)
        task = asyncio.Task(owning(), loop=loop)
    task.add_done_callback(never_began)
    return task
