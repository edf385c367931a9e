"""Which blocks of an image are kept: the budget, and who goes when it is spent."""

from __future__ import annotations

from .block_store import BlockStore, StoredImage
from .errors import StorageError, StorageFullError
from .platform.base import ReadableBuffer, WritableBuffer


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
        if store.image != image:
            store.begin(image)
        self._slots = store.slots()
        self._fit()
        used = set(store.held.values())
        self._free = [slot for slot in range(self._slots) if slot not in used]

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
        """Fills `target` from byte `start` of a block; False when the block is not held."""
        store = self._store
        if block not in store.held:
            return False
        try:
            slot = store.held[block]
            if store.read_into(block, start, target):
                store.touch(block)
                return True
            self._free.append(slot)
        except StorageError as error:
            self._fail(error)
        return False

    def put(self, block: int, data: ReadableBuffer) -> None:
        """Keeps a block, if it can."""
        if block in self._store.held or self.failure is not None:
            return
        try:
            self._put(block, data)
        except StorageFullError:
            self.is_full = True
        except StorageError as error:
            self._fail(error)

    def commit(self, fresh_until: float) -> None:
        """Makes what was put survive this session; notes until when the host vouches for it."""
        if self.failure is not None:
            return
        try:
            if int(fresh_until) != self._store.fresh_until:
                self._store.vouch(fresh_until)
            self._store.commit()
        except StorageFullError:
            self.is_full = True
        except StorageError as error:
            self._fail(error)

    def clear(self) -> None:
        """Forgets every block and gives their room back."""
        self._store.begin(self.image)
        self._slots, self._free = 0, []
        self.is_full = False

    def close(self) -> None:
        """Saves the order of recency and closes the files."""
        try:
            if self.failure is None:
                self._store.flush()
        except StorageError as error:
            self._fail(error)
        finally:
            self._store.close()

    def _put(self, block: int, data: ReadableBuffer) -> None:
        # First, so that a journal that cannot grow costs no other block its place.
        self._store.commit()
        slot = self._take_slot()
        if slot is None:
            return
        try:
            self._store.write(block, slot, data)
        except StorageFullError:
            # The file cannot grow any more; from now on blocks take the room of others.
            if slot == self._slots - 1:
                self._slots = slot
            else:
                self._free.append(slot)
            self._most_slots = self._slots
            raise

    def _take_slot(self) -> int | None:
        """A slot that no block holds, at the cost of the least recently used one at need."""
        if self._free:
            return self._free.pop()
        if self._slots < self._most_slots:
            self._slots += 1
            return self._slots - 1
        held = self._store.held
        return self._store.free(next(iter(held))) if held else None

    def _fit(self) -> None:
        """Brings a store that was filled under a larger limit within this one."""
        store, most = self._store, self._most_slots
        while len(store.held) > most:
            store.free(next(iter(store.held)))
        by_recency = dict(store.held)
        used = set(by_recency.values())
        free = iter([slot for slot in range(most) if slot not in used])
        for block, slot in by_recency.items():
            if slot >= most:
                self._move(block, next(free))
        for block in by_recency:
            if block in store.held:
                store.touch(block)
        store.cut_slots(most)
        self._slots = min(self._slots, most)

    def _move(self, block: int, slot: int) -> None:
        data = bytearray(self.image.block_length(block))
        if self._store.read_into(block, 0, data):
            self._store.free(block)
            self._store.write(block, slot, data)

    def _fail(self, error: StorageError) -> None:
        self.failure = error
