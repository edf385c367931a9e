"""The checks that every `Locks` must pass; subclass it like `StorageSuite`."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from ..platform.base import Lock, Locks

_SOON_S = 0.05


class LocksSuite:
    """The checks. Each is an `async def` without arguments and runs on an instance of its own."""

    # ── for the subclass ──

    async def make(self) -> Locks:
        """Locks that nobody holds."""
        raise NotImplementedError

    # ── checks ──

    async def test_a_free_lock_is_had_however_short_the_wait(self) -> None:
        locks = await self.make()
        for _ in range(20):
            async with _held(locks, "free", 0):
                pass

    async def test_a_held_lock_is_had_by_nobody_else(self) -> None:
        locks = await self.make()
        async with _held(locks, "a"):
            assert await locks.acquire("a", 0) is None
            assert await locks.acquire("a", _SOON_S) is None

    async def test_one_that_did_not_get_it_keeps_it_from_nobody(self) -> None:
        locks = await self.make()
        async with _held(locks, "a"):
            assert await locks.acquire("a", _SOON_S) is None
        async with _held(locks, "a", 0):
            pass

    async def test_locks_of_other_names_are_free(self) -> None:
        locks = await self.make()
        async with _held(locks, "cache/a"), _held(locks, "cache/b", 0):
            pass

    async def test_a_released_lock_goes_to_one_who_waits(self) -> None:
        locks = await self.make()
        first = await locks.acquire("a", 0)
        assert first is not None
        waiting = asyncio.ensure_future(locks.acquire("a", None))
        await asyncio.wait([waiting], timeout=_SOON_S)
        assert not waiting.done()
        first.release()
        second = await waiting
        assert second is not None
        first.release()  # once more: it is the other's now
        assert await locks.acquire("a", 0) is None
        second.release()

    async def test_a_cancelled_wait_leaves_the_lock_free(self) -> None:
        locks = await self.make()
        async with _held(locks, "a"):
            waiting = asyncio.ensure_future(locks.acquire("a", None))
            await asyncio.wait([waiting], timeout=_SOON_S)
            waiting.cancel()
            await asyncio.wait([waiting])
            assert waiting.cancelled()
        async with _held(locks, "a", 0):
            pass

    async def test_held_tells_who_has_a_holder(self) -> None:
        locks = await self.make()
        async with _held(locks, "a"), _held(locks, "b"):
            assert await locks.held(["a", "c"]) == {"a"}
        assert await locks.held(["a", "b"]) == set()


@asynccontextmanager
async def _held(locks: Locks, name: str, timeout_s: float | None = None) -> AsyncIterator[Lock]:
    lock = await locks.acquire(name, timeout_s)
    assert lock is not None
    try:
        yield lock
    finally:
        lock.release()
