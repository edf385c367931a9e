"""Decides which failures are transient, and retries them."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from ..errors import DiskError, HttpStatusError, IntegrityError, NetworkError
from ..platform.base import Clock

Result = TypeVar("Result")
_TRANSIENT_STATUSES = frozenset({408, 425, 429})


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential backoff with full jitter, within bounds.

    `tries` counts the first one. The n-th wait is a random time up to `base_s` doubled n-1 times,
    at most `cap_s`, or what the server asks for if that is longer (Retry-After). All tries and
    waits since the last progress take at most `total_s`.
    """

    tries: int = 5
    base_s: float = 0.25
    cap_s: float = 8.0
    total_s: float = 60.0

    def delay_s(self, error: Exception, failures: int, elapsed_s: float) -> float | None:
        """Seconds to wait after the failure of that number; None when it is final."""
        if isinstance(error, IntegrityError):
            return 0.0 if failures == 1 else None  # damage in transit is rare; a forgery stays
        if failures >= self.tries or not is_transient(error):
            return None
        # SystemRandom: a memory snapshot would give every visitor the same jitter
        jittered = random.SystemRandom().uniform(
            0, min(self.cap_s, self.base_s * 2 ** (failures - 1))
        )
        asked = error.retry_after_s or 0 if isinstance(error, HttpStatusError) else 0
        delay = max(jittered, asked)
        return delay if elapsed_s + delay <= self.total_s else None


DEFAULT_RETRY = RetryPolicy()


class Retries:
    """Counts the failures of one operation since its last progress, by a retry policy.

    `run` tries an operation again by itself. Callers that schedule their own tries call `begin` for
    each, `progress` when something arrived, and `delay_s` after a failure.
    """

    def __init__(self, policy: RetryPolicy, clock: Clock) -> None:
        self._policy = policy
        self._clock = clock
        self._failures = 0
        self._since = clock.now()

    def begin(self) -> None:
        """A try begins. The first one after progress starts the time that `total_s` bounds."""
        if not self._failures:
            self._since = self._clock.now()

    def progress(self) -> None:
        """Something arrived that need not be requested again: earlier failures no longer count."""
        self._failures, self._since = 0, self._clock.now()

    def delay_s(self, error: Exception) -> float | None:
        """Counts a failure; returns the seconds to wait before another try, None for no other."""
        self._failures += 1
        return self._policy.delay_s(error, self._failures, self._clock.now() - self._since)

    async def run(self, operation: Callable[[], Awaitable[Result]]) -> Result:
        """What `operation` returns, tried again after transient errors; raises the last one."""
        while True:
            self.begin()
            try:
                return await operation()
            except DiskError as error:
                delay = self.delay_s(error)
                if delay is None:
                    raise
            await self._clock.sleep(delay)


def is_transient(error: Exception) -> bool:
    """Whether the same request may succeed later (RFC 9110 §15.5, §15.6; RFC 6585 §4)."""
    if isinstance(error, HttpStatusError):
        return error.status in _TRANSIENT_STATUSES or error.status >= 500
    return isinstance(error, NetworkError)
