"""How synchronous code waits for asynchronous code, on each platform."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Coroutine
from typing import Any

from ..errors import CannotWaitError
from .base import Runner, Waiter, Work


def waiter() -> Waiter:
    """How this platform waits in code that belongs to the running event loop."""
    if sys.platform == "emscripten":
        from .browser.waiting import SwitchingWaiter

        return SwitchingWaiter()
    try:
        return ThreadWaiter(asyncio.get_running_loop())
    except RuntimeError:
        return NoWaiter()


class GivenWaiter:
    """Waits by a function of the caller's."""

    may_try = True

    def __init__(self, wait: Callable[[Coroutine[Any, Any, None]], None]) -> None:
        self._wait = wait

    def wait(self, work: Work) -> None:
        self._wait(work())


class ThreadWaiter:
    """Waits, in another thread, for what the loop's thread does."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._thread = threading.get_ident()

    @property
    def may_try(self) -> bool:
        return threading.get_ident() == self._thread  # a disk belongs to one thread

    def wait(self, work: Work) -> None:
        if self.may_try:
            raise CannotWaitError(
                "this is the thread of the event loop that would fetch them. Use the file in "
                "another: await asyncio.to_thread(parse, file)."
            )
        if not self._loop.is_running():
            raise CannotWaitError("the event loop that the disk belongs to does not run.")
        asyncio.run_coroutine_threadsafe(work(), self._loop).result()


class NoWaiter:
    """For files that were made outside of any event loop."""

    may_try = True

    def wait(self, work: Work) -> None:
        raise CannotWaitError(
            "the file was made outside of an event loop. Make it inside, or give it "
            "wait=runner.run of the asyncio.Runner that the disk was opened by."
        )


def runner() -> Runner:
    """Runs coroutines for synchronous code that belongs to no event loop."""
    if sys.platform == "emscripten":
        from .browser.waiting import SwitchingRunner

        return SwitchingRunner()
    from .background_loop import BackgroundLoop

    return BackgroundLoop()
