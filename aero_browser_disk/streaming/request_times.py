"""Measures how long requests take, to tell quick links from others."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from statistics import median_low

from ..platform.base import Clock
from ..platform.byte_range import ByteRange
from .block_fetch import Arrived
from .fetch_queue import RangeSource

KIB = 1 << 10

_SHORTEST, _LONGEST = 64 * KIB, 512 * KIB  # of the requests that are measured
_STANDARD = 256 * KIB  # what times are compared for: a shorter request would have taken longer
_QUICK_S = 0.016
_LATEST = 9  # requests


class TimedSource:
    """A `RangeSource` whose requests are measured.

    `requests` counts those that were sent: what took none, such as zeros, says nothing of the link.
    """

    def __init__(self, source: RangeSource, clock: Clock, requests: Callable[[], int]) -> None:
        self.is_quick = False
        """Whether requests are done so soon that a browser's own work takes most of their time.

        True while half of the latest requests took at most 16 ms for 256 KiB.
        """
        self._source = source
        self._clock = clock
        self._requests = requests
        self._times: deque[float] = deque(maxlen=_LATEST)

    async def fetch(self, byte_range: ByteRange, deliver: Arrived) -> None:
        """As `RangeSource.fetch`."""
        sent, begun = self._requests(), self._clock.now()
        await self._source.fetch(byte_range, deliver)
        if self._requests() > sent and _SHORTEST <= byte_range.length <= _LONGEST:
            self._note(self._clock.now() - begun, byte_range.length)

    def _note(self, seconds: float, length: int) -> None:
        if seconds > 0:  # else the clock was set back, or is too coarse
            self._times.append(seconds * max(1.0, _STANDARD / length))
            is_known = len(self._times) == _LATEST
            self.is_quick = is_known and median_low(self._times) <= _QUICK_S
