"""Locks and channels between the tabs and workers of an origin, and the clock."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection
from typing import Any

from ..base import Message
from .interop import ROOT, js_object


class WebLock:
    """A `Lock` of the Web Locks API; the browser frees it when the worker dies."""

    def __init__(self, let_go: Callable[[], None]) -> None:
        self._let_go: Callable[[], None] | None = let_go

    def release(self) -> None:
        let_go, self._let_go = self._let_go, None
        if let_go is not None:
            let_go()


class WebLocks:
    """`Locks` among the tabs and workers of this origin."""

    def __init__(self) -> None:
        self._leaving: dict[str, Any] = {}  # promises: that the browser knows of a release

    async def acquire(self, name: str, timeout_s: float | None) -> WebLock | None:
        import js
        from pyodide.ffi import create_once_callable

        held = asyncio.get_running_loop().create_future()
        released = js.Promise.withResolvers()

        def hold(_lock: Any) -> Any:
            if not held.done():
                held.set_result(None)
            return released.promise

        await self._left(name)
        waiting = js.AbortController.new()
        request = js.navigator.locks.request(
            f"{ROOT}/{name}", js_object(signal=waiting.signal), create_once_callable(hold)
        )
        settled = request.catch(_ignore_abort())

        def let_go() -> None:
            self._leaving[name] = settled
            released.resolve()

        try:
            while not await _done_within(held, timeout_s):
                # Late is not refused: a busy machine may take long to grant a free lock.
                # A grant that preceded this query is reported before the query's result.
                has_holder = name in await self.held([name])
                if has_holder and not held.done():
                    waiting.abort()
                    let_go()
                    return None
        except BaseException:
            waiting.abort()
            let_go()
            raise
        return WebLock(let_go)

    async def held(self, names: Collection[str]) -> set[str]:
        import js

        for name in names:
            await self._left(name)
        found = (await js.navigator.locks.query()).held
        held = {str(lock.name).removeprefix(f"{ROOT}/") for lock in found}
        return held & set(names)

    async def _left(self, name: str) -> None:
        """Waits until the browser knows that we released a lock, if we did."""
        if (leaving := self._leaving.pop(name, None)) is not None:
            await leaving


async def _done_within(future: asyncio.Future[None], timeout_s: float | None) -> bool:
    await asyncio.wait([future], timeout=timeout_s)
    return future.done()


def _ignore_abort() -> Any:
    """Handles the rejection of a cancelled lock request."""
    from pyodide.ffi import create_once_callable

    return create_once_callable(lambda _error: None)


class BroadcastChannelEnd:
    """A `Channel` of the Broadcast Channel API."""

    def __init__(self, name: str, hear: Callable[[Message], None]) -> None:
        import js
        from pyodide.ffi import create_proxy

        self._raw = js.BroadcastChannel.new(f"{ROOT}/{name}")
        self._listener = create_proxy(lambda event: hear(_plain(event.data)))
        self._raw.onmessage = self._listener

    def send(self, message: Message) -> None:
        self._raw.postMessage(js_object(**message))

    def close(self) -> None:
        if self._raw is not None:
            self._raw.close()
            self._raw.onmessage = None
            self._listener.destroy()
            self._raw = None


def _plain(data: Any) -> Message:
    return {
        name: value.to_bytes()
        if hasattr(value, "to_bytes") and not isinstance(value, int)
        else value
        for name, value in data.object_entries()
    }


class BroadcastChannels:
    """`Channels` among the tabs and workers of this origin."""

    def open(self, name: str, hear: Callable[[Message], None]) -> BroadcastChannelEnd:
        return BroadcastChannelEnd(name, hear)


class BrowserClock:
    """The browser's clock."""

    def now(self) -> float:
        return time.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
