"""What a disk does, for those who watch: its latest events, and what they add up to each moment.

Nothing is recorded until somebody watches, and then only so much: the oldest events go first.
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
"""A read served at once or after waiting, a write, a request to the host, bytes that came in."""

MOMENT_S = 0.5
MOST_MOMENTS = 120
_MOST_EVENTS = 1 << 14
_OF_THE_READER = frozenset({"hit", "miss", "write"})
_FORMAT = "aero-disk-trace"


class Event(NamedTuple):
    """What happened to the `length` bytes at `offset`, `at` seconds since the epoch."""

    at: float
    kind: Kind
    offset: int
    length: int


@dataclass(slots=True)
class Moment:
    """What `MOMENT_S` seconds add up to; `index` counts them since the epoch."""

    index: int
    reads: int = 0
    requests: int = 0
    bytes_read: int = 0
    bytes_downloaded: int = 0


@dataclass(slots=True, eq=False, weakref_slot=True)
class Activity:
    """The latest events of one disk, recorded while `on`.

    A disk asks for `on` before it tells anything, so that nobody watching costs nothing more.
    """

    now: Callable[[], float] = time.time
    """Seconds since the epoch."""
    on: bool = False
    told_from: int = 0
    """How far above this disk reads and writes are told from; what lower disks tell of them is not
    counted a second time. 0: this disk; 1: an overlay over it; 2: the emulator."""
    dropped: int = 0
    """Events that had to go to make room for later ones."""
    events: deque[Event] = field(default_factory=lambda: deque(maxlen=_MOST_EVENTS))
    _moments: deque[Moment] = field(default_factory=lambda: deque(maxlen=MOST_MOMENTS))

    def note(self, kind: Kind, offset: int, length: int, told_from: int = 0) -> None:
        """Something happened, just now."""
        if told_from < self.told_from and kind in _OF_THE_READER:
            return
        at = self.now()
        if len(self.events) == _MOST_EVENTS:
            self.dropped += 1
        self.events.append(Event(at, kind, offset, length))
        moment = self._moment(int(at / MOMENT_S))
        if kind == "request":
            moment.requests += 1
        elif kind == "arrival":
            moment.bytes_downloaded += length
        elif kind != "write":
            moment.reads += 1
            moment.bytes_read += length

    def latest(self, seconds: float) -> Iterator[Event]:
        """The events of the last `seconds`, the latest first."""
        since = self.now() - seconds
        for event in reversed(self.events):
            if event.at < since:
                return
            yield event

    def moments(self) -> list[Moment]:
        """The last `MOST_MOMENTS` moments, quiet ones too, the present one at the end."""
        last = int(self.now() / MOMENT_S)
        known = {moment.index: moment for moment in self._moments}
        return [
            known.get(index) or Moment(index) for index in range(last - MOST_MOMENTS + 1, last + 1)
        ]

    def watched(self, source: RangeSource) -> RangeSource:
        """`source`, whose requests and answers are noted."""
        return _WatchedSource(source, self)

    def trace(self, size: int, version: str) -> bytes:
        """All events that are held, as a JSON document, for a disk of that size and version.

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

    def _moment(self, index: int) -> Moment:
        moments = self._moments
        if not moments or moments[-1].index < index:
            moments.append(Moment(index))
        return moments[-1]  # the latest one too when the clock was set back


class _WatchedSource:
    """A source of bytes that tells of each request and of what it brings."""

    def __init__(self, source: RangeSource, activity: Activity) -> None:
        self._source = source
        self._activity = activity

    async def fetch(self, span: ByteRange, deliver: Arrived) -> None:
        activity = self._activity
        if not activity.on:
            await self._source.fetch(span, deliver)
            return

        def delivered(offset: int, data: memoryview) -> None:
            activity.note("arrival", offset, len(data))
            deliver(offset, data)

        activity.note("request", span.start, span.stop - span.start)
        await self._source.fetch(span, delivered)


def mean_rates(moments: Iterable[Moment], over_s: float = 2.0) -> Moment:
    """What a second has, on average over the last `over_s` whole moments before the present one."""
    count = round(over_s / MOMENT_S)
    whole = list(moments)[-count - 1 : -1]
    return Moment(
        index=0,
        reads=round(sum(moment.reads for moment in whole) / over_s),
        requests=round(sum(moment.requests for moment in whole) / over_s),
        bytes_read=round(sum(moment.bytes_read for moment in whole) / over_s),
        bytes_downloaded=round(sum(moment.bytes_downloaded for moment in whole) / over_s),
    )
