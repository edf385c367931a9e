"""Which blocks of an image are kept: the budget, and who goes when it is spent."""

from __future__ import annotations

from collections.abc import Iterator

from .block_store import BlockStore, StoredImage
from .errors import StorageError, StorageFullError
from .platform.base import ReadableBuffer, WritableBuffer

_USES_AT_ONCE = 256  # reads whose blocks are brought into order together


class BlockCache:
    """The blocks of one image that are held, least recently used ones going first.

    A cache never fails a read or a write: what it cannot keep it does not hold, and says why.
    `limit` is in bytes.
    """

    def __init__(self, store: BlockStore, image: StoredImage, limit: int) -> None:
        self.image = image
        self.limit = limit
        self.is_full = False
        """Whether the storage had no room for a block within the limit."""
        self.failure: StorageError | None = None
        """Why nothing is kept any more, after the storage failed."""
        self._store = store
        self._most_slots = limit // image.block_size
        self._uses: list[range] = []  # not yet in the order of use
        self._last_used = range(0)
        if store.image != image:
            store.begin(image)
        self._slots = store.slots()
        self._fit()

    @property
    def blocks(self) -> int:
        """How many blocks are held."""
        return len(self._store.held)

    @property
    def bytes(self) -> int:
        """Bytes in the blocks that are held."""
        held, block_size = self._store.held, self.image.block_size
        last = (self.image.size - 1) // block_size
        short = block_size - self.image.block_length(last) if last in held else 0
        return len(held) * block_size - short

    def __contains__(self, block: int) -> bool:
        return block in self._store.held

    def read_into(self, block: int, start: int, target: WritableBuffer) -> bool:
        """Fills `target` from byte `start` of a block and on into the blocks after it.

        False, without a word on which, when one of them is not held or does not lie behind the one
        before in the file; `target` is undefined then. Read one block at a time to be told.
        """
        try:
            if not self._store.read_into(block, start, target):
                return False
        except StorageError as error:
            self.failure = error
            return False
        stop = block + 1 + (start + len(target) - 1) // self.image.block_size
        if self._last_used.start != block or self._last_used.stop != stop:
            self._last_used = range(block, stop)
            self._uses.append(self._last_used)
            if len(self._uses) > _USES_AT_ONCE:
                self._order_uses()
        return True

    def put(self, block: int, data: ReadableBuffer) -> None:
        """Keeps blocks, one behind the other, as far as it can; `data` is all of each."""
        if self.failure is not None:
            return
        block_size = self.image.block_size
        with memoryview(data) as view:
            try:
                for run in self._missing(block, len(view)):
                    start, stop = (run.start - block) * block_size, (run.stop - block) * block_size
                    self._put(run.start, view[start:stop])
            except StorageFullError:
                self.is_full = True
            except StorageError as error:
                self.failure = error

    def commit(self, fresh_until: float) -> None:
        """Makes what was put survive this session; notes until when the host vouches for it."""
        if self.failure is not None:
            return
        try:
            self._order_uses()
            if int(fresh_until) != self._store.fresh_until:
                self._store.vouch(fresh_until)
            self._store.commit()
        except StorageFullError:
            self.is_full = True
        except StorageError as error:
            self.failure = error

    def clear(self) -> None:
        """Forgets every block and gives their room back."""
        self._store.begin(self.image)
        self._slots = 0
        self._most_slots = self.limit // self.image.block_size
        self.is_full = False

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

    def _missing(self, block: int, length: int) -> Iterator[range]:
        """The runs of blocks that are not held, of those in `length` bytes."""
        held = self._store.held
        end = block + -(-length // self.image.block_size)
        start = block
        while start < end:
            if start in held:
                start += 1
                continue
            stop = start + 1
            while stop < end and stop not in held:
                stop += 1
            yield range(start, stop)
            start = stop

    def _put(self, block: int, data: memoryview) -> None:
        # First, so that a journal that cannot grow costs no other block its place.
        self._store.commit()
        block_size = self.image.block_size
        while len(data):
            slot, count = self._take_slots(-(-len(data) // block_size))
            if not count:
                return
            length = count * block_size
            try:
                self._store.write(block, slot, data[:length])
            except StorageFullError:
                # The file cannot grow any more; from now on blocks take the room of others.
                if slot + count == self._slots:
                    self._slots = slot
                else:
                    self._store.free_slots.extend(range(slot, slot + count))
                self._most_slots = self._slots
                raise
            block += count
            data = data[length:]

    def _take_slots(self, wanted: int) -> tuple[int, int]:
        """At most so many adjacent slots that no block holds: the first, and how many.

        From the end of the file while the limit allows; else one, at the cost of the least
        recently used block. None when nothing is allowed.
        """
        store = self._store
        if store.free_slots:
            return store.free_slots.pop(), 1
        if self._slots < self._most_slots:
            slot = self._slots
            self._slots = min(slot + wanted, self._most_slots)
            return slot, self._slots - slot
        self._order_uses()
        if not store.held:
            return 0, 0
        store.free(next(iter(store.held)))
        return store.free_slots.pop(), 1

    def _order_uses(self) -> None:
        """Brings the blocks that were read into the order of use."""
        uses, self._uses = self._uses, []
        self._last_used = range(0)
        self._store.note_use([block for use in uses for block in use])

    def _fit(self) -> None:
        """Brings a store that was filled under a larger limit within this one."""
        store, most = self._store, self._most_slots
        while len(store.held) > most:
            store.free(next(iter(store.held)))
        by_use = dict(store.held)
        free = iter(sorted(slot for slot in store.free_slots if slot < most))
        for block, slot in by_use.items():
            if slot >= most:
                self._move(block, next(free))
        for block in by_use:
            if block in store.held:
                store.held.move_to_end(block)
        store.cut_slots(most)
        self._slots = min(self._slots, most)

    def _move(self, block: int, slot: int) -> None:
        data = bytearray(self.image.block_length(block))
        if self._store.read_into(block, 0, data):
            self._store.free(block)
            self._store.free_slots.remove(slot)
            self._store.write(block, slot, data)
