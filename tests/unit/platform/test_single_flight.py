"""Work that several wait for is done once, and given up when nobody waits for it any more."""

from __future__ import annotations

import asyncio

import pytest

from aero_browser_disk.platform.single_flight import SingleFlight


class Work:
    """Counts how often it begins and is given up; ends when it is told to."""

    def __init__(self) -> None:
        self.begun = self.given_up = 0
        self.result: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def __call__(self) -> str:
        self.begun += 1
        try:
            return await asyncio.shield(self.result)
        except asyncio.CancelledError:
            self.given_up += 1
            raise


async def settled() -> None:
    """Lets everything go on that can."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_all_get_the_result_of_one():
    flights, work = SingleFlight[str](), Work()
    waiting = [asyncio.ensure_future(flights.run("key", work)) for _ in range(3)]
    other = asyncio.ensure_future(flights.run("other", work))
    await settled()
    assert work.begun == 2
    work.result.set_result("done")
    assert await asyncio.gather(*waiting, other) == ["done"] * 4


async def test_all_get_the_error_of_one():
    flights, work = SingleFlight[str](), Work()
    waiting = [asyncio.ensure_future(flights.run("key", work)) for _ in range(3)]
    await settled()
    work.result.set_exception(ValueError("no"))
    for found in await asyncio.gather(*waiting, return_exceptions=True):
        assert isinstance(found, ValueError)


async def test_who_is_cancelled_leaves_the_work_to_the_others():
    flights, work = SingleFlight[str](), Work()
    first, second = (asyncio.ensure_future(flights.run("key", work)) for _ in range(2))
    await settled()
    first.cancel()
    await settled()
    assert not work.given_up
    work.result.set_result("done")
    assert await second == "done"


async def test_the_last_who_is_cancelled_gives_it_up():
    flights, work = SingleFlight[str](), Work()
    waiting = [asyncio.ensure_future(flights.run("key", work)) for _ in range(2)]
    await settled()
    for each in waiting:
        each.cancel()
    await settled()
    assert (work.begun, work.given_up) == (1, 1)
    again = asyncio.ensure_future(flights.run("key", work))
    await settled()
    work.result.set_result("anew")
    assert await again == "anew"


async def test_who_is_cancelled_before_it_begins_leaves_nothing():
    flights, work = SingleFlight[str](), Work()
    waiting = asyncio.ensure_future(flights.run("key", work))
    await asyncio.sleep(0)
    waiting.cancel()
    await settled()
    assert work.begun == work.given_up
    work.result.cancel()


async def test_who_comes_as_it_ends_is_answered_too():
    flights, work = SingleFlight[str](), Work()
    found = []

    async def read() -> None:
        found.append(await flights.run("key", work))

    tasks = [asyncio.ensure_future(read()) for _ in range(2)]
    await settled()
    work.result.set_result("done")
    for _ in range(6):  # in each of the steps in which the others are told
        await asyncio.sleep(0)
        tasks.append(asyncio.ensure_future(read()))
    async with asyncio.timeout(60):
        await asyncio.gather(*tasks)
    assert found == ["done"] * 8


async def test_work_that_waits_for_nothing():
    async def work() -> str:
        return "at once"

    async def fails() -> str:
        raise ValueError("at once")

    flights = SingleFlight[str]()
    assert await flights.run("key", work) == "at once"
    with pytest.raises(ValueError, match="at once"):
        await flights.run("key", fails)
    assert await flights.run("key", work) == "at once"


async def test_work_that_cancels_itself_cancels_who_waits():
    async def work() -> str:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await SingleFlight[str]().run("key", work)


async def test_the_result_takes_two_steps_of_the_loop():
    flights = SingleFlight[str]()
    ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def work() -> str:
        return await ready

    reading = asyncio.ensure_future(flights.run("key", work))
    await settled()
    ready.set_result("done")
    steps = 0
    while not reading.done():
        await asyncio.sleep(0)
        steps += 1
    assert steps <= 2, "each takes 0.1 ms in Pyodide"
