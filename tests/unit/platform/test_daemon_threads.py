"""Threads for blocking calls: bounded, in order, and ended without waiting."""

from __future__ import annotations

import os
import threading
from concurrent.futures import CancelledError

import pytest

from aero_browser_disk.platform.daemon_threads import DaemonThreads


def test_calls_are_made_by_no_more_threads_than_there_may_be():
    threads = DaemonThreads(3, "mine")
    go, seen = threading.Event(), set()

    def work(number):
        seen.add(threading.current_thread())
        go.wait()
        return number

    futures = [threads.submit(work, number) for number in range(20)]
    go.set()
    assert [future.result() for future in futures] == list(range(20))
    assert len(seen) <= 3
    assert all(thread.daemon and thread.name.startswith("mine") for thread in seen)
    threads.shutdown()
    for thread in seen:
        thread.join()


def test_an_idle_thread_is_used_again():
    threads = DaemonThreads(8, "mine")
    seen = set()
    for _ in range(30):
        seen.add(threads.submit(threading.current_thread).result())
        while not threads._idle:  # it gives its result first
            os.sched_yield()
    assert len(seen) == 1
    threads.shutdown()


def test_errors_are_the_callers():
    threads = DaemonThreads(1, "mine")
    with pytest.raises(ZeroDivisionError):
        threads.submit(lambda: 1 / 0).result()
    assert threads.submit(int, "7").result() == 7
    threads.shutdown()


def test_what_has_not_begun_is_cancelled_and_nothing_more_is_taken():
    threads = DaemonThreads(1, "mine")
    began, go = threading.Event(), threading.Event()

    def work():
        began.set()
        go.wait()
        return "done"

    running = threads.submit(work)
    waiting = threads.submit(work)
    began.wait()
    threads.shutdown(cancel_futures=True)
    threads.shutdown()
    with pytest.raises(CancelledError):
        waiting.result()
    with pytest.raises(RuntimeError, match="shut down"):
        threads.submit(work)
    go.set()
    assert running.result() == "done"
