"""Limits that several instances share through Redis or Valkey (extra `redis`).

The library `limits` counts requests in a window. It has neither requests in flight nor bytes that
are spent as they are sent.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any, Final, TypeVar

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from .access_log import AccessLog
from .client_limits import BURST_S, Allowance, Limit, LimitExceededError, LocalLimits, Pace

# After that long without a sign of life an instance counts as dead.
_IN_FLIGHT_S: Final = 120
_RENEW_S: Final = 30
# A limiter that takes longer would cost more than it protects. For connecting and the response.
_TIMEOUT_S: Final = 1.0
# Pause after a failure: only the first request waits for a Redis that hangs.
_PAUSE_S: Final = 10.0
_REPORT_EVERY_S: Final = 60.0
T = TypeVar("T")
_LIMITS: Final[dict[int, Limit]] = {
    1: "requests_in_flight",
    2: "bytes_per_s",
    3: "requests_per_s",
}

# KEYS: requests in flight (a sorted set by when they lapse), buckets (a hash).
_BUCKET: Final = """
local time = redis.call("TIME")
local now = time[1] + time[2] / 1000000
local function fill(name, rate, capacity)
  local level = tonumber(redis.call("HGET", KEYS[2], name)) or capacity
  local at = tonumber(redis.call("HGET", KEYS[2], name .. "_at")) or now
  return math.min(capacity, level + math.max(0, now - at) * rate)
end
local function keep(name, level)
  redis.call("HSET", KEYS[2], name, tostring(level), name .. "_at", string.format("%.6f", now))
  redis.call("EXPIRE", KEYS[2], 3600)
end
"""
# ARGV: member, lapse, in flight, requests a second, their burst, bytes a second, their burst.
# Gives which limit (0: none) and the wait in ms.
_ADMIT: Final = (
    _BUCKET
    + """
redis.call("ZREMRANGEBYSCORE", KEYS[1], "-inf", now)
local max, rate, byte_rate = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[6])
if max > 0 and redis.call("ZCARD", KEYS[1]) >= max then return {1, 1000} end
if byte_rate > 0 then
  local level = fill("bytes", byte_rate, tonumber(ARGV[7]))
  if level <= 0 then return {2, math.ceil(-level / byte_rate * 1000)} end
end
if rate > 0 then
  local level = fill("requests", rate, tonumber(ARGV[5]))
  if level < 1 then return {3, math.ceil((1 - level) / rate * 1000)} end
  keep("requests", level - 1)
end
redis.call("ZADD", KEYS[1], now + tonumber(ARGV[2]), ARGV[1])
redis.call("EXPIRE", KEYS[1], tonumber(ARGV[2]))
return {0, 0}
"""
)
# ARGV: member, lapse, length, bytes a second, their burst. Gives 0, or the wait in ms
# before it can be asked again.
_SPEND: Final = (
    _BUCKET
    + """
redis.call("ZADD", KEYS[1], "XX", now + tonumber(ARGV[2]), ARGV[1])
redis.call("EXPIRE", KEYS[1], tonumber(ARGV[2]))
local rate = tonumber(ARGV[4])
if rate == 0 then return 0 end
local level = fill("bytes", rate, tonumber(ARGV[5]))
if level < 0 then return math.ceil(-level / rate * 1000) end
keep("bytes", level - tonumber(ARGV[3]))
return 0
"""
)


class _NoResponseError(Exception):
    """Redis fails, hangs, or did so a moment ago."""


class SharedLimits:
    """Counts in Redis; in this process while Redis does not respond, which is logged.

    `clock` counts seconds.
    """

    def __init__(
        self,
        allowance: Allowance,
        url: str,
        log: AccessLog,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._allowance = allowance
        self._log = log
        self._local = LocalLimits(allowance)
        self._clock = clock
        self._reported_at = -_REPORT_EVERY_S
        self._failed_at = -_PAUSE_S
        self._redis: Redis = Redis.from_url(
            url,
            socket_timeout=_TIMEOUT_S,
            socket_connect_timeout=_TIMEOUT_S,
            # Its own retries take as long again.
            retry=Retry(NoBackoff(), 0),
        )
        self._admit = self._redis.register_script(_ADMIT)
        self._spend = self._redis.register_script(_SPEND)

    def allows_at_once(self, client: str) -> bool:
        """As `ClientLimits.allows_at_once`: only Redis knows."""
        return False

    def hold(self, client: str) -> Callable[[], None]:
        """As `ClientLimits.hold`; not needed, since nothing is allowed at once."""
        return self._local.hold(client)

    @asynccontextmanager
    async def admitted(self, client: str) -> AsyncIterator[Pace | None]:
        """As `ClientLimits.admitted`."""
        member = uuid.uuid4().hex
        keys = self._keys(client)
        limit, wait_ms = await self._try_admit(keys, member)
        if limit < 0:
            async with self._local.admitted(client) as pace:
                yield pace
            return
        if limit:
            raise LimitExceededError(_LIMITS[limit], wait_ms / 1000)
        try:
            yield self._pace(keys, member)
        finally:
            # Also when the request is cancelled.
            await asyncio.shield(self._release(keys[0], member))

    async def _try_admit(self, keys: list[str], member: str) -> tuple[int, int]:
        """The limit that was reached and the wait in ms; -1 if Redis does not respond."""
        allowance = self._allowance
        arguments: list[Any] = [
            member,
            _IN_FLIGHT_S,
            allowance.requests_in_flight,
            allowance.requests_per_s,
            max(1, allowance.requests_per_s * BURST_S),
            allowance.bytes_per_s,
            allowance.bytes_per_s * BURST_S,
        ]
        try:
            limit, wait_ms = await self._ask(lambda: self._admit(keys, arguments))
        except _NoResponseError:
            return -1, 0
        return int(limit), int(wait_ms)

    async def _ask(self, call: Callable[[], Awaitable[T]]) -> T:
        """The response of Redis; raises `_NoResponseError`, for a while after a failure at once."""
        if self._clock() - self._failed_at < _PAUSE_S:
            raise _NoResponseError
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                return await call()
        except (RedisError, OSError) as error:
            self._failed_at = self._clock()
            self._report(error)
            raise _NoResponseError from None

    def _pace(self, keys: list[str], member: str) -> Pace:
        rate = self._allowance.bytes_per_s
        renewed_at = time.monotonic()

        async def pace(length: int) -> None:
            nonlocal renewed_at
            now = time.monotonic()
            if rate == 0 and now - renewed_at < _RENEW_S:
                return
            renewed_at = now
            arguments: list[Any] = [member, _IN_FLIGHT_S, length, rate, rate * BURST_S]
            try:
                # Only Redis knows what the other instances used: ask again.
                spend = partial(self._ask, lambda: self._spend(keys, arguments))
                while wait_ms := int(await spend()):  # noqa: ASYNC110
                    await asyncio.sleep(wait_ms / 1000)
            except _NoResponseError:
                return

        return pace

    async def _release(self, key: str, member: str) -> None:
        with suppress(_NoResponseError):  # it lapses by itself
            await self._ask(lambda: self._redis.zrem(key, member))

    def _report(self, error: Exception) -> None:
        now = self._clock()
        if now - self._reported_at >= _REPORT_EVERY_S:
            self._reported_at = now
            # Not its text, which may contain the URL with its password.
            self._log.event("limits_not_shared", error=type(error).__name__)

    @staticmethod
    def _keys(client: str) -> list[str]:
        name = hashlib.sha256(client.encode()).hexdigest()[:32]
        # The braces keep both on one node of a cluster.
        return [f"aero-disk:{{{name}}}:in-flight", f"aero-disk:{{{name}}}:buckets"]

    async def close(self) -> None:
        """As `ClientLimits.close`."""
        await self._local.close()
        with suppress(RedisError, OSError):
            async with asyncio.timeout(_TIMEOUT_S):
                await self._redis.aclose()
