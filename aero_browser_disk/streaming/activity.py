"""Records what a disk does: its latest events, and their sums for each interval.

Nothing is recorded until somebody watches. Memory is bounded: the oldest events are dropped first.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from ..platform.byte_range import ByteRange
    from .block_fetch import Arrived
    from .fetch_queue import RangeSource

Kind = Literal["hit", "miss", "write", "request", "arrival"]
"""A read served at once or after waiting, a write, a request to the server, bytes that came in."""

INTERVAL_S = 0.5
MAX_INTERVALS = 120
_MAX_EVENTS = 1 << 14
_OF_THE_READER = frozenset({"hit", "miss", "write"})
_FORMAT = "aero-disk-trace"


class Event(NamedTuple):
    """What happened to the `length` bytes at `offset`, `at` seconds since the epoch."""

    at: float
    kind: Kind
    offset: int
    length: int


@dataclass(slots=True)
class Interval:
    """What `INTERVAL_S` seconds add up to; `index` counts them since the epoch."""

    index: int
    reads: int = 0
    requests: int = 0
    bytes_read: int = 0
    bytes_downloaded: int = 0


@dataclass(slots=True, eq=False, weakref_slot=True)
class Activity:
    """The latest events of one disk, recorded while `on`.

    A disk checks `on` before it reports anything: without a watcher it costs nothing more.
    """

    now: Callable[[], float] = time.time
    """Seconds since the epoch."""
    on: bool = False
    reader_level: int = 0
    """Which layer reports reads and writes. 0: this disk; 1: an overlay over it; 2: the emulator.
    Reports of the same reads by a lower layer are not counted again."""
    dropped: int = 0
    """Events that were dropped for later ones."""
    events: deque[Event] = field(default_factory=lambda: deque(maxlen=_MAX_EVENTS))
    _intervals: deque[Interval] = field(default_factory=lambda: deque(maxlen=MAX_INTERVALS))

    def note(self, kind: Kind, offset: int, length: int, reader_level: int = 0) -> None:
        """Records an event that happened just now."""
        if reader_level < self.reader_level and kind in _OF_THE_READER:
            return
        at = self.now()
        if len(self.events) == _MAX_EVENTS:
            self.dropped += 1
        self.events.append(Event(at, kind, offset, length))
        interval = self._interval(int(at / INTERVAL_S))
        if kind == "request":
            interval.requests += 1
        elif kind == "arrival":
            interval.bytes_downloaded += length
        elif kind != "write":
            interval.reads += 1
            interval.bytes_read += length

    def latest(self, seconds: float) -> Iterator[Event]:
        """The events of the last `seconds`, the latest first."""
        since = self.now() - seconds
        for event in reversed(self.events):
            if event.at < since:
                return
            yield event

    def intervals(self) -> list[Interval]:
        """The last `MAX_INTERVALS` intervals, including quiet ones; the current one comes last."""
        last = int(self.now() / INTERVAL_S)
        known = {interval.index: interval for interval in self._intervals}
        return [
            known.get(index) or Interval(index)
            for index in range(last - MAX_INTERVALS + 1, last + 1)
        ]

    def watched(self, source: RangeSource) -> RangeSource:
        """`source`, whose requests and responses are noted."""
        return _WatchedSource(source, self)

    def trace(self, size: int, version: str) -> bytes:
        """All recorded events as a JSON document, for a disk of that size and version.

        Times are milliseconds since the first event; each event is time, kind, offset, length.
        """
        start = self.events[0].at if self.events else 0.0
        document = {
            "format": _FORMAT,
            "version": 1,
            "image": {"size": size, "version": version},
            "started_at": round(start, 3),
            "dropped": self.dropped,
            "events": [
                [round((at - start) * 1000, 1), kind, offset, length]
                for at, kind, offset, length in self.events
            ],
        }
        return json.dumps(document, separators=(",", ":")).encode()

    def _interval(self, index: int) -> Interval:
        intervals = self._intervals
        if not intervals or intervals[-1].index < index:
            intervals.append(Interval(index))
        return intervals[-1]  # the latest one also if the clock was set back


class _WatchedSource:
    """A source of bytes that reports each request and what it brings."""

    def __init__(self, source: RangeSource, activity: Activity) -> None:
        self._source = source
        self._activity = activity

    async def fetch(self, byte_range: ByteRange, deliver: Arrived) -> None:
        activity = self._activity
        if not activity.on:
            await self._source.fetch(byte_range, deliver)
            return

        def delivered(offset: int, data: memoryview) -> None:
            activity.note("arrival", offset, len(data))
            deliver(offset, data)

        activity.note("request", byte_range.start, byte_range.stop - byte_range.start)
        await self._source.fetch(byte_range, delivered)


def mean_rates(intervals: Iterable[Interval], over_s: float = 2.0) -> Interval:
    """The means per second over the last `over_s` seconds, without the current interval."""
    count = round(over_s / INTERVAL_S)
    whole = list(intervals)[-count - 1 : -1]
    return Interval(
        index=0,
        reads=round(sum(interval.reads for interval in whole) / over_s),
        requests=round(sum(interval.requests for interval in whole) / over_s),
        bytes_read=round(sum(interval.bytes_read for interval in whole) / over_s),
        bytes_downloaded=round(sum(interval.bytes_downloaded for interval in whole) / over_s),
    )
