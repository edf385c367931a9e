"""Waiting by stack switching (JavaScript Promise Integration)."""

from __future__ import annotations

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

    def run(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        from pyodide.ffi import run_sync

        try:
            _check_can_wait()
        except CannotWaitError:
            coroutine.close()
            raise
        result: Result = run_sync(coroutine)
        return result

    def close(self) -> None:
        """Nothing runs in the background."""


def _check_can_wait() -> None:
    from pyodide.ffi import can_run_sync

    if not can_run_sync():
        raise CannotWaitError(
            "this browser has no stack switching, or Python was called in a way that does not "
            "allow it (runPython instead of runPythonAsync). Read it beforehand with "
            "await disk.read(…), or use the disk's own asynchronous methods."
        )
