"""The disk of a remote image: reads from the cache, else joins a fetch, else requests from the
server."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Literal, Protocol

from ..cache.block_cache import BlockCache
from ..cache.block_store import StoredImage
from ..disk import SECTOR_SIZE, DiskInfo, DiskStats, Notice, check_bounds
from ..errors import DiskClosedError, InvalidOptionError, ReadOnlyError
from ..platform.base import Clock, File, ReadableBuffer, WritableBuffer
from ..platform.opening import ClosesOnExit
from ..remote.remote_image import ImageVersion, Traffic
from ..remote.retry import DEFAULT_RETRY, RetryPolicy
from .activity import Activity
from .background_reads import is_background
from .block_fetch import PackedBlocks, PendingRead
from .block_sink import VerifiedCache
from .boot_profile import BootProfile
from .boot_recorder import BootRecorder, SaveProfile
from .cache_growth import CacheGrowth, MakeRoom
from .digest_list import DigestList
from .fetch_queue import FetchQueue, RangeSource
from .layout_source import LayoutSource, format_of
from .prefetch import BundleReplay, ProfileReplay, WholeImage, blocks_of
from .readahead import ReadAhead

MIB = 1 << 20

_PROFILE_REQUEST = MIB
_WHOLE_IMAGE_REQUEST = 4 * MIB

StorageKind = Literal["opfs", "folder", "memory"]


class ServerImage(Protocol):
    """What a disk knows of its image on the server: see `RemoteImage`."""

    @property
    def traffic(self) -> Traffic:
        """Counters of requests and of the bytes they brought."""

    @property
    def fresh_for_s(self) -> float:
        """Seconds for which the last response promises that this version is current."""

    @property
    def changed(self) -> bool:
        """Whether the server has another version."""

    @property
    def confirmed(self) -> bool:
        """Whether the server responded since the image was opened."""


class StreamingDisk(ClosesOnExit):
    """A read-only `Disk` over a remote image.

    A read takes cached blocks from the cache, in a plain call. For others it waits: the
    `FetchQueue` requests them from the server, or joins requests under way, and hands them to the
    `BlockSink`, which verifies and caches them. When no read waits, the queue fetches the blocks of
    the boot profile, then those that read-ahead expects, then the whole image if that is wanted.

    `source` has the bytes, preferably read in units of `unit` bytes. `bundle` has the blocks that a
    boot reads, in its order. `sector_size` is what a guest must use. `kept_bytes` were taken over
    from an older version. `make_room` and `save_profile` are what `CacheGrowth` and `BootRecorder`
    say; `on_close` is called at the end.
    """

    def __init__(
        self,
        image: ServerImage,
        cache: BlockCache,
        clock: Clock,
        *,
        source: RangeSource,
        storage: StorageKind,
        notices: Iterable[Notice] = (),
        retry: RetryPolicy = DEFAULT_RETRY,
        max_request: int = 8 * MIB,
        concurrency: int = 6,
        read_ahead: bool = True,
        profile: BootProfile | None = None,
        digests: DigestList | None = None,
        unit: int = 0,
        bundle: Sequence[PackedBlocks] = (),
        kept_bytes: int = 0,
        sector_size: int = SECTOR_SIZE,
        save_profile: SaveProfile | None = None,
        make_room: MakeRoom | None = None,
        on_close: Callable[[], None] = lambda: None,
    ) -> None:
        self.activity = Activity(clock.now)
        self._image = image
        self._layout = source if isinstance(source, LayoutSource) else None
        self._version = ImageVersion(cache.image.size, cache.image.validator)
        self._cache = cache
        self._clock = clock
        self._storage: StorageKind = storage
        self._opening_notices = tuple(notices)
        self._block_size = block_size = cache.image.block_size
        self._size = cache.image.size
        self._on_close = on_close
        self._kept_bytes = kept_bytes
        self._sector_size = sector_size
        self._watchers: list[Callable[[int, int], None]] = []
        self._closed = False
        self._bytes_read = self._hits = self._misses = 0
        boot = blocks_of(profile, block_size) if profile else ()
        self._profile = boot or tuple(block for part in bundle for block in part.blocks)
        self._boot = BootRecorder(
            self._size,
            self._version.validator,
            block_size,
            known_blocks=len(self._profile),
            save=save_profile,
        )
        self._sink = VerifiedCache(cache, digests, self._fresh_until, self._committed)
        self._unit = unit
        self._queue = FetchQueue(
            self.activity.watched(source),
            cache.image,
            self._sink,
            clock=clock,
            retry=retry,
            concurrency=concurrency,
            max_blocks=max(1, max_request // block_size),
            unit_blocks=self._unit_blocks,
        )
        self._growth = CacheGrowth(cache, clock, make_room, self._queue.pump)
        blocks = -(-self._size // block_size)
        self._read_ahead = ReadAhead(blocks, block_size, self._unit_blocks) if read_ahead else None
        # Only as much of the profile as leaves space for reads: a larger one would evict itself.
        self._replay = ProfileReplay(
            boot[: cache.limit // 2 // block_size], max(1, _PROFILE_REQUEST // block_size)
        )
        self._bundle = BundleReplay(bundle)
        self._whole_image = WholeImage(
            blocks,
            min(self._queue.max_blocks, max(1, _WHOLE_IMAGE_REQUEST // block_size)),
            lambda: self._growth.has_free_space,
        )
        ahead = [] if self._read_ahead is None else [self._read_ahead]
        self._queue.background += [self._bundle, self._replay, *ahead, self._whole_image]

    @property
    def info(self) -> DiskInfo:
        return DiskInfo(
            self._size,
            str(self._version),
            self._block_size,
            read_only=True,
            sector_size=self._sector_size,
        )

    @property
    def format(self) -> str | None:
        """The format of the file that the disk is in: "raw", "qcow2", …; None if not known yet."""
        if self._layout is not None and not self._version.validator:
            return self._layout.format  # there is no version that names it
        return format_of(self._version)

    @property
    def stored_image(self) -> StoredImage:
        """The image that a cache of this disk must belong to."""
        return self._cache.image

    @property
    def server_image(self) -> ServerImage:
        """The image on its server, pinned to this version."""
        return self._image

    # ── reading ──────────────────────────────────────────────────────────────────────────────────

    def try_read_into(self, offset: int, target: WritableBuffer) -> bool:
        length = len(target)
        stop = offset + length
        if self._closed or not 0 <= offset < stop <= self._size:  # one test in the usual case
            self._check(offset, length)
            return True  # there is nothing to read
        block_size = self._block_size
        block = offset // block_size
        last = (stop - 1) // block_size
        is_read = self._cache.read_into(block, offset - block * block_size, target)
        if not is_read and not self._read_scattered(offset, target, block, last):
            return False
        self._note_hit(offset, length, block, last)
        return True

    def locate(self, offset: int, length: int) -> tuple[File, int] | None:
        """The cache's file and the offset in it, if the bytes are contiguous there; else None.

        Counts as a read, which the caller does itself. Raises as `try_read_into` does.
        """
        stop = offset + length
        if self._closed or not 0 <= offset < stop <= self._size:
            self._check(offset, length)
            return None  # there is nothing to read
        block_size = self._block_size
        block = offset // block_size
        located = self._cache.locate(block, offset - block * block_size, length)
        if located is not None:
            self._note_hit(offset, length, block, (stop - 1) // block_size)
        return located

    async def read_into(self, offset: int, target: WritableBuffer) -> None:
        if self.try_read_into(offset, target):
            return
        missing, cache = PendingRead(), self._cache
        for block, start, part in self._parts(offset, target):
            if block in cache and cache.read_into(block, start, part):
                self._hits += 1
            else:
                missing.wait_for(block, start, part)
        self._misses += len(missing.parts)
        if self.activity.on:
            self.activity.note("miss", offset, len(target))
        first, last = offset // self._block_size, (offset + len(target) - 1) // self._block_size
        unread = self._boot.unrecorded(range(first, last + 1))
        ahead = self._note_first_read(first, last)
        try:
            await self._queue.read(missing, ahead)
        except BaseException:
            self._boot.forget(unread)
            raise
        self._bytes_read += len(target)

    async def read(self, offset: int, length: int) -> bytes:
        self._check(offset, length)
        target = bytearray(length)
        await self.read_into(offset, target)
        return bytes(target)

    def try_write(self, offset: int, data: ReadableBuffer) -> bool:
        self._check(offset, len(data))
        raise ReadOnlyError

    async def write(self, offset: int, data: ReadableBuffer) -> None:
        self.try_write(offset, data)

    async def flush(self) -> None:
        self._check(0, 0)

    async def discard(self, offset: int, length: int) -> None:
        self._check(offset, length)
        raise ReadOnlyError

    def take_first_block(self, data: bytes) -> None:
        """Caches the first block, which was fetched to recognise the format.

        Raises `IntegrityError` when it does not match the digests.
        """
        self._sink.reserve(range(1))
        self._sink.put(0, memoryview(data))
        self._sink.commit(range(0))

    async def prime(self) -> None:
        """Fetches the first block, which every reader of a disk needs, unless it is cached.

        So opening fails if the server cannot serve ranges.
        """
        if not self._bundle.is_done():
            self._queue.pump()  # start the background now: the boot's blocks come first
        first = bytearray(1)
        if not self._cache.read_into(0, 0, first):
            missing = PendingRead()
            missing.wait_for(0, 0, memoryview(first))
            await self._queue.read(missing)
        self._queue.pump()

    def adopt(self, cache: BlockCache, storage: StorageKind, notices: list[Notice]) -> None:
        """Switches to another cache of the same image, and copies the blocks that were read."""
        old = self._cache
        self._cache = self._sink.cache = self._growth.cache = cache
        self._storage, self._opening_notices = storage, tuple(notices)
        for block in self._boot.seen:
            data = bytearray(cache.image.block_length(block))
            if block not in cache and old.read_into(block, 0, data):
                cache.put(block, data)
        old.close()

    # ── the whole image, and its boot ────────────────────────────────────────────────────────────

    def keep_whole_image(self) -> None:
        """Downloads all missing blocks, after everything else, until `pause_keeping`.

        Continues where it stopped, also after a restart. `stats` has the progress. Stops with the
        notice `storage-full` when the storage is full, and tries again when it is called again.
        Raises `InvalidOptionError` when the cache's limit is below the size of the image.
        """
        self._check(0, 0)
        if self._cache.limit < self._size:
            expected = f"at least the image's size, {self._size} bytes"
            raise InvalidOptionError("cache_limit_bytes", self._cache.limit, expected)
        self._whole_image.wanted = True
        self._cache.try_to_grow()
        self._growth.retry()
        self._queue.pump()

    def pause_keeping(self) -> None:
        """Stops `keep_whole_image`; requests under way are still cached."""
        self._whole_image.wanted = False

    def boot_profile(self) -> BootProfile:
        """The blocks read since the disk was opened, in the order of their first read.

        In a long session only the first 256 MiB.
        """
        return self._boot.profile()

    # ── for the map ──────────────────────────────────────────────────────────────────────────────

    @property
    def is_all_here(self) -> bool:
        """Always false, however much is cached."""
        return False

    def local_ranges(self) -> Collection[tuple[int, int]]:
        """Empty: everything stored is in blocks."""
        return ()

    def cached_blocks(self) -> Collection[int]:
        """The blocks that are cached, in no order."""
        return self._cache.cached

    def blocks_under_way(self) -> Collection[int]:
        """The blocks that are being fetched or wait for a request slot."""
        return self._queue.under_way

    def profile_blocks(self) -> Collection[int]:
        """The blocks of the boot profile that this disk was opened with."""
        return self._profile

    # ── everything else ──────────────────────────────────────────────────────────────────────────

    def stats(self) -> DiskStats:
        traffic = self._image.traffic
        return DiskStats(
            requests=traffic.requests,
            requests_in_flight=traffic.in_flight,
            bytes_downloaded=traffic.bytes_downloaded,
            blocks_downloaded=self._sink.blocks_taken,
            bytes_read=self._bytes_read,
            hits=self._hits,
            misses=self._misses,
            cached_bytes=self._cache.bytes,
            cached_blocks=self._cache.blocks,
            cache_limit_bytes=self._cache.limit,
            storage=self._storage,
            notices=tuple(self._notices()),
            kept_bytes=self._kept_bytes,
        )

    async def clear_cache(self) -> None:
        """Removes every cached block; the next read of each requests it again."""
        if self._closed:
            raise DiskClosedError
        self._cache.clear()
        for forget in self._watchers:
            forget(0, self._size)

    def watch(self, changed: Callable[[int, int], None]) -> None:
        """Calls `changed(offset, length)` for bytes of which earlier copies are no longer valid."""
        self._watchers.append(changed)

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        try:
            await self._queue.close(DiskClosedError())
            await self._growth.close()
            await self._boot.close()
        finally:  # also if the call is cancelled: files and lock must be released
            try:
                self._cache.close()
            finally:
                self._on_close()

    def _repr_html_(self) -> str:
        from ..disk_html import disk_html

        return disk_html(self)

    @property
    def _is_open(self) -> bool:
        return not self._closed

    # ── inside ───────────────────────────────────────────────────────────────────────────────────

    def _unit_blocks(self) -> int:
        """Blocks that are best fetched together, apart from others."""
        unit = self._unit or (self._layout.unit if self._layout is not None else 0)
        return max(1, unit // self._block_size)

    def _check(self, offset: int, length: int) -> None:
        if self._closed:
            raise DiskClosedError
        check_bounds(offset, length, self._size)

    def _parts(self, offset: int, target: WritableBuffer) -> Iterator[tuple[int, int, memoryview]]:
        """Cuts a read at the blocks' edges: block, where in it, and where that goes."""
        view, block_size = memoryview(target), self._block_size
        at, length = 0, len(view)
        block, start = divmod(offset, block_size)
        while at < length:
            part = view[at : at + block_size - start]
            yield block, start, part
            at += block_size - start
            block, start = block + 1, 0

    def _note_hit(self, offset: int, length: int, block: int, last: int) -> None:
        self._hits += last - block + 1
        self._bytes_read += length
        if self.activity.on:
            self.activity.note("hit", offset, length)
        seen = self._boot.seen
        if block not in seen or last not in seen:
            self._note_first_read(block, last)
            self._queue.pump()

    def _read_scattered(self, offset: int, target: WritableBuffer, block: int, last: int) -> bool:
        """Reads blocks that are all cached, but not in adjacent slots."""
        cache = self._cache
        if block == last or not all(number in cache for number in range(block, last + 1)):
            return False
        return all(cache.read_into(*part) for part in self._parts(offset, target))

    def _note_first_read(self, first: int, last: int) -> range:
        """Records the read for the boot profile and read-ahead; returns the blocks to fetch with
        it."""
        if is_background():
            return range(0)
        self._boot.note(range(first, last + 1))
        # The profile is better: guesses would only compete with it for the link (measured).
        is_replayed = self._bundle.is_done() and self._replay.is_done()
        if self._read_ahead is None or not is_replayed:
            return range(0)
        return self._read_ahead.note(first, last)

    def _fresh_until(self) -> float:
        """Until when the server promises that this version is current; 0 without a promise."""
        fresh_for_s = self._image.fresh_for_s
        return self._clock.now() + fresh_for_s if fresh_for_s and not self._image.changed else 0

    def _committed(self) -> None:
        if not self._closed:
            self._boot.save_if_grown()
        self._growth.check()

    def _notices(self) -> Iterator[Notice]:
        for notice in self._opening_notices:
            if notice != "offline" or not self._image.confirmed:
                yield notice
        if self._size % SECTOR_SIZE:
            yield "odd-size"
        if self._cache.failure is not None:
            yield "storage-failed"
        elif self._cache.is_full or self._is_stopped_short():
            yield "storage-full"

    def _is_stopped_short(self) -> bool:
        """Whether the whole image is wanted and the caches of others leave no space for it."""
        is_missing_some = self._cache.bytes < self._size
        return self._whole_image.wanted and self._growth.is_refused and is_missing_some
