"""Limits of one client: requests in flight, requests a second, bytes a second."""

from __future__ import annotations

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol

Limit = Literal["requests_in_flight", "requests_per_s", "bytes_per_s"]
Pace = Callable[[int], Awaitable[None]]

# How much of what it did not take a client may take at once, in seconds of its rate.
BURST_S: Final = 2.0
# Clients remembered. Forgetting one gives it a fresh allowance, no more.
_MOST_CLIENTS: Final = 20_000


class LimitExceededError(Exception):
    """The client reached a limit; `retry_after_s` whole seconds later there is more."""

    def __init__(self, limit: Limit, wait_s: float) -> None:
        super().__init__(limit)
        self.limit = limit
        self.retry_after_s = max(1, math.ceil(wait_s))


@dataclass(frozen=True, slots=True)
class Allowance:
    """What each client may take; 0 is no limit."""

    requests_in_flight: int = 0
    requests_per_s: float = 0
    bytes_per_s: int = 0

    @property
    def is_limited(self) -> bool:
        """Whether there is any limit."""
        return bool(self.requests_in_flight or self.requests_per_s or self.bytes_per_s)


class ClientLimits(Protocol):
    """Who counts."""

    def admitted(self, client: str) -> AbstractAsyncContextManager[Pace | None]:
        """A request of the client, as long as the block lasts; raises `LimitExceededError`.

        Awaiting what it gives before each chunk of a body keeps the client to its bytes a second.
        """

    def allows_at_once(self, client: str) -> bool:
        """Whether a request that takes no time would be admitted, and need not be counted."""

    def hold(self, client: str) -> Callable[[], None]:
        """Counts one that was allowed at once and takes time after all, until that is called."""

    async def close(self) -> None:
        """Frees what it holds."""


@dataclass(slots=True)
class _Bucket:
    """Fills at `rate` a second up to `capacity`; may be overdrawn."""

    rate: float
    capacity: float
    level: float
    filled_at: float

    @classmethod
    def full(cls, rate: float, now: float) -> _Bucket:
        """One of a client that took nothing yet."""
        capacity = max(1, rate * BURST_S)
        return cls(rate, capacity, capacity, now)

    def fill(self, now: float) -> float:
        """Its level now."""
        self.level = min(self.capacity, self.level + (now - self.filled_at) * self.rate)
        self.filled_at = now
        return self.level


@dataclass(slots=True)
class _Client:
    requests: _Bucket
    bytes: _Bucket
    in_flight: int = field(default=0)


class LocalLimits:
    """Counts in this process."""

    def __init__(
        self,
        allowance: Allowance,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._allowance = allowance
        self._clock = clock
        self._sleep = sleep
        self._clients: OrderedDict[str, _Client] = OrderedDict()

    @asynccontextmanager
    async def admitted(self, client: str) -> AsyncIterator[Pace | None]:
        """As `ClientLimits.admitted`."""
        counted = self._client(client)
        self._check(counted)
        counted.in_flight += 1
        try:
            yield self._pace(counted) if self._allowance.bytes_per_s else None
        finally:
            counted.in_flight -= 1

    def allows_at_once(self, client: str) -> bool:
        """As `ClientLimits.allows_at_once`."""
        allowance = self._allowance
        if allowance.requests_per_s or allowance.bytes_per_s:
            return False
        known = self._clients.get(client)
        return known is None or known.in_flight < allowance.requests_in_flight

    def hold(self, client: str) -> Callable[[], None]:
        """As `ClientLimits.hold`."""
        counted = self._client(client)
        counted.in_flight += 1

        def release() -> None:
            counted.in_flight -= 1

        return release

    def _client(self, name: str) -> _Client:
        client = self._clients.get(name)
        if client is None:
            now = self._clock()
            client = self._clients[name] = _Client(
                _Bucket.full(self._allowance.requests_per_s, now),
                _Bucket.full(self._allowance.bytes_per_s, now),
            )
            if len(self._clients) > _MOST_CLIENTS:
                self._forget_one()
        self._clients.move_to_end(name)
        return client

    def _forget_one(self) -> None:
        """Forgets the client that was idle longest; those with a request under way stay."""
        for name, client in self._clients.items():
            if client.in_flight == 0:
                del self._clients[name]
                return

    def _check(self, client: _Client) -> None:
        allowance, now = self._allowance, self._clock()
        if allowance.requests_in_flight and client.in_flight >= allowance.requests_in_flight:
            raise LimitExceededError("requests_in_flight", 1)
        if allowance.bytes_per_s and client.bytes.fill(now) <= 0:
            raise LimitExceededError("bytes_per_s", -client.bytes.level / client.bytes.rate)
        if allowance.requests_per_s:
            if client.requests.fill(now) < 1:
                missing = 1 - client.requests.level
                raise LimitExceededError("requests_per_s", missing / client.requests.rate)
            client.requests.level -= 1

    def _pace(self, client: _Client) -> Pace:
        async def pace(length: int) -> None:
            while client.bytes.fill(self._clock()) < 0:
                await self._sleep(-client.bytes.level / client.bytes.rate)
            client.bytes.level -= length

        return pace

    async def close(self) -> None:
        """As `ClientLimits.close`."""
        self._clients.clear()
