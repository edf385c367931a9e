"""Lets a cache grow step by step, within the limit that the caches of all images share."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from ..cache.block_cache import BlockCache
from ..platform.base import Clock

_STEP = 8 << 20  # bytes
_RETRY_AFTER_S = 15.0

MakeRoom = Callable[[int], Awaitable[int]]
"""Takes how many bytes the cache needs, returns how many it may have. May remove caches of images
that are not open."""


class CacheGrowth:
    """Asks for more space before a cache needs it.

    That takes time, so it asks ahead, and pauses for a while after a refusal.
    `grown` is called when there may be more space than before.
    """

    def __init__(
        self,
        cache: BlockCache,
        clock: Clock,
        make_room: MakeRoom | None,
        grown: Callable[[], None],
    ) -> None:
        self.cache = cache
        """May be replaced by another cache of the same image."""
        self._clock = clock
        self._make_room = make_room
        self._grown = grown
        self._granted = 0  # bytes that the cache may grow to
        self._ask_again_at = 0.0  # 0 unless the last request was refused
        self._asking: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def has_free_space(self) -> bool:
        """Whether a block that no read waits for may be cached; false while a request for space is
        pending."""
        return self._asking is None and self.cache.has_free_space

    @property
    def is_refused(self) -> bool:
        """Whether the caches of other images leave no space for another block of this one."""
        return bool(self._ask_again_at) and not self.cache.has_free_space

    def check(self) -> None:
        """Asks for more space if it is about to run out. Call it as the cache fills."""
        is_short = self.cache.bytes + _STEP > self._granted
        if is_short and self._asking is None and self._clock.now() > self._ask_again_at:
            self._asking = asyncio.ensure_future(self._ask())

    def retry(self) -> None:
        """Asks now, even if it was refused a moment ago."""
        self._ask_again_at = 0.0
        self.check()

    async def close(self) -> None:
        """Stops; returns when no request for space is pending."""
        self._closed = True
        if self._asking is not None:
            await self._asking

    async def _ask(self) -> None:
        wanted = self.cache.bytes + 2 * _STEP
        try:
            if self._make_room is not None and not self._closed:
                self._take(wanted, await self._make_room(wanted))
        finally:
            self._asking = None
        if not self._closed:
            self._grown()

    def _take(self, wanted: int, capacity: int) -> None:
        is_refused = capacity < wanted
        self._granted = min(capacity, wanted)  # other caches grow too: no more than this at once
        # Until a refusal the cache may grow further: blocks that arrive meanwhile must not evict
        # others.
        self.cache.allow(capacity if is_refused else self.cache.limit)
        self._ask_again_at = self._clock.now() + _RETRY_AFTER_S if is_refused else 0.0
