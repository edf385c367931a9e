"""Blocks on their way: reads that wait for them, and the requests that bring them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from ..cache.block_store import StoredImage
from ..platform.event_loop import bare_future
from ..remote.retry import Retries

Arrived = Callable[[int, memoryview], None]
"""Takes the number of a block, and its bytes and those of blocks behind it, whole blocks only.

The bytes are valid for the length of the call.
"""


def plan_runs(missing: Iterable[int], max_blocks: int) -> list[range]:
    """The fewest runs of adjacent blocks, of at most `max_blocks` each; `missing` is ascending."""
    runs: list[range] = []
    for block in missing:
        if runs and runs[-1].stop == block and len(runs[-1]) < max_blocks:
            runs[-1] = range(runs[-1].start, block + 1)
        else:
            runs.append(range(block, block + 1))
    return runs


class PendingRead:
    """A read that waits for blocks and copies its part out of each as it arrives."""

    def __init__(self) -> None:
        self.done: asyncio.Future[None] = bare_future()
        self.parts: dict[int, tuple[int, memoryview]] = {}
        """What is missing: for each block, where the part starts in it, and where it goes."""

    def wait_for(self, block: int, start: int, target: memoryview) -> None:
        """Asks for the bytes of `block` from `start`, as many as `target` holds."""
        self.parts[block] = start, target

    def take(self, block: int, data: memoryview) -> None:
        """Copies this read's part out of a block that arrived, unless the read has ended."""
        if self.done.done():
            return
        start, target = self.parts.pop(block)
        target[:] = data[start : start + len(target)]
        if not self.parts:
            self.done.set_result(None)

    def fail(self, error: Exception) -> None:
        """Ends the read: its target is not touched any more."""
        if not self.done.done():
            self.done.set_exception(error)


class BlockFetch:
    """A request for a run of adjacent blocks, and who waits for each of them."""

    def __init__(
        self,
        image: StoredImage,
        blocks: range,
        arrived: Arrived,
        make_retries: Callable[[], Retries],
    ) -> None:
        self.left = blocks
        """The blocks that have not arrived yet."""
        self.retries = make_retries()
        self.is_retrying = False
        """Whether it failed and is to be tried again."""
        self.task: asyncio.Task[None] | None = None
        self._image = image
        self._arrived = arrived
        self._make_retries = make_retries
        self._readers: dict[int, list[PendingRead]] = {}
        self._partial = bytearray()  # the beginning of a block whose end is in the next chunk

    @property
    def span(self) -> tuple[int, int]:
        """The offsets of the first byte that is left, and after the last, in the image."""
        block_size = self._image.block_size
        return self.left.start * block_size, min(self.left.stop * block_size, self._image.size)

    @property
    def has_readers(self) -> bool:
        """Whether a read waits for any block of it."""
        return any(self._readers.values())

    def join(self, block: int, read: PendingRead) -> None:
        """Hands `block` to `read` when it arrives."""
        self._readers.setdefault(block, []).append(read)

    def leave(self, block: int, read: PendingRead) -> None:
        """Takes back `join`."""
        readers = self._readers.get(block, [])
        if read in readers:
            readers.remove(read)

    def split(self, max_blocks: int) -> list[BlockFetch]:
        """The same in requests of at most so many blocks each; this one is of no use after."""
        parts = []
        for start in range(self.left.start, self.left.stop, max_blocks):
            blocks = range(start, min(start + max_blocks, self.left.stop))
            part = BlockFetch(self._image, blocks, self._arrived, self._make_retries)
            part._readers = {b: self._readers[b] for b in blocks if b in self._readers}
            parts.append(part)
        return parts

    def begin(self) -> None:
        """A try begins: the response starts with the first block that is left."""
        self.retries.begin()
        self._partial.clear()

    def receive(self, offset: int, chunk: memoryview) -> None:
        """Takes the next bytes of the response, in order; hands over the blocks they complete."""
        ends_image = offset + len(chunk) >= self._image.size
        if self._partial:
            self._partial += chunk
            if len(self._partial) < self._image.block_length(self.left.start):
                return
            # In one go with what is behind it: to keep a block on its own costs more than a copy.
            chunk, self._partial = memoryview(self._partial), bytearray()
        block_size = self._image.block_size
        stop = len(chunk) if ends_image else len(chunk) // block_size * block_size
        if stop:
            self._complete(chunk[:stop])
        self._partial += chunk[stop:]

    def fail(self, error: Exception) -> None:
        """Fails every read that still waits for a block of this request."""
        for readers in self._readers.values():
            for read in readers:
                read.fail(error)
        self._readers.clear()

    def _complete(self, data: memoryview) -> None:
        first, block_size = self.left.start, self._image.block_size
        count = -(-len(data) // block_size)
        self._arrived(first, data)  # first: what it refuses has not arrived
        self.left = range(first + count, self.left.stop)
        self.retries.progress()
        if not self._readers:
            return
        for index in range(count):
            for read in self._readers.pop(first + index, ()):
                read.take(first + index, data[index * block_size : (index + 1) * block_size])
