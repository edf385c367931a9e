"""Several tasks at once: the first error is raised, and no task outlives the work."""

from __future__ import annotations

import ast
import asyncio
from pathlib import Path

import pytest

import aero_browser_disk
from aero_browser_disk.platform.byte_source import CHUNK, in_order
from aero_browser_disk.platform.concurrent_tasks import all_of, end_all
from support.unretrieved import errors_nobody_took

PACKAGE = Path(aero_browser_disk.__file__).parent


class Work:
    """Waits until it is let go; says whether it was cancelled, and ends only when that is done."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.error: Exception | None = None
        self.has_ended = False

    async def run(self) -> int:
        try:
            await self.go.wait()
            if self.error is not None:
                raise self.error
            return id(self)
        finally:
            await asyncio.sleep(0)  # to clean up takes a moment
            self.has_ended = True


async def test_the_results_are_in_order() -> None:
    works = [Work() for _ in range(3)]
    together = asyncio.ensure_future(all_of(work.run() for work in works))
    for work in reversed(works):
        await asyncio.sleep(0)
        work.go.set()
    assert await together == [id(work) for work in works]
    assert await all_of([]) == []


async def test_an_error_is_raised_once_the_others_have_ended() -> None:
    works = [Work() for _ in range(3)]
    works[1].error = OSError("the second")
    works[1].go.set()
    with pytest.raises(OSError, match="the second"):
        await all_of(work.run() for work in works)
    assert all(work.has_ended for work in works)


async def test_of_several_errors_none_is_left_behind() -> None:
    with errors_nobody_took() as left:
        works = [Work() for _ in range(3)]
        for number, work in enumerate(works):
            work.error = OSError(f"number {number}")
            work.go.set()
        with pytest.raises(OSError, match="number 0"):
            await all_of(work.run() for work in works)
        del works, work
    assert left == []


async def test_cancelling_it_ends_all() -> None:
    works = [Work() for _ in range(3)]
    together = asyncio.ensure_future(all_of(work.run() for work in works))
    for _ in range(3):  # until all have begun
        await asyncio.sleep(0)
    together.cancel()
    with pytest.raises(asyncio.CancelledError):
        await together
    assert all(work.has_ended for work in works)


async def test_ending_tasks_takes_the_errors_of_those_that_failed() -> None:
    with errors_nobody_took() as left:
        failed, waiting = Work(), Work()
        failed.error = OSError("nobody asks")
        failed.go.set()
        tasks = [asyncio.ensure_future(work.run()) for work in (failed, waiting)]
        await asyncio.wait(tasks[:1])
        await end_all(tasks)
        assert waiting.has_ended
        del failed, tasks
    assert left == []


async def test_no_read_ahead_outlives_the_stream() -> None:
    """The file below may be closed as soon as the stream has ended."""
    under_way = 0

    async def read(offset: int, length: int) -> bytes:
        nonlocal under_way
        under_way += 1
        try:
            await asyncio.sleep(0)
            if offset:
                await asyncio.Event().wait()
            raise OSError("the first chunk")
        finally:
            await asyncio.sleep(0)
            under_way -= 1

    with pytest.raises(OSError, match="the first chunk"):
        async for _ in in_order(read, 3 * CHUNK, 0, ahead=3):
            pass
    assert under_way == 0


def test_several_tasks_are_waited_for_in_one_way() -> None:
    """`asyncio.gather` leaves the others running when one fails, unless it returns the errors."""
    bare = {
        f"{path.relative_to(PACKAGE)}:{node.lineno}"
        for path in PACKAGE.rglob("*.py")
        if path.parts[-2:] != ("platform", "concurrent_tasks.py") and "testing" not in path.parts
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        if isinstance(node.func, ast.Attribute) and node.func.attr in ("gather", "as_completed")
        if "return_exceptions" not in {keyword.arg for keyword in node.keywords}
    }
    assert not bare
