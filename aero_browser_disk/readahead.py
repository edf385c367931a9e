"""How far to read ahead of a guest: streams of reads, each with a window that earns its size."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from .fetch_queue import IsMissing

_MOST_STREAMS = 16
_MOST_UNREAD = 8192  # blocks fetched ahead that are remembered until they are read


@dataclass(slots=True, eq=False)
class _Stream:
    """Reads that follow one another, `stride` blocks apart (1 is one behind the other)."""

    begin: int  # the first block of the first read
    start: int  # the first block of the last read
    next: int  # the block after it
    window: int  # how many blocks ahead are wanted
    planned: int  # blocks up to here were wanted before
    stride: int = 0


class ReadAhead:
    """Which blocks to fetch before they are read.

    A read that continues a stream doubles the stream's window, up to `most` blocks; a read
    elsewhere starts a stream with a window of `first` blocks. What was fetched ahead and never read
    is counted as waste, and windows shrink while much is wasted. Blocks of an image with `blocks`
    blocks; pure: it knows neither time nor network.
    """

    def __init__(self, blocks: int, *, first: int, most: int, greed: float = 0.5) -> None:
        self.used = 0
        """Blocks fetched ahead that were read later."""
        self.wasted = 0
        """Blocks fetched ahead that nobody read for long."""
        self._blocks = blocks
        self._first = first
        self._most = most
        self._greed = greed
        self._trust = 1.0  # the share of what was fetched ahead that was read, lately
        self._streams: list[_Stream] = []  # the most recently continued first
        self._unread: OrderedDict[int, None] = OrderedDict()

    def note(self, first: int, last: int) -> range:
        """A read touches the blocks `first` to `last` for the first time.

        Returns the blocks that would best come with it.
        """
        for block in range(first, last + 1):
            if self._unread.pop(block, 0) is None:
                self._judge(was_used=True)
        stream = self._stream_of(first)
        if stream is None:
            stream = _Stream(first, first, last + 1, self._window(self._first), last + 1)
            self._streams.insert(0, stream)
            del self._streams[_MOST_STREAMS:]
        else:
            self._continue(stream, first, last)
        return self._wanted(stream)

    def next_run(self, is_missing: IsMissing) -> range | None:
        """The next missing blocks ahead of a stream, those of the latest stream first."""
        for stream in self._streams:
            wanted = self._wanted(stream)
            for block in wanted:
                stream.planned = block + 1
                if is_missing(block):
                    stop = block + 1
                    while stop in wanted and is_missing(stop):
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
        while len(self._unread) > _MOST_UNREAD:
            self._unread.popitem(last=False)
            self._judge(was_used=False)

    # ── inside ───────────────────────────────────────────────────────────────────────────────────

    def _stream_of(self, first: int) -> _Stream | None:
        """The stream that a read at `first` continues: at its end, or in what is fetched ahead."""
        for stream in self._streams:
            if stream.start <= first <= max(stream.next, stream.planned):
                return stream
        return None

    def _continue(self, stream: _Stream, first: int, last: int) -> None:
        self._streams.remove(stream)
        self._streams.insert(0, stream)
        stream.start = first
        stream.next = max(stream.next, last + 1)
        earned = round((stream.next - stream.begin) * self._greed)
        stream.window = self._window(min(self._most, max(self._first, earned)))

    def _wanted(self, stream: _Stream) -> range:
        start = max(stream.next, stream.planned)
        return range(start, min(stream.next + stream.window, self._blocks))

    def _window(self, blocks: int) -> int:
        return max(1, round(blocks * self._trust))

    def _judge(self, *, was_used: bool) -> None:
        self.used += was_used
        self.wasted += not was_used
        self._trust += ((1.0 if was_used else 0.0) - self._trust) / 256
