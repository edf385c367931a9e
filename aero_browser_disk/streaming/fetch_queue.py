"""The requests to an image's server: for which blocks, in which order, how many at a time.

Reads go first. Background fetches are not queued: when a request may start and no read waits, the
background sources are asked for their next blocks, the most important source first. So blocks that
are no longer wanted are never requested.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Coroutine, Iterable, Iterator, Sequence
from functools import partial
from typing import Protocol

from ..cache.block_store import StoredImage
from ..errors import HttpStatusError
from ..platform.base import Clock
from ..platform.byte_range import ByteRange
from ..platform.concurrent_tasks import end_all
from ..platform.event_loop import owned_task
from ..remote.retry import Retries, RetryPolicy
from .block_fetch import Arrived, BlockFetch, PackedBlocks, PendingRead, plan_runs
from .block_sink import BlockSink

_MAX_REST_S = 60.0

IsMissing = Callable[[int], bool]
"""Whether a block of the image is neither cached nor under way."""


class RangeSource(Protocol):
    """Where the bytes of an image come from: see `RemoteImage.fetch`."""

    async def fetch(self, byte_range: ByteRange, deliver: Arrived) -> None:
        """Hands the bytes of `byte_range` to `deliver`, in order, with their offsets."""


class BackgroundSource(Protocol):
    """A source of blocks to fetch that no read waits for, such as read-ahead."""

    def next_run(self, is_missing: IsMissing) -> range | PackedBlocks | None:
        """The next missing blocks to fetch, or None. Packed blocks may include cached ones.

        A long run takes several requests.
        """


class FetchQueue:
    """Fetches the blocks that reads wait for, then blocks that are likely to be read.

    A read joins the requests under way for its blocks, and starts requests for the others. At most
    `concurrency` run at a time, one less for the background, each for at most `max_blocks`. While
    the source has blocks in units of `unit_blocks()`, a request gets the missing blocks of one
    unit.
    Each request reserves its blocks in the sink, puts them there as they arrive, and commits when
    it ends, even after an error. Blocks that the sink refuses count as not arrived.
    """

    def __init__(
        self,
        source: RangeSource,
        image: StoredImage,
        sink: BlockSink,
        *,
        clock: Clock,
        retry: RetryPolicy,
        concurrency: int,
        max_blocks: int,
        unit_blocks: Callable[[], int] = lambda: 1,
    ) -> None:
        self.background: list[BackgroundSource] = []
        """The background sources, the most important first."""
        self.max_blocks = max_blocks
        self._unit_blocks = unit_blocks
        self._planned: deque[range] = deque()  # the rest of background runs
        self._source = source
        self._image = image
        self._blocks = -(-image.size // image.block_size)
        self._sink = sink
        self._clock = clock
        self._make_retries = partial(Retries, retry, clock)
        self._concurrency = concurrency
        self._waiting: deque[BlockFetch] = deque()
        self._running: set[BlockFetch] = set()
        self._background_fetches: set[BlockFetch] = set()  # the background's own
        self._arriving: dict[int, BlockFetch] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._background_failures = 0
        self._background_rests = False
        self._is_pumping = False

    @property
    def under_way(self) -> Collection[int]:
        """The blocks that are being fetched or wait for a request slot."""
        return self._arriving.keys()

    def is_missing(self, block: int) -> bool:
        """Whether a block of the image is neither cached nor under way."""
        return 0 <= block < self._blocks and block not in self._arriving and block not in self._sink

    async def read(self, read: PendingRead, ahead: Iterable[int] = ()) -> None:
        """Returns once all parts of `read` are filled; raises the error of a block that could not
        be fetched.

        Missing blocks of `ahead` that are adjacent to a requested one are fetched with it.
        """
        if not read.parts:  # the cache had all of it at the second look
            return
        unrequested = []
        for block in read.parts:
            fetch = self._arriving.get(block)
            if fetch is None:
                unrequested.append(block)
            else:
                fetch.join(block, read)
        for blocks in self._grown(unrequested, ahead):
            fetch = self._enqueue(blocks)
            for block in blocks:
                if block in read.parts:
                    fetch.join(block, read)
        self.pump()
        try:
            await read.done
        except BaseException:
            self._leave(read)
            raise

    def pump(self) -> None:
        """Starts the requests that may run now. Call it when a background source has new blocks."""
        if self._is_pumping:
            return  # a request ended as soon as it started: the loop below goes on
        self._is_pumping = True
        try:
            while (fetch := self._next()) is not None:
                self._start(fetch)
        finally:
            self._is_pumping = False

    async def close(self, error: Exception) -> None:
        """Cancels everything; waiting reads raise `error`."""
        self.background.clear()
        self._planned.clear()
        for fetch in set(self._arriving.values()):
            fetch.fail(error)
            self._give_up(fetch)
        await end_all(self._tasks)

    # ── requests ─────────────────────────────────────────────────────────────────────────────────

    def _grown(self, blocks: list[int], ahead: Iterable[int]) -> Iterator[range]:
        """Runs for `blocks`; the last one is extended by the missing blocks right after it."""
        runs = self._runs_of(blocks)
        if runs and self._unit_blocks() == 1:
            last = runs[-1]
            stop = last.stop
            for block in ahead:
                if block >= stop:
                    if block > stop or not self.is_missing(block):
                        break
                    stop = block + 1
            stop = min(stop, last.start + self.max_blocks)
            runs[-1] = range(last.start, max(stop, last.stop))
        yield from runs

    def _runs_of(self, blocks: Iterable[int]) -> list[range]:
        """Requests for `blocks` and the other missing blocks of their units."""
        unit = self._unit_blocks()
        if unit == 1:
            return plan_runs(blocks, self.max_blocks)
        asked = set(blocks)
        around = (range(n * unit, (n + 1) * unit) for n in sorted({b // unit for b in asked}))
        whole = [b for part in around for b in part if b in asked or self.is_missing(b)]
        return plan_runs(whole, min(self.max_blocks, unit), unit)

    def _next_background_run(self) -> range | PackedBlocks | None:
        """The next background request."""
        run = self._next_planned()
        if run is not None:
            return run
        for source in self.background:
            wanted = source.next_run(self.is_missing)
            if isinstance(wanted, PackedBlocks):
                return wanted
            if wanted is not None:
                self._planned.extend(self._runs_of(wanted))
                return self._next_planned()
        return None

    def _next_planned(self) -> range | None:
        """The next part of a background run that is still missing."""
        while self._planned:
            missing = [block for block in self._planned.popleft() if self.is_missing(block)]
            runs = plan_runs(missing, self.max_blocks)
            if runs:
                self._planned.extendleft(reversed(runs[1:]))
                return runs[0]
        return None

    def _next(self) -> BlockFetch | None:
        """The requests that may run now, reads first."""
        if self._waiting:
            return self._waiting.popleft() if len(self._running) < self._concurrency else None
        if self._background_rests or len(self._running) >= max(1, self._concurrency - 1):
            return None
        wanted = self._next_background_run()
        if wanted is None:
            return None
        packed = wanted if isinstance(wanted, PackedBlocks) else None
        blocks = wanted.blocks if isinstance(wanted, PackedBlocks) else wanted
        fetch = self._admit([*filter(self.is_missing, blocks)] if packed else blocks, packed)
        self._background_fetches.add(fetch)
        return fetch

    def _admit(self, blocks: Sequence[int], packed: PackedBlocks | None = None) -> BlockFetch:
        fetch = BlockFetch(self._image, blocks, self._arrived, self._make_retries, packed)
        for block in blocks:
            self._arriving[block] = fetch
        return fetch

    def _enqueue(self, blocks: range) -> BlockFetch:
        fetch = self._admit(blocks)
        self._waiting.append(fetch)
        return fetch

    def _start(self, fetch: BlockFetch) -> None:
        self._running.add(fetch)
        fetch.is_retrying = False
        task = owned_task(self._run(fetch), partial(self._ended, fetch), eager=True)
        if not task.done():  # else a retry may have replaced it
            fetch.task = task
            self._tasks.add(task)

    def _ended(self, fetch: BlockFetch, task: asyncio.Task[None]) -> None:
        """Releases what a request acquired when it was started, even if it never ran."""
        self._running.discard(fetch)
        self._tasks.discard(task)
        if not fetch.is_retrying:
            self._forget(fetch)
            self._background_fetches.discard(fetch)
        self._sink.commit(fetch.left)
        self.pump()

    async def _run(self, fetch: BlockFetch) -> None:
        try:
            fetch.begin()
            self._sink.reserve(fetch.left)
            if fetch.packed is not None:
                await fetch.unpack(fetch.packed)
            else:
                await self._source.fetch(ByteRange(*fetch.byte_range), fetch.receive)
        except Exception as error:  # noqa: BLE001 - whatever it is, no read may wait forever
            self._failed(fetch, error)
        else:
            self._background_failures = 0

    def _failed(self, fetch: BlockFetch, error: Exception) -> None:
        """Retries later if that may help and a read waits; otherwise the waiting reads fail."""
        if fetch.packed is not None:
            self._fetch_apart(fetch)
            return
        if isinstance(error, HttpStatusError) and error.status == 413 and len(fetch.left) > 1:
            self._shorten(fetch)
            return
        self._rest()
        delay = fetch.retries.delay_s(error)
        if fetch.has_readers and delay is not None:
            fetch.is_retrying = True
            fetch.task = self._spawn(self._again(fetch, delay))
            return
        fetch.fail(error)

    async def _again(self, fetch: BlockFetch, delay_s: float) -> None:
        await self._clock.sleep(delay_s)
        self._waiting.appendleft(fetch)
        self.pump()

    def _rest(self) -> None:
        """Pauses background requests to a failing server for a while."""
        if self.background and not self._background_rests:
            self._background_failures += 1
            self._background_rests = True
            self._spawn(self._end_rest(min(_MAX_REST_S, 2.0**self._background_failures)))

    async def _end_rest(self, delay_s: float) -> None:
        await self._clock.sleep(delay_s)
        self._background_rests = False
        self.pump()

    def _shorten(self, fetch: BlockFetch) -> None:
        """Splits the rest into shorter requests, and limits all later ones too."""
        self.max_blocks = max(1, min(self.max_blocks, len(fetch.left)) // 2)
        for part in reversed(fetch.split(self.max_blocks)):  # a run: packed ones are no request
            for block in part.left:
                self._arriving[block] = part
            self._waiting.appendleft(part)

    def _fetch_apart(self, fetch: BlockFetch) -> None:
        """Requests the blocks that reads wait for on their own: loading them packed has failed."""
        self._forget(fetch)
        self._rest()
        for blocks in reversed(plan_runs(fetch.wanted, self.max_blocks, self._unit_blocks())):
            part = fetch.part(blocks)
            for block in blocks:
                self._arriving[block] = part
            self._waiting.appendleft(part)
        fetch.left = ()

    # ── results ──────────────────────────────────────────────────────────────────────────────────

    def _arrived(self, first: int, data: memoryview) -> None:
        self._sink.put(first, data)
        for block in range(first, first + -(-len(data) // self._image.block_size)):
            del self._arriving[block]

    def _leave(self, read: PendingRead) -> None:
        """Cancels requests that only this ended read waited for."""
        left: dict[BlockFetch, None] = {}
        for block in read.parts:
            fetch = self._arriving.get(block)
            if fetch is not None:
                fetch.leave(block, read)
                left[fetch] = None
        for fetch in left:
            if not fetch.has_readers and fetch not in self._background_fetches:
                self._give_up(fetch)
        self.pump()

    def _give_up(self, fetch: BlockFetch) -> None:
        # Forgotten at once: a later read must start a request of its own.
        self._forget(fetch)
        if fetch in self._waiting:
            self._waiting.remove(fetch)
        if fetch.task is not None:
            fetch.task.cancel()

    def _forget(self, fetch: BlockFetch) -> None:
        for block in fetch.left:
            if self._arriving.get(block) is fetch:
                del self._arriving[block]

    def _spawn(self, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
