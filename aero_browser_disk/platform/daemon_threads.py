"""Threads for blocking calls that do not keep the interpreter from exiting (CPython)."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, ParamSpec, TypeVar

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


class DaemonThreads(ThreadPoolExecutor):
    """A pool of daemon threads with a maximum size; a thread is started when none is idle.

    The interpreter waits for the threads of a `ThreadPoolExecutor` when it exits, so a server that
    does not respond would delay the exit. That executor also takes no work once the main thread
    has ended, even while other threads run.
    """

    def __init__(self, max_threads: int, name: str) -> None:
        super().__init__(max_threads, name)
        self._work: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None]
        self._work = queue.SimpleQueue()
        self._guard = threading.Lock()
        self._idle = 0
        self._started = 0
        self._is_closed = False

    def submit(
        self,
        call: Callable[Parameters, Result],
        /,
        *args: Parameters.args,
        **options: Parameters.kwargs,
    ) -> Future[Result]:
        """Makes a call in one of the threads. Raises `RuntimeError` after `shutdown`."""
        future: Future[Result] = Future()
        with self._guard:
            if self._is_closed:
                raise RuntimeError("these threads were shut down")
            if self._idle:
                self._idle -= 1  # one of them takes it
            elif self._started < self._max_workers:
                self._start_thread()
            self._work.put((future, partial(call, *args, **options)))
        return future

    def _start_thread(self) -> None:
        name = f"{self._thread_name_prefix}_{self._started + 1}"
        try:
            threading.Thread(target=self._serve, name=name, daemon=True).start()
        except RuntimeError:
            # While the interpreter exits it may start no more: those that run take the call.
            if not self._started:
                raise
        else:
            self._started += 1

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Ends the threads after the submitted calls. Does not wait for them. Idempotent."""
        with self._guard:
            if self._is_closed:
                return
            self._is_closed = True
            while cancel_futures and not self._work.empty():
                waiting = self._work.get()
                if waiting is not None:
                    waiting[0].cancel()
            self._work.put(None)

    def _serve(self) -> None:
        while (work := self._work.get()) is not None:
            _run(*work)
            del work  # do not keep the call's arguments until the next one
            with self._guard:
                if self._work.empty():
                    self._idle += 1
        self._work.put(None)  # for the next thread


def _run(future: Future[Any], call: Callable[[], Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = call()
    except BaseException as error:  # noqa: BLE001 - passed to the caller
        future.set_exception(error)
    else:
        future.set_result(result)
