"""Blocking calls to other servers: each has a deadline, and none keeps the process alive."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from threading import Thread
from typing import TypeVar

from .stores.image_store import StoreError

T = TypeVar("T")


class BlockingCalls:
    """Runs blocking calls to `name`, at most `limit` at once, each for at most `timeout_s`.

    A call that hangs occupies a thread and a slot until it ends, but its caller gets a `StoreError`
    in time. The threads are daemons, unlike those of an executor, so that the process
    ends without them. For one event loop.
    """

    def __init__(self, name: str, limit: int, timeout_s: float) -> None:
        self._name = name
        self._timeout_s = timeout_s
        self._slots = asyncio.Semaphore(limit)

    async def run(self, call: Callable[[], T]) -> T:
        """What the call returns or raises; raises `StoreError` when it takes too long."""
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._run(call)
        except TimeoutError:
            reason = f"{self._name} did not respond within {self._timeout_s:g} s"
            raise StoreError(reason) from None

    async def _run(self, call: Callable[[], T]) -> T:
        await self._slots.acquire()
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()

        def end(result: T | None, error: BaseException | None) -> None:
            self._slots.release()
            if done.done():
                return  # the caller has given up
            if error is not None:
                done.set_exception(error)
            else:
                done.set_result(result)  # type: ignore[arg-type]

        def work() -> None:
            result, error = None, None
            try:
                result = call()
            except BaseException as raised:  # noqa: BLE001 - passed to the caller
                error = raised
            # The loop may be closed by now.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(end, result, error)

        Thread(target=work, name=self._name, daemon=True).start()
        return await done
