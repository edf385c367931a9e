"""Which failures of a host pass, and how long to wait for that."""

from __future__ import annotations

import random
from dataclasses import dataclass

from ..errors import HttpStatusError, IntegrityError, NetworkError

_TRANSIENT_STATUSES = frozenset({408, 425, 429})


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential backoff with full jitter, within bounds.

    `tries` counts the first one. The n-th wait is a random time up to `base_s` doubled n-1 times,
    at most `cap_s`, or what the host asks for if that is longer. All tries and waits since the last
    progress take at most `total_s`.
    """

    tries: int = 5
    base_s: float = 0.25
    cap_s: float = 8.0
    total_s: float = 60.0

    def delay_s(self, error: Exception, failures: int, elapsed_s: float) -> float | None:
        """How long to wait after the failure of that number; None when it is final."""
        if isinstance(error, IntegrityError):
            return 0.0 if failures == 1 else None  # damage on the way may pass, a forgery does not
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


def is_transient(error: Exception) -> bool:
    """Whether the same request may do better later (RFC 9110 §15.5, §15.6; RFC 6585 §4)."""
    if isinstance(error, HttpStatusError):
        return error.status in _TRANSIENT_STATUSES or error.status >= 500
    return isinstance(error, NetworkError)
