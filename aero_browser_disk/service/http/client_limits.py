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

# How much unused allowance a client may save up, in seconds of its rate.
BURST_S: Final = 2.0
# Clients tracked. Forgetting one gives it a fresh allowance, no more.
_MAX_CLIENTS: Final = 20_000


class LimitExceededError(Exception):
    """The client reached a limit; it may try again after `retry_after_s` (whole seconds)."""

    def __init__(self, limit: Limit, wait_s: float) -> None:
        super().__init__(limit)
        self.limit = limit
        self.retry_after_s = max(1, math.ceil(wait_s))


@dataclass(frozen=True, slots=True)
class Allowance:
    """The limits of each client; 0 means no limit."""

    requests_in_flight: int = 0
    requests_per_s: float = 0
    bytes_per_s: int = 0

    @property
    def is_limited(self) -> bool:
        """Whether there is any limit."""
        return bool(self.requests_in_flight or self.requests_per_s or self.bytes_per_s)


class ClientLimits(Protocol):
    """Counts the requests and bytes of each client."""

    def admitted(self, client: str) -> AbstractAsyncContextManager[Pace | None]:
        """Counts a request of the client until the block ends; raises `LimitExceededError`.

        Await what it yields before each chunk of a body: that keeps the client to its bytes a
        second. None if there is no such limit.
        """

    def allows_at_once(self, client: str) -> bool:
        """Whether a request that is over at once would be admitted. It need not be counted."""

    def hold(self, client: str) -> Callable[[], None]:
        """Counts a request that takes time after all, until the returned function is called."""

    async def close(self) -> None:
        """Frees what it holds."""


@dataclass(slots=True)
class _Bucket:
    """A token bucket: fills at `rate` a second up to `capacity`; may be overdrawn."""

    rate: float
    capacity: float
    level: float
    filled_at: float

    @classmethod
    def full(cls, rate: float, now: float) -> _Bucket:
        """The bucket of a new client."""
        capacity = max(1, rate * BURST_S)
        return cls(rate, capacity, capacity, now)

    def fill(self, now: float) -> float:
        """Brings it up to date; returns its level."""
        self.level = min(self.capacity, self.level + (now - self.filled_at) * self.rate)
        self.filled_at = now
        return self.level


@dataclass(slots=True)
class _Client:
    requests: _Bucket
    bytes: _Bucket
    in_flight: int = field(default=0)


class LocalLimits:
    """Counts in this process only."""

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
            if len(self._clients) > _MAX_CLIENTS:
                self._forget_one()
        self._clients.move_to_end(name)
        return client

    def _forget_one(self) -> None:
        """Forgets the client idle for longest, never one with a request under way."""
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
