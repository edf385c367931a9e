"""A task gives back what it owns, at whichever moment it is cancelled."""

from __future__ import annotations

import asyncio

import pytest

from aero_browser_disk.platform.event_loop import owned_task


@pytest.mark.parametrize("eager", [False, True])
@pytest.mark.parametrize("steps", [0, 1, 2, 3])
async def test_what_a_task_owns_is_given_back_once_whenever_it_is_cancelled(eager, steps):
    ended = []

    async def work():
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    task = owned_task(work(), ended.append, eager=eager)
    for _ in range(steps):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait({task})
    await asyncio.sleep(0)
    assert ended == [task]


@pytest.mark.parametrize("eager", [False, True])
async def test_it_is_given_back_when_the_work_fails(eager):
    ended = []

    async def work():
        raise ValueError("broken")

    task = owned_task(work(), ended.append, eager=eager)
    with pytest.raises(ValueError, match="broken"):
        await task
    assert ended == [task]
