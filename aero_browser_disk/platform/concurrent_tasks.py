"""Several tasks under way at once, of which some may fail: none outlives the work it belongs to."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

Result = TypeVar("Result")


async def all_of(works: Iterable[Coroutine[Any, Any, Result]]) -> list[Result]:
    """The results of coroutines that run at once, in their order.

    If one fails or this is cancelled, the others are cancelled, and the first error is raised once
    all have ended. Unlike `asyncio.TaskGroup`, it raises the error itself, not a group.
    """
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        return await asyncio.gather(*tasks)
    except BaseException:
        await end_all(tasks)
        raise


async def end_all(tasks: Iterable[asyncio.Future[Any]]) -> None:
    """Cancels what is under way, and returns once all has ended. Their errors are dropped."""
    tasks = [*tasks]
    for task in tasks:
        task.cancel()
    # Errors of tasks that failed before count as retrieved as well.
    await asyncio.gather(*tasks, return_exceptions=True)
