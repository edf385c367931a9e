"""An event loop in a thread of its own, for synchronous code (CPython)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Coroutine
from concurrent.futures import CancelledError
from typing import Any, NoReturn, TypeVar

from .concurrent_tasks import end_all
from .daemon_threads import DaemonThreads

Result = TypeVar("Result")

_THREADS = 8  # for blocking calls, such as reads of a local file
_SLOW_S = 10.0  # of a callback, before the debug mode of asyncio tells of it
_LAST_WAIT_S = 5.0  # for the loop to end, when the interpreter does


class BackgroundLoop:
    """Runs coroutines for any number of threads, one event loop for all of them.

    The thread starts with the first call and ends with `close`. It belongs to the process that
    made it: after a fork, calls raise `RuntimeError` in the child.
    """

    def __init__(self) -> None:
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._is_ending = False

    def run(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        """Waits for a coroutine; returns what it returns and raises what it raises.

        An interrupt (Ctrl+C) cancels it. Raises `RuntimeError` in the loop's own thread, which
        would wait for itself, and in a forked process, where no thread runs the loop.
        """
        if self._process != os.getpid():
            coroutine.close()
            raise RuntimeError(
                "this was opened by the process that this one was forked from: open it again here"
            )
        if self._is_ending and threading.current_thread().daemon:
            coroutine.close()
            _wait_for_the_end()
        try:
            loop = self._running_loop()
        except RuntimeError:
            coroutine.close()
            raise
        if threading.current_thread() is self._thread:
            coroutine.close()
            raise RuntimeError("synchronous calls cannot be made inside the event loop they use")
        future = asyncio.run_coroutine_threadsafe(coroutine, loop)
        try:
            return future.result()
        except BaseException:
            if self._is_ending and threading.current_thread().daemon:
                _wait_for_the_end()
            future.cancel()  # of no effect on one that ended by itself
            raise

    def start(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Has a coroutine run, from any thread, and waits for nothing.

        It is dropped where no loop runs.
        """
        loop = self._loop if self._process == os.getpid() else None
        if loop is None or loop.is_closed():
            coroutine.close()
        else:
            asyncio.run_coroutine_threadsafe(coroutine, loop)

    def close(self) -> None:
        """Ends the thread. What is still to be run is cancelled. Idempotent."""
        self._stop(None)

    def end(self, last: Coroutine[Any, Any, None]) -> None:
        """Runs `last`, then as `close`, while the interpreter ends.

        Daemon threads that call are left waiting, as an exception would be printed, until they are
        no more. Each of the two is waited for a few seconds only.
        """
        self._is_ending = True
        loop = self._loop
        if loop is None:
            last.close()
            return
        with contextlib.suppress(TimeoutError, CancelledError):
            asyncio.run_coroutine_threadsafe(last, loop).result(_LAST_WAIT_S)
        self._stop(_LAST_WAIT_S)

    def _stop(self, timeout_s: float | None) -> None:
        if self._process != os.getpid():
            return
        with self._lock:
            loop, thread = self._loop, self._thread
            self._loop = self._thread = None
        if loop is None or thread is None:
            return
        loop.call_soon_threadsafe(loop.stop)
        thread.join(timeout_s)

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._loop.slow_callback_duration = _SLOW_S  # imports are part of a first call
                self._loop.set_default_executor(DaemonThreads(_THREADS, "aero_browser_disk"))
                # A daemon, so that it does not keep the interpreter from ending.
                self._thread = threading.Thread(
                    target=_run, args=(self._loop,), name="aero_browser_disk", daemon=True
                )
                try:
                    self._thread.start()
                except RuntimeError as error:  # in Python 3.12
                    self._loop.close()
                    self._loop = self._thread = None
                    raise RuntimeError(
                        "Python is exiting and starts no thread any more: register functions to be "
                        "called at exit after the disk was opened"
                    ) from error
            return self._loop


def _wait_for_the_end() -> NoReturn:
    """Keeps a daemon thread until the interpreter, which is ending, takes it away."""
    while True:
        threading.Event().wait()


def _run(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
        loop.run_until_complete(end_all(asyncio.all_tasks(loop)))
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        loop.close()  # shuts its threads down too, for which no thread can be started at exit
