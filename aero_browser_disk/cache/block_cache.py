"""Which blocks of an image are cached, within a limit: the least recently used are evicted."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from ..errors import StorageError, StorageFullError
from ..platform.base import File, ReadableBuffer, WritableBuffer
from .block_store import BlockStore, StoredImage

# Different reads, or reads, after which the order of use is brought up to date: each block of one
# costs about as much as a third of a read.
_USES_AT_ONCE = 1024
_READS_AT_ONCE = 8 * _USES_AT_ONCE
_PUTS_BEFORE_RETRY = 64  # after the storage was full


class BlockCache:
    """The cached blocks of one image, within a limit in bytes.

    A new block takes a free slot of the file. Where there is none the file grows, and at the limit
    the least recently used block is evicted.

    Storage failures never fail a read or a write: `failure` has the reason, and nothing is cached
    from then on. A full storage is no failure: `is_full` is set, and new blocks replace old ones.
    If not even the journal's records fit, blocks at the end of the file are evicted for
    them. From time to time the cache tries to grow again.
    """

    def __init__(self, store: BlockStore, image: StoredImage, limit: int) -> None:
        """Raises `StorageError` when the store cannot be bound to `image`."""
        self.image = image
        self.limit = limit
        self.is_full = False
        """Whether the storage had no space for a block within the limit."""
        self.failure: StorageError | None = None
        """Why nothing is cached any more, after the storage failed."""
        self._store = store
        self._block_size = image.block_size
        self._allowed = limit  # of the limit, because of other images' caches
        self._max_slots = limit // image.block_size
        self._puts_before_retry = 0
        self._has_holes = False  # whether free slots that could not be written are skipped
        self._is_stuck = False  # shrinking the file did not help: keep its size
        self._reserved: dict[int, int] = {}  # slots reserved for blocks that are being fetched
        # Blocks that were read since the order of use was updated, each once, the latest last.
        self._uses: dict[int | range, None] = {}
        self._reads_noted = 0
        if store.image != image:
            store.begin(image)
        self._slots = store.slots()
        self._fit()

    @property
    def cached(self) -> Collection[int]:
        """The blocks that are cached, in no order."""
        return self._store.slot_of.keys()

    @property
    def blocks(self) -> int:
        """How many blocks are cached."""
        return len(self._store.slot_of)

    @property
    def bytes(self) -> int:
        """Bytes in the cached blocks."""
        stored, block_size = self._store.slot_of, self.image.block_size
        last = (self.image.size - 1) // block_size
        short = block_size - self.image.block_length(last) if last in stored else 0
        return len(stored) * block_size - short

    @property
    def has_free_space(self) -> bool:
        """Whether one more block can be cached without evicting another."""
        free = self._store.free_slots or self._slots < self._max_slots
        return bool(free) and self.failure is None

    def __contains__(self, block: int) -> bool:
        return block in self._store.slot_of

    def read_into(self, block: int, start: int, target: WritableBuffer) -> bool:
        """Fills `target` from byte `start` of a block and on into the blocks after it.

        False, and `target` is undefined, when one of them is not cached or not stored behind the
        one before. Read one block at a time to find out which.
        """
        try:
            if not self._store.read_into(block, start, target):
                return False
        except StorageError as error:
            self.failure = error
            return False
        self._note_use(block, start + len(target))
        return True

    def locate(self, block: int, start: int, length: int) -> tuple[File, int] | None:
        """The file and the offset in it of what `read_into` would read; None where it would not.

        For callers that can read the file into memory outside of Python's.
        """
        try:
            offset = self._store.locate(block, start, length)
        except StorageError as error:
            self.failure = error
            return None
        if offset is None:
            return None
        self._note_use(block, start + length)
        return self._store.file, offset

    def reserve(self, blocks: Sequence[int]) -> None:
        """Reserves adjacent slots for blocks that are being fetched.

        So blocks that several requests deliver by turns still lie together and are read in one go.
        Only while the file can grow: in a full one, blocks take the slots of evicted ones.
        """
        stop = self._slots + len(blocks)
        if self._store.free_slots or stop > self._max_slots or self.is_full or self.failure:
            return
        self._reserved.update(zip(blocks, range(self._slots, stop), strict=True))
        self._slots = stop

    def release(self, blocks: Sequence[int]) -> None:
        """Releases what `reserve` set aside for blocks that did not arrive."""
        if self._reserved:
            unused = [self._reserved.pop(block) for block in blocks if block in self._reserved]
            self._store.free_slots += unused

    def allow(self, capacity: int) -> None:
        """Sets how many bytes the cache may grow to, within its limit; it does not shrink."""
        self._allowed = capacity
        if not self.is_full:
            self._max_slots = self._slots_allowed()

    def try_to_grow(self) -> None:
        """Lets the next block try whether a full storage has space again."""
        if self._has_holes and not self._reserved:
            self._store.note_free_slots()
            self._has_holes = False
        self._max_slots = self._slots_allowed()

    def put(self, block: int, data: ReadableBuffer) -> None:
        """Caches adjacent blocks as far as possible; `data` has all bytes of each."""
        if self.failure is not None:
            return
        if self.is_full:
            self._puts_before_retry -= 1
            if self._puts_before_retry <= 0:
                self.try_to_grow()
        block_size = self._block_size
        self._order_uses()  # these are cached already
        with memoryview(data) as view:
            try:
                for run in self._missing(block, len(view)):
                    start, stop = (run.start - block) * block_size, (run.stop - block) * block_size
                    self._put(run.start, view[start:stop])
            except StorageFullError:
                self._note_full()
            except StorageError as error:
                self.failure = error

    def commit(self, fresh_until: float) -> None:
        """Makes the blocks that were put survive this session. The version is fresh until
        `fresh_until`."""
        if self.failure is None:
            self._store.mark_fresh(fresh_until)
            self._commit_in_order()

    def clear(self) -> None:
        """Removes every block. Raises `StorageError`."""
        try:
            self._store.begin(self.image)
            self.failure = None
        except StorageError as error:
            self.failure = error
            raise
        finally:
            self._reserved.clear()
            self._slots = self._store.slots()
            self._max_slots = self._slots_allowed()
            self._is_stuck = self.is_full = False

    def close(self) -> None:
        """Saves the order of use and closes the files."""
        try:
            if self.failure is None:
                self._order_uses()
                self._store.flush()
        except StorageError as error:
            self.failure = error
        finally:
            self._store.close()

    def _note_use(self, block: int, stop: int) -> None:
        """Bytes up to `stop` were read, counted from the beginning of `block`."""
        uses = self._uses
        read = (
            block if stop <= self._block_size else range(block, block - (-stop // self._block_size))
        )
        uses.pop(read, None)
        uses[read] = None
        self._reads_noted += 1
        if len(uses) > _USES_AT_ONCE or self._reads_noted > _READS_AT_ONCE:
            self._commit_in_order()

    def _missing(self, block: int, length: int) -> Iterator[range]:
        """The runs of blocks that are not cached, of those in `length` bytes."""
        stored = self._store.slot_of
        end = block + -(-length // self.image.block_size)
        start = block
        while start < end:
            if start in stored:
                start += 1
                continue
            stop = start + 1
            while stop < end and stop not in stored:
                stop += 1
            yield range(start, stop)
            start = stop

    def _put(self, block: int, data: memoryview) -> None:
        block_size = self.image.block_size
        longest = len(data)
        while len(data):
            wanted = -(-min(len(data), longest) // block_size)
            expected = self._reserved_slots(block, wanted)
            if expected is None and not self._free_slot(wanted):
                return
            slot, count = expected or self._next_slots(wanted)
            length = count * block_size
            grows = slot == self._slots
            try:
                self._store.write(block, slot, data[:length])
            except StorageFullError as error:
                if slot + count > self._store.slots() and not grows:
                    self._release_all()
                    continue
                # as many as fit; if not even one does, blocks replace others
                longest = (count + 1) // 2 * block_size
                if count == 1:
                    self._give_back(slot, error)
                elif not grows:
                    self._store.free_slots += range(slot, slot + count)
                continue
            if grows:
                self._slots += count
                self.is_full = False
            block += count
            data = data[length:]

    def _reserved_slots(self, block: int, wanted: int) -> tuple[int, int] | None:
        """The slots that `reserve` set aside for a block and those after it."""
        slot = self._reserved.pop(block, None)
        if slot is None:
            return None
        count = 1
        while count < wanted and self._reserved.get(block + count) == slot + count:
            del self._reserved[block + count]
            count += 1
        return slot, count

    def _release_all(self) -> None:
        """Releases all reserved slots: the file cannot grow that far."""
        if self._reserved or self._slots > self._store.slots():
            self._reserved.clear()
            self._slots = self._store.slots()
            self._store.note_free_slots()

    def _give_back(self, slot: int, error: StorageFullError) -> None:
        """Notes that a slot could not be written; raises `error` if others cannot either.

        The file's last slot has to grow when the image's last block was in it; and on a full device
        there may be no storage for a hole of the file.
        """
        if slot < self._slots - 1:
            if self._store.is_allocated(slot):
                self._store.free_slots.append(slot)
                raise error
            self._has_holes = True  # it is skipped until there may be space again
        elif slot < self._slots:
            self._slots = slot
            self._store.cut_slots(slot)
        self._note_full()

    def _free_slot(self, wanted: int) -> bool:
        """Frees slots that can be written by evicting the least recently used blocks.

        Frees `wanted` of them at most, so that a run can be written at once, and commits the
        journal. False when no block may be cached.
        """
        store = self._store
        self._commit()  # first: a journal that cannot grow must not cost one block after the other
        while not store.free_slots and self._slots >= self._max_slots:
            if store.least_recent() is None:
                return False
            for _ in range(wanted):
                least_recent = store.least_recent()
                if least_recent is None:
                    break
                store.free(least_recent)
            self._commit()  # may take those very slots away
        return True

    def _next_slots(self, wanted: int) -> tuple[int, int]:
        """At most so many adjacent free slots: the first, and how many."""
        if self.is_full:
            wanted = 1  # only to find out whether there is space again
        free = self._store.free_slots
        if not free:
            return self._slots, min(wanted, self._max_slots - self._slots)
        slot, count = free.pop(), 1
        while count < wanted and free and free[-1] == slot - 1:
            slot, count = free.pop(), count + 1
        return slot, count

    def _commit(self) -> None:
        """Writes the journal; on a full storage evicts up to half of the blocks for it, once."""
        spare = 0 if self._is_stuck else (self._slots + 1) // 2
        cut = 1
        while True:
            try:
                self._store.commit()
            except StorageFullError:
                self._release_all()
                self._note_full()
                if cut > spare:
                    self._is_stuck = True
                    raise
                self._slots = max(0, self._slots - cut)
                self._store.cut_slots(self._slots)
                self._max_slots = self._slots
                spare -= cut
                cut *= 2
            else:
                self._is_stuck = False
                return

    def _slots_allowed(self) -> int:
        allowed = max(self._allowed, self._slots * self._block_size)
        return min(self.limit, allowed) // self._block_size

    def _note_full(self) -> None:
        self.is_full = True
        self._max_slots = min(self._slots, self.limit // self._block_size)
        self._puts_before_retry = _PUTS_BEFORE_RETRY

    def _commit_in_order(self) -> None:
        """Commits, with the order of use."""
        self._order_uses()
        if self.failure is not None:
            return
        try:
            self._commit()
        except StorageFullError:
            pass  # noted
        except StorageError as error:
            self.failure = error

    def _order_uses(self) -> None:
        """Moves the blocks that were read to the recent end of the order of use."""
        if not self._uses:
            return
        uses, self._uses, self._reads_noted = self._uses, {}, 0
        blocks: list[int] = []
        for use in uses:
            if isinstance(use, int):
                blocks.append(use)
            else:
                blocks += use
        self._store.mark_used(blocks)

    def _fit(self) -> None:
        """Evicts and moves blocks until a store filled under a larger limit fits this one."""
        store, limit = self._store, self._max_slots
        if self._slots <= limit:
            return
        for block in list(store.slot_of)[: max(0, len(store.slot_of) - limit)]:
            store.free(block)
        free = sorted(slot for slot in store.free_slots if slot < limit)
        try:
            for block in [block for block, slot in store.slot_of.items() if slot >= limit]:
                if store.move(block, free[-1]):
                    free.pop()
            store.flush()  # before their old slots are cut off; the order of use too
        except StorageFullError:
            self._note_full()  # blocks that could not be moved are dropped
        store.free_slots[:] = free
        store.cut_slots(limit)
        self._slots = store.slots()
