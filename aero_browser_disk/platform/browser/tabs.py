"""What the tabs and workers of an origin have in common: locks, channels, the time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection
from typing import Any

from ..base import Message
from .interop import ROOT, js_object


class WebLock:
    """A `Lock` of the Web Locks API; the browser frees it when the worker dies."""

    def __init__(self, let_go: asyncio.Future[None]) -> None:
        self._let_go = let_go

    def release(self) -> None:
        if not self._let_go.done():
            self._let_go.set_result(None)


class WebLocks:
    """`Locks` among the tabs and workers of this origin."""

    async def acquire(self, name: str, timeout_s: float | None) -> WebLock | None:
        import js
        from pyodide.ffi import create_once_callable

        loop = asyncio.get_running_loop()
        held: asyncio.Future[None] = loop.create_future()
        let_go: asyncio.Future[None] = loop.create_future()

        async def hold(_lock: Any) -> None:
            if not held.done():
                held.set_result(None)
            await let_go

        waiting = js.AbortController.new()
        request = js.navigator.locks.request(
            f"{ROOT}/{name}", js_object(signal=waiting.signal), create_once_callable(hold)
        )
        request.catch(_ignore_abort())
        try:
            async with asyncio.timeout(timeout_s):
                await asyncio.shield(held)
        except TimeoutError:
            waiting.abort()
            if held.done():  # granted in the last moment
                return WebLock(let_go)
            held.cancel()
            return None
        except BaseException:
            waiting.abort()
            let_go.set_result(None)
            raise
        return WebLock(let_go)

    async def held(self, names: Collection[str]) -> set[str]:
        import js

        found = (await js.navigator.locks.query()).held
        held = {str(lock.name).removeprefix(f"{ROOT}/") for lock in found}
        return held & set(names)


def _ignore_abort() -> Any:
    """Takes the rejection of a lock request that was given up."""
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
