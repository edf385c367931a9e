"""Decides how far to read ahead: streams of reads, each with a window that grows as it proves
right."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from .fetch_queue import IsMissing
from .strides import Strides

KIB, MIB = 1 << 10, 1 << 20

_REQUEST = 2 * MIB  # several requests are faster than one, and let a read start sooner
_REGION = MIB
_MAX_WINDOW = 8 * MIB
_MAX_REGIONS = 4096
_MAX_STREAMS = 16
_MAX_UNREAD = 8192  # blocks fetched ahead that are remembered until they are read


@dataclass(frozen=True, slots=True)
class _Policy:
    """The sizes of windows in bytes, and when to guess."""

    after_one: int
    """The window of a new stream after a read of one block."""
    after_more: int
    """The same after a longer read."""
    modest: int
    """The largest window of a stream that is not long."""
    long: int
    """The length from which a stream is long."""
    max_busy: int
    """The largest factor of the first window, where several streams began in one region."""
    gone_on_often: float
    """The share of continued streams from which on first windows have their full size."""


_OF_BLOCKS = _Policy(112 * KIB, 128 * KIB, 256 * KIB, MIB, max_busy=3, gone_on_often=0.3)
_OF_UNITS = _Policy(512 * KIB, 896 * KIB, 512 * KIB, 512 * KIB, max_busy=1, gone_on_often=0.1)
"""For requests of whole units of several blocks."""


@dataclass(slots=True, eq=False)
class _Stream:
    """Reads that follow one another."""

    begin: int  # the first block of the first read
    start: int  # the first block of the last read
    next: int  # the block after it
    window: int  # how many blocks ahead are wanted
    planned: int  # blocks up to here were wanted before


class ReadAhead:
    """Which blocks to fetch before they are read.

    A read elsewhere starts a stream with a small window, a larger one where others have begun: a
    guest that comes back to a region mostly reads more of it. Reads that continue a stream double
    the window, up to a modest size until the stream is known to be long, then up to a share of its
    length. First windows shrink to nothing while hardly any stream is continued, as when single
    pages are read all over the image. All windows shrink while many of the blocks that are fetched
    ahead stay unread.

    The sizes were found by replaying a recorded Debian boot over a modelled link of 50 Mbit/s and
    40 ms: doubling alone fetches too much after jumps, and a smaller first window costs a round
    trip each. In that boot two streams in five are continued. Where requests get whole units of
    several blocks, smaller windows mostly lead to nothing, and their data is compressed: with
    larger ones a boot takes 1.47 instead of 1.61 times the raw image's bound from chunks of
    256 KiB. Units and these windows take the boot from a qcow2 file from 2.18 to 1.61 times it.

    `blocks` is the number of blocks in the image, `block_size` is in bytes, and `unit_blocks`
    returns the number of blocks in a unit. Pure: it knows neither time nor network.
    """

    def __init__(
        self, blocks: int, block_size: int, unit_blocks: Callable[[], int] = lambda: 1
    ) -> None:
        self.used = 0
        """Blocks fetched ahead that were read later."""
        self.wasted = 0
        """Blocks fetched ahead and not read for a long time."""
        self._blocks = blocks
        self._block_size = block_size
        self._unit_blocks = unit_blocks
        self._strides = Strides(blocks, block_size)
        self._max_window = self._blocks_of(_MAX_WINDOW)
        self._request = self._blocks_of(_REQUEST)
        self._region = self._blocks_of(_REGION)
        self._trust = 1.0  # the recent share of blocks fetched ahead that were read
        self._continued = 1.0  # the recent share of streams that were continued
        self._begun: OrderedDict[int, int] = OrderedDict()  # streams, by region
        self._streams: list[_Stream] = []  # the most recently continued first
        self._unread: OrderedDict[int, None] = OrderedDict()

    def note(self, first: int, last: int) -> range:
        """A read touches the blocks `first` to `last` for the first time.

        Returns the blocks that are best fetched with it.
        """
        for block in range(first, last + 1):
            if self._unread.pop(block, 0) is None:
                self._judge(was_used=True)
        stream = self._stream_of(first)
        if stream is None and self._strides.note(first, last):
            return range(0)
        if stream is None:
            stream = self._begin(first, last)
        else:
            self._continue(stream, first, last)
        return self._wanted(stream)

    def next_run(self, is_missing: IsMissing) -> range | None:
        """The next missing blocks ahead of a stride or a stream, those of the latest first."""
        run = self._strides.next_run(is_missing)
        if run is not None:
            self.expect(run)
            return run
        for stream in self._streams:
            if stream.planned >= stream.next + stream.window:
                continue  # the usual case: all of it was wanted before
            wanted = self._wanted(stream)
            for block in wanted:
                stream.planned = block + 1
                if is_missing(block):
                    stop = block + 1
                    limit = min(wanted.stop, block + self._request)
                    while stop < limit and is_missing(stop):
                        stop += 1
                    stream.planned = stop
                    run = range(block, stop)
                    self.expect(run)
                    return run
        return None

    def expect(self, blocks: range) -> None:
        """Blocks are being fetched ahead."""
        for block in blocks:
            self._unread[block] = None
        while len(self._unread) > _MAX_UNREAD:
            self._unread.popitem(last=False)
            self._judge(was_used=False)

    # ── inside ───────────────────────────────────────────────────────────────────────────────────

    def _stream_of(self, first: int) -> _Stream | None:
        """The stream that a read at `first` continues: at its end, or in its window."""
        for stream in self._streams:
            if stream.start <= first <= max(stream.next, stream.planned):
                return stream
        return None

    def _begin(self, first: int, last: int) -> _Stream:
        policy = self._policy
        region = first // self._region
        begun = self._begun.pop(region, 0) + 1
        self._begun[region] = min(begun, policy.max_busy)
        if len(self._begun) > _MAX_REGIONS:
            self._begun.popitem(last=False)
        window = self._blocks_of(policy.after_more if last > first else policy.after_one)
        worth = min(1.0, self._continued / policy.gone_on_often)
        blocks = round(window * self._begun[region] * worth * self._trust)
        stream = _Stream(first, first, last + 1, blocks, last + 1)
        self._streams.insert(0, stream)
        if len(self._streams) > _MAX_STREAMS:
            oldest = self._streams.pop()
            self._continued += ((oldest.start != oldest.begin) - self._continued) / 16
        return stream

    def _continue(self, stream: _Stream, first: int, last: int) -> None:
        self._streams.remove(stream)
        self._streams.insert(0, stream)
        stream.start = first
        stream.next = max(stream.next, last + 1)
        policy, length = self._policy, stream.next - stream.begin
        limit = self._blocks_of(policy.modest)
        if length >= self._blocks_of(policy.long):
            limit = max(limit, length // 4)
        stream.window = self._window(min(max(stream.window, 1) * 2, limit, self._max_window))

    def _wanted(self, stream: _Stream) -> range:
        start = max(stream.next, stream.planned)
        return range(start, min(stream.next + stream.window, self._blocks))

    @property
    def _policy(self) -> _Policy:
        return _OF_BLOCKS if self._unit_blocks() == 1 else _OF_UNITS

    def _blocks_of(self, size: int) -> int:
        return max(1, size // self._block_size)

    def _window(self, blocks: int) -> int:
        return max(1, round(blocks * self._trust))

    def _judge(self, *, was_used: bool) -> None:
        self.used += was_used
        self.wasted += not was_used
        self._trust += ((1.0 if was_used else 0.0) - self._trust) / 256
