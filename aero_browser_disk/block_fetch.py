"""Blocks on their way: reads that wait for them, and the requests that bring them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from .block_store import StoredImage

Arrived = Callable[[int, memoryview], None]
"""Takes a block's number and its bytes, which are valid for the length of the call."""


def plan_requests(missing: Iterable[int], most_blocks: int) -> list[range]:
    """The fewest runs of adjacent blocks, of at most `most_blocks` each; `missing` is ascending."""
    runs: list[range] = []
    for block in missing:
        if runs and runs[-1].stop == block and len(runs[-1]) < most_blocks:
            runs[-1] = range(runs[-1].start, block + 1)
        else:
            runs.append(range(block, block + 1))
    return runs


class PendingRead:
    """A read that waits for blocks and copies its part out of each as it arrives."""

    def __init__(self) -> None:
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
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
    """One request for a run of adjacent blocks, and who waits for each of them."""

    def __init__(self, image: StoredImage, blocks: range, arrived: Arrived) -> None:
        self.blocks = blocks
        self.task: asyncio.Task[None] | None = None
        self._image = image
        self._arrived = arrived
        self._readers: dict[int, list[PendingRead]] = {}
        self._next = blocks.start
        self._buffer = bytearray(image.block_size)

    @property
    def start(self) -> int:
        """The offset of the first byte, in the image."""
        return self.blocks.start * self._image.block_size

    @property
    def stop(self) -> int:
        """The offset after the last byte, in the image."""
        return min(self.blocks.stop * self._image.block_size, self._image.size)

    @property
    def left(self) -> range:
        """The blocks that have not arrived yet."""
        return range(self._next, self.blocks.stop)

    def join(self, block: int, read: PendingRead) -> None:
        """Hands `block` to `read` when it arrives."""
        self._readers.setdefault(block, []).append(read)

    def leave(self, block: int, read: PendingRead) -> bool:
        """Takes back `join`; says whether anybody still waits for a block of this request."""
        readers = self._readers.get(block, [])
        if read in readers:
            readers.remove(read)
        return any(self._readers.values())

    def receive(self, offset: int, piece: memoryview) -> None:
        """Takes the next bytes of the answer, in order; passes on each block they complete."""
        block_size = self._image.block_size
        while len(piece):
            block, start = divmod(offset, block_size)
            length = self._image.block_length(block)
            part = piece[: length - start]
            if len(part) == length:
                self._complete(block, part)
            else:
                stop = start + len(part)
                self._buffer[start:stop] = part
                if stop == length:
                    with memoryview(self._buffer)[:length] as whole:
                        self._complete(block, whole)
            offset += len(part)
            piece = piece[len(part) :]

    def fail(self, error: Exception) -> None:
        """Fails every read that still waits for a block of this request."""
        for readers in self._readers.values():
            for read in readers:
                read.fail(error)
        self._readers.clear()

    def _complete(self, block: int, data: memoryview) -> None:
        self._next = block + 1
        self._arrived(block, data)
        for read in self._readers.pop(block, ()):
            read.take(block, data)
