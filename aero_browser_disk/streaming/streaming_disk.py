"""The read path of a remote image: cache, else a fetch under way, else the network."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator
from typing import Literal

from ..cache.block_cache import BlockCache
from ..cache.block_store import StoredImage
from ..disk import SECTOR_SIZE, DiskInfo, DiskStats, Notice, check_bounds
from ..errors import DiskClosedError, IntegrityError, InvalidOptionError, ReadOnlyError
from ..platform.base import Clock, File, ReadableBuffer, WritableBuffer
from ..platform.opening import ClosesOnExit
from ..remote.remote_image import ImageVersion, RemoteImage
from ..remote.retry import DEFAULT_RETRY, RetryPolicy
from .activity import Activity
from .background_reads import are_unasked
from .block_fetch import PendingRead
from .boot_profile import BootProfile
from .digest_list import DigestList
from .fetch_queue import FetchQueue, RangeSource
from .prefetch import ProfileReplay, WholeImage, blocks_of
from .readahead import ReadAhead

MIB = 1 << 20

_MOST_SEEN = 1 << 16  # blocks whose first read is remembered
_LONGEST_BOOT = 256 * MIB
_ROOM_STEP = 8 * MIB
_ROOM_RESTS_S = 15.0
_PROFILE_REQUEST = MIB
_WHOLE_IMAGE_REQUEST = 4 * MIB


class StreamingDisk(ClosesOnExit):
    """A read-only `Disk` over a remote image, its blocks cached.

    Concurrent reads of one block make one request, adjacent missing blocks make one request of at
    most `max_request` bytes, and at most `concurrency` requests run at a time. A block is served
    and cached once its last byte is in, after `digests`, if given, have confirmed it. Blocks of
    `profile` are fetched behind what reads ask for; once that is done, what `read_ahead` expects.
    `source`, if given, has the bytes instead of the image's host. `make_room` is told how large the
    cache is about to be and tells how large it may be, `save_profile` is told what was read first,
    and `on_close` is called when all is given up.
    """

    def __init__(
        self,
        image: RemoteImage,
        cache: BlockCache,
        clock: Clock,
        *,
        storage: Literal["opfs", "folder", "memory"],
        notices: Iterable[Notice] = (),
        retry: RetryPolicy = DEFAULT_RETRY,
        max_request: int = 8 * MIB,
        concurrency: int = 6,
        read_ahead: bool = True,
        profile: BootProfile | None = None,
        digests: DigestList | None = None,
        source: RangeSource | None = None,
        save_profile: Callable[[BootProfile], Awaitable[None]] | None = None,
        make_room: Callable[[int], Awaitable[int]] | None = None,
        on_close: Callable[[], None] = lambda: None,
    ) -> None:
        self.activity = Activity(clock.now)
        self._image = image
        self._version = ImageVersion(cache.image.size, cache.image.validator)
        self._cache = cache
        self._clock = clock
        self._storage: Literal["opfs", "folder", "memory"] = storage
        self._opening_notices = tuple(notices)
        self._block_size = block_size = cache.image.block_size
        self._size = cache.image.size
        self._digests = digests
        self._on_close = on_close
        self._watchers: list[Callable[[int, int], None]] = []
        self._closed = False
        self._bytes_read = self._hits = self._misses = self._blocks_downloaded = 0
        self._seen: set[int] = set()  # blocks whose first read was noted
        self._boot: dict[int, None] = {}  # the first of them, in order
        self._save_profile = save_profile
        self._profile = boot = blocks_of(profile, block_size) if profile else ()
        # Blocks of the longest boot that is known: a short session does not replace it.
        self._saved = len(boot)
        self._saving: asyncio.Task[None] | None = None
        self._make_room = make_room
        self._room = 0  # bytes that this cache may grow to beside the caches of other images
        self._ask_room = 0.0  # when to ask for more, after there was not enough
        self._making_room: asyncio.Task[None] | None = None
        blocks = -(-self._size // block_size)
        self._queue = FetchQueue(
            self.activity.watched(source or image),
            cache.image,
            is_held=lambda block: block in self._cache,
            arrived=self._keep,
            asking=self._expect,
            settled=self._settled,
            clock=clock,
            retry=retry,
            concurrency=concurrency,
            most_blocks=max(1, max_request // block_size),
        )
        self._read_ahead = ReadAhead(blocks, block_size) if read_ahead else None
        most = max(1, _PROFILE_REQUEST // block_size)
        # No more than leaves room for what is read: a replay must not drive that out again.
        self._replay = ProfileReplay(boot[: cache.limit // 2 // block_size], most)
        most = max(1, _WHOLE_IMAGE_REQUEST // block_size)
        self._whole_image = WholeImage(blocks, most, self._has_room_for_more)
        self._queue.background.append(self._replay)
        if self._read_ahead is not None:
            self._queue.background.append(self._read_ahead)
        self._queue.background.append(self._whole_image)

    @property
    def info(self) -> DiskInfo:
        return DiskInfo(self._size, str(self._version), self._block_size, read_only=True)

    @property
    def stored_image(self) -> StoredImage:
        """What a cache of this disk must be of."""
        return self._cache.image

    # ── reading ──────────────────────────────────────────────────────────────────────────────────

    def try_read_into(self, offset: int, target: WritableBuffer) -> bool:
        length = len(target)
        stop = offset + length
        if self._closed or not 0 <= offset < stop <= self._size:  # the usual case costs one test
            self._check(offset, length)
            return True  # there is nothing to read
        block_size = self._block_size
        block = offset // block_size
        last = (stop - 1) // block_size
        held = self._cache.read_into(block, offset - block * block_size, target)
        if not held and not self._read_scattered(offset, target, block, last):
            return False
        self._note_hit(offset, length, block, last)
        return True

    def locate(self, offset: int, length: int) -> tuple[File, int] | None:
        """The cache's file and the place in it of bytes that lie there as a whole, else None.

        Counts as a read of them, which the caller is to do. Raises as `try_read_into` does.
        """
        stop = offset + length
        if self._closed or not 0 <= offset < stop <= self._size:
            self._check(offset, length)
            return None  # there is nothing to read
        block_size = self._block_size
        block = offset // block_size
        place = self._cache.locate(block, offset - block * block_size, length)
        if place is not None:
            self._note_hit(offset, length, block, (stop - 1) // block_size)
        return place

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
        unread = [block for block in range(first, last + 1) if block not in self._boot]
        ahead = self._note_first_read(first, last)
        try:
            await self._queue.read(missing, ahead)
        except BaseException:
            for block in unread:
                self._boot.pop(block, None)
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
        """Caches the first block, which was fetched to see what the file is.

        Raises `IntegrityError` when the digests deny it.
        """
        self._expect(range(1))
        self._keep(0, memoryview(data))
        self._settled(range(0))

    async def prime(self) -> None:
        """Fetches the first block, which every reader of a disk asks for, unless it is held.

        So a host that cannot serve ranges is found out when the disk is opened.
        """
        first = bytearray(1)
        if not self._cache.read_into(0, 0, first):
            missing = PendingRead()
            missing.wait_for(0, 0, memoryview(first))
            await self._queue.read(missing)
        self._queue.pump()

    def adopt(
        self, cache: BlockCache, storage: Literal["opfs", "folder", "memory"], notices: list[Notice]
    ) -> None:
        """Goes on with another cache of the same image; what was read goes along from the old."""
        old, self._cache = self._cache, cache
        self._storage, self._opening_notices = storage, tuple(notices)
        for block in self._seen:
            data = bytearray(cache.image.block_length(block))
            if block not in cache and old.read_into(block, 0, data):
                cache.put(block, data)
        old.close()

    # ── the whole image, and its boot ────────────────────────────────────────────────────────────

    def keep_whole_image(self) -> None:
        """Downloads all that is missing, behind everything else, until `pause_keeping`.

        Goes on where it was, after a restart too. `stats` tell how far it is. Stops with the notice
        `storage-full` when there is no room, and tries again when it is called again. Raises
        `InvalidOptionError` when the cache's limit is below the size of the image.
        """
        self._check(0, 0)
        if self._cache.limit < self._size:
            expected = f"at least the image's size, {self._size} bytes"
            raise InvalidOptionError("cache_limit_bytes", self._cache.limit, expected)
        self._whole_image.wanted = True
        self._cache.try_to_grow()
        self._ask_room = 0.0
        self._ask_for_room()
        self._queue.pump()

    def pause_keeping(self) -> None:
        """Stops `keep_whole_image`; what is under way is still kept."""
        self._whole_image.wanted = False

    def boot_profile(self) -> BootProfile:
        """The blocks read since the disk was opened, in the order of their first read.

        Of a long session only the beginning: at most 256 MiB.
        """
        version = self._version
        blocks = tuple(self._boot)
        return BootProfile(self._size, version.validator, self._block_size, blocks)

    # ── who watches ──────────────────────────────────────────────────────────────────────────────

    @property
    def is_all_here(self) -> bool:
        """It is not, however much of it is cached."""
        return False

    def held_ranges(self) -> Collection[tuple[int, int]]:
        """None: all that is kept is in blocks."""
        return ()

    def held_blocks(self) -> Collection[int]:
        """The blocks that are cached, in no order."""
        return self._cache.held

    def blocks_under_way(self) -> Collection[int]:
        """The blocks that requests are out for, or will be."""
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
        for forget in self._watchers:
            forget(0, self._size)

    def watch(self, changed: Callable[[int, int], None]) -> None:
        """Has `changed(offset, length)` called for bytes that are to be read anew, if kept."""
        self._watchers.append(changed)

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        try:
            await self._queue.close(DiskClosedError())
            for task in (self._saving, self._making_room):
                if task is not None:
                    await task
            if len(self._boot) > self._saved:
                await self._save_boot()
        finally:  # also when the call is cancelled: files and lock are not to stay behind
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
        if block not in self._seen or last not in self._seen:
            self._note_first_read(block, last)
            self._queue.pump()

    def _read_scattered(self, offset: int, target: WritableBuffer, block: int, last: int) -> bool:
        """Reads blocks that are all held, though not one behind the other."""
        cache = self._cache
        if block == last or not all(number in cache for number in range(block, last + 1)):
            return False
        return all(cache.read_into(*part) for part in self._parts(offset, target))

    def _note_first_read(self, first: int, last: int) -> range:
        """Tells the boot profile and read-ahead; returns what would best come with the read."""
        if are_unasked():
            return range(0)
        if len(self._seen) > _MOST_SEEN:
            self._seen.clear()
        blocks = range(first, last + 1)
        self._seen.update(blocks)
        if (len(self._boot) + len(blocks)) * self._block_size <= _LONGEST_BOOT:
            self._boot.update(dict.fromkeys(blocks))
        # A profile knows better: guesses beside it would only take the link from it (measured).
        if self._read_ahead is None or not self._replay.is_done():
            return range(0)
        return self._read_ahead.note(first, last)

    def _expect(self, blocks: range) -> None:
        self._cache.expect(blocks)  # another cache may have taken the place of the first

    def _keep(self, first: int, data: memoryview) -> None:
        if self._digests is not None:
            self._confirm(self._digests, first * self._block_size, data)
        self._blocks_downloaded += -(-len(data) // self._block_size)
        self._cache.put(first, data)

    def _confirm(self, digests: DigestList, offset: int, data: memoryview) -> None:
        step = digests.chunk_size
        for start in range(0, len(data), step):
            chunk = data[start : start + step]
            if not digests.verify((offset + start) // step, chunk):
                raise IntegrityError(offset + start, len(chunk))

    def _settled(self, missing: range) -> None:
        self._cache.expect_no_more(missing)
        vouched = self._image.fresh_for_s
        fresh = vouched and not self._image.changed
        self._cache.commit(self._clock.now() + vouched if fresh else 0)
        # Twice as much each time, so that a boot of any length is saved a few times only.
        if self._saving is None and len(self._boot) > 2 * self._saved and not self._closed:
            self._saving = asyncio.ensure_future(self._save_boot())
        self._ask_for_room()

    def _ask_for_room(self) -> None:
        wanted = self._cache.bytes + _ROOM_STEP
        if wanted > self._room and self._making_room is None and self._clock.now() > self._ask_room:
            self._making_room = asyncio.ensure_future(self._grow_room())

    def _has_room_for_more(self) -> bool:
        """Whether what no read asks for may be kept; not while that is being found out."""
        return self._making_room is None and self._cache.has_room

    async def _grow_room(self) -> None:
        wanted = self._cache.bytes + 2 * _ROOM_STEP
        try:
            await self._make_room_for(wanted)
        finally:
            self._making_room = None
        if not self._closed:
            self._queue.pump()

    async def _make_room_for(self, wanted: int) -> None:
        if self._make_room is not None and not self._closed:
            room = await self._make_room(wanted)
            self._room = min(room, wanted)  # others grow too, so that no more is taken at once
            # Until it is refused it may grow further: what comes in while this waits for an answer
            # must not drive out what is there.
            self._cache.allow(room if room < wanted else self._cache.limit)
            self._ask_room = self._clock.now() + _ROOM_RESTS_S if room < wanted else 0.0

    async def _save_boot(self) -> None:
        self._saved = len(self._boot)
        try:
            if self._save_profile is not None:
                await self._save_profile(self.boot_profile())
        finally:
            self._saving = None

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
        """Whether the whole image is wanted and the caches of others leave no room for it."""
        is_refused = self._ask_room and not self._cache.has_room
        return bool(self._whole_image.wanted and is_refused and self._cache.bytes < self._size)
