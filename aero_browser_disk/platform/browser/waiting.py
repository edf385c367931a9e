"""Waiting by stack switching (JavaScript Promise Integration)."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from ...errors import CannotWaitError
from ..base import Result, Work


class SwitchingWaiter:
    """Waits by `run_sync`: this call is suspended while the event loop runs."""

    may_try = True

    def wait(self, work: Work) -> None:
        _check_can_wait()
        SwitchingRunner().run(work())


class SwitchingRunner:
    """Runs coroutines by `run_sync`, in the running event loop."""

    def __init__(self) -> None:
        self._started: set[asyncio.Future[None]] = set()  # the loop keeps only weak references

    def run(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        from pyodide.ffi import run_sync

        try:
            _check_can_wait()
        except CannotWaitError:
            coroutine.close()
            raise
        result: Result = run_sync(coroutine)
        return result

    def start(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(coroutine)
        self._started.add(task)
        task.add_done_callback(self._started.discard)

    def close(self) -> None:
        """Nothing runs in the background."""

    def end(self, last: Coroutine[Any, Any, None]) -> None:
        """The page goes away with all that it has; nothing can be waited for then."""
        last.close()


def _check_can_wait() -> None:
    from pyodide.ffi import can_run_sync

    if not can_run_sync():
        raise CannotWaitError(
            "this browser has no stack switching, or Python was called in a way that does not "
            "allow it (runPython instead of runPythonAsync). Read it beforehand with "
            "await disk.read(…), or use the disk's own asynchronous methods."
        )
