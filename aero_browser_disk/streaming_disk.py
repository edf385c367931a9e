"""The read path of a remote image: cache, else a fetch under way, else the network."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from typing import Literal

from .block_cache import BlockCache
from .block_fetch import BlockFetch, PendingRead, plan_requests
from .byte_ranges import ByteRange
from .disk import SECTOR_SIZE, DiskInfo, DiskStats, Notice, check_bounds
from .errors import DiskClosedError
from .platform.base import Clock, WritableBuffer
from .remote_image import RemoteImage


class StreamingDisk:
    """A read-only `Disk` over a remote image, its blocks cached.

    Concurrent reads of one block make one request, adjacent missing blocks make one request of at
    most `max_request` bytes, and at most `concurrency` requests run at a time. A block is served
    and cached once its last byte is in. `on_close` is called when all is given up.
    """

    def __init__(
        self,
        image: RemoteImage,
        cache: BlockCache,
        clock: Clock,
        *,
        storage: Literal["opfs", "folder", "memory"],
        notices: Iterable[Notice] = (),
        max_request: int = 8 * 1024 * 1024,
        concurrency: int = 6,
        on_close: Callable[[], None] = lambda: None,
    ) -> None:
        self._image = image
        self._cache = cache
        self._clock = clock
        self._storage: Literal["opfs", "folder", "memory"] = storage
        self._opening_notices = tuple(notices)
        self._block_size = cache.image.block_size
        self._size = cache.image.size
        self._most_blocks = max(1, max_request // self._block_size)
        self._places = asyncio.Semaphore(concurrency)
        self._on_close = on_close
        self._arriving: dict[int, BlockFetch] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False
        self._bytes_read = self._hits = self._misses = self._blocks_downloaded = 0

    @property
    def info(self) -> DiskInfo:
        return DiskInfo(self._size, str(self._image.version), self._block_size, read_only=True)

    # ── reading ──────────────────────────────────────────────────────────────────────────────────

    def try_read_into(self, offset: int, target: WritableBuffer) -> bool:
        length = len(target)
        self._check(offset, length)
        block, start = divmod(offset, self._block_size)
        if start + length <= self._block_size:
            if not self._cache.read_into(block, start, target):
                return False
            self._hits += 1
        else:
            parts = list(self._parts(offset, target))
            if not all(self._cache.read_into(*part) for part in parts):
                return False
            self._hits += len(parts)
        self._bytes_read += length
        return True

    async def read_into(self, offset: int, target: WritableBuffer) -> None:
        length = len(target)
        self._check(offset, length)
        missing = []
        for part in self._parts(offset, target):
            if self._cache.read_into(*part):
                self._hits += 1
            else:
                missing.append(part)
        if missing:
            self._misses += len(missing)
            await self._read_missing(missing)
        self._bytes_read += length

    async def read(self, offset: int, length: int) -> bytes:
        self._check(offset, length)
        target = bytearray(length)
        await self.read_into(offset, target)
        return bytes(target)

    async def prime(self) -> None:
        """Fetches the first block, which every reader of a disk asks for, unless it is held.

        So a host that cannot serve ranges is found out when the disk is opened.
        """
        first = bytearray(1)
        if 0 not in self._cache or not self._cache.read_into(0, 0, first):
            await self._read_missing([(0, 0, memoryview(first))])

    # ── everything else ──────────────────────────────────────────────────────────────────────────

    def stats(self) -> DiskStats:
        traffic = self._image.traffic
        return DiskStats(
            requests=traffic.requests,
            requests_in_flight=traffic.in_flight,
            bytes_downloaded=traffic.bytes_downloaded,
            blocks_downloaded=self._blocks_downloaded,
            bytes_read=self._bytes_read,
            hits=self._hits,
            misses=self._misses,
            cached_bytes=self._cache.bytes,
            cached_blocks=self._cache.blocks,
            cache_limit_bytes=self._cache.limit,
            storage=self._storage,
            notices=tuple(self._notices()),
        )

    async def clear_cache(self) -> None:
        """Forgets every cached block; the next read of each asks the host again."""
        if self._closed:
            raise DiskClosedError
        self._cache.clear()

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        for fetch in set(self._arriving.values()):
            fetch.fail(DiskClosedError())
            self._give_up(fetch)
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._cache.close()
        self._on_close()

    # ── inside ───────────────────────────────────────────────────────────────────────────────────

    def _check(self, offset: int, length: int) -> None:
        if self._closed:
            raise DiskClosedError
        check_bounds(offset, length, self._size)

    def _parts(self, offset: int, target: WritableBuffer) -> Iterator[tuple[int, int, memoryview]]:
        """Cuts a read at the blocks' edges: block, where in it, and where that goes."""
        view, at = memoryview(target), 0
        while at < len(view):
            block, start = divmod(offset + at, self._block_size)
            part = view[at : at + self._block_size - start]
            yield block, start, part
            at += len(part)

    async def _read_missing(self, missing: list[tuple[int, int, memoryview]]) -> None:
        """Fills the parts from fetches: those under way, and new ones for what no one fetches."""
        read = PendingRead()
        unasked = []
        for block, start, target in missing:
            read.wait_for(block, start, target)
            if block in self._arriving:
                self._arriving[block].join(block, read)
            else:
                unasked.append(block)
        for blocks in plan_requests(unasked, self._most_blocks):
            self._start_fetch(blocks, read)
        try:
            await read.done
        except BaseException:
            self._leave(read)
            raise

    def _start_fetch(self, blocks: range, read: PendingRead) -> None:
        fetch = BlockFetch(self._cache.image, blocks, self._keep)
        for block in blocks:
            self._arriving[block] = fetch
            fetch.join(block, read)
        fetch.task = asyncio.ensure_future(self._run(fetch))
        self._tasks.add(fetch.task)
        fetch.task.add_done_callback(self._tasks.discard)

    async def _run(self, fetch: BlockFetch) -> None:
        try:
            async with self._places:
                await self._image.fetch(ByteRange(fetch.start, fetch.stop), fetch.receive)
        except Exception as error:  # noqa: BLE001 - whatever it was, nobody may wait for ever
            fetch.fail(error)
        finally:
            self._forget(fetch)
            self._cache.commit(self._fresh_until())

    def _keep(self, block: int, data: memoryview) -> None:
        del self._arriving[block]
        self._blocks_downloaded += 1
        self._cache.put(block, data)

    def _leave(self, read: PendingRead) -> None:
        """Gives up the fetches that only a read which has ended waits for."""
        for block in read.parts:
            fetch = self._arriving.get(block)
            if fetch is not None and not fetch.leave(block, read):
                self._give_up(fetch)

    def _give_up(self, fetch: BlockFetch) -> None:
        # Forgotten at once: a read that comes now must start a fetch of its own.
        self._forget(fetch)
        if fetch.task is not None:
            fetch.task.cancel()

    def _forget(self, fetch: BlockFetch) -> None:
        for block in fetch.left:
            if self._arriving.get(block) is fetch:
                del self._arriving[block]

    def _fresh_until(self) -> float:
        vouched = self._image.fresh_for_s
        return 0 if self._image.changed or not vouched else self._clock.now() + vouched

    def _notices(self) -> Iterator[Notice]:
        yield from self._opening_notices
        if self._size % SECTOR_SIZE:
            yield "odd-size"
        if self._cache.failure is not None:
            yield "storage-failed"
        elif self._cache.is_full:
            yield "storage-full"
