"""Waiting by stack switching (JavaScript Promise Integration)."""

from __future__ import annotations

from ...errors import CannotWaitError
from ..base import Work


class SwitchingWaiter:
    """Waits by `run_sync`: this call is set aside while the event loop goes on."""

    may_try = True

    def wait(self, work: Work) -> None:
        from pyodide.ffi import can_run_sync, run_sync

        if not can_run_sync():
            raise CannotWaitError(
                "this browser has no stack switching, or Python was called in a way that does not "
                "allow it (runPython instead of runPythonAsync). Read it beforehand with "
                "await disk.read(…), or use the disk's own asynchronous methods."
            )
        run_sync(work())
