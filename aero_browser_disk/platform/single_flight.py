"""Work that several wait for is done once; it is given up when nobody waits for it any more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, TypeVar

from .event_loop import bare_future, owned_task

Result = TypeVar("Result")


@dataclass(slots=True, eq=False)
class _Flight(Generic[Result]):
    waiters: list[asyncio.Future[Result]] = field(default_factory=list)
    task: asyncio.Task[None] | None = None

    async def fly(self, work: Callable[[], Coroutine[Any, Any, Result]]) -> None:
        """Does the work, and hands its result or error to all who wait."""
        try:
            result = await work()
        except asyncio.CancelledError:
            for waiter in self.waiters:
                waiter.cancel()
            raise
        except BaseException as error:
            for waiter in self._waiting():
                waiter.set_exception(error)
            if not isinstance(error, Exception):
                raise
        else:
            for waiter in self._waiting():
                waiter.set_result(result)

    def _waiting(self) -> list[asyncio.Future[Result]]:
        return [waiter for waiter in self.waiters if not waiter.done()]


class SingleFlight(Generic[Result]):
    """Runs the work for a key once at a time.

    The result goes to who waits in one trip through the event loop: `asyncio.shield` around a task
    takes three more, of 0.1 ms each in Pyodide.
    """

    def __init__(self) -> None:
        self._flights: dict[Hashable, _Flight[Result]] = {}

    async def run(self, key: Hashable, work: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
        """What `work()` returns; joins the work under way for `key` if there is some.

        Raises what the work does. A waiter that is cancelled leaves the work to the others.
        """
        waiter: asyncio.Future[Result] = bare_future()
        flight = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = _Flight([waiter])
            landed = partial(self._forget, key, flight)
            flight.task = owned_task(flight.fly(work), landed, eager=True)
        else:
            flight.waiters.append(waiter)
        try:
            return await waiter
        finally:
            flight.waiters.remove(waiter)
            if not flight.waiters:
                self._forget(key, flight)
                if flight.task is not None:
                    flight.task.cancel()

    def _forget(self, key: Hashable, flight: _Flight[Result], _: object = None) -> None:
        """Lets who comes from now on do the work anew."""
        if self._flights.get(key) is flight:
            del self._flights[key]
