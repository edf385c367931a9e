"""Reads that wait for blocks, and the requests that fetch them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass

from ..cache.block_store import StoredImage
from ..formats.block_runs import runs_of
from ..platform.event_loop import bare_future
from ..remote.retry import Retries

Arrived = Callable[[int, memoryview], None]
"""Takes the number of the first block, and the bytes of it and the following blocks, whole blocks
only.

The bytes are valid for the length of the call.
"""


@dataclass(frozen=True, slots=True)
class PackedBlocks:
    """Blocks that are loaded together, in any order; `load` returns their bytes, concatenated."""

    blocks: tuple[int, ...]
    load: Callable[[], Awaitable[bytes]]


def plan_runs(missing: Iterable[int], max_blocks: int, unit: int = 1) -> list[range]:
    """The fewest runs of adjacent blocks, of at most `max_blocks` each; `missing` is ascending.

    With a `unit` of several blocks no run goes beyond the end of one.
    """
    runs: list[range] = []
    for block in missing:
        goes_on = runs and runs[-1].stop == block and (unit == 1 or block % unit)
        if goes_on and len(runs[-1]) < max_blocks:
            runs[-1] = range(runs[-1].start, block + 1)
        else:
            runs.append(range(block, block + 1))
    return runs


class PendingRead:
    """A read that waits for blocks and copies its part out of each as it arrives."""

    def __init__(self) -> None:
        self.done: asyncio.Future[None] = bare_future()
        self.parts: dict[int, tuple[int, memoryview]] = {}
        """The missing parts: for each block, the offset in it, and the target of its bytes."""

    def wait_for(self, block: int, start: int, target: memoryview) -> None:
        """Waits for the bytes of `block` from `start` to fill `target`."""
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
    """A request for blocks, and who waits for each of them.

    The blocks are a run of adjacent ones, or some of the blocks that are `packed` together.
    """

    def __init__(
        self,
        image: StoredImage,
        blocks: Sequence[int],
        arrived: Arrived,
        make_retries: Callable[[], Retries],
        packed: PackedBlocks | None = None,
    ) -> None:
        self.left = blocks
        """The blocks that have not arrived yet."""
        self.packed = packed
        """How the blocks are loaded, unless they are a run."""
        self.retries = make_retries()
        self.is_retrying = False
        """Whether the request failed and will be retried."""
        self.task: asyncio.Task[None] | None = None
        self._image = image
        self._arrived = arrived
        self._make_retries = make_retries
        self._readers: dict[int, list[PendingRead]] = {}
        self._partial = bytearray()  # the beginning of a block whose end is in the next chunk

    @property
    def byte_range(self) -> tuple[int, int]:
        """The range of the image that is still missing: its first offset, and the one after it."""
        block_size = self._image.block_size
        return self.left[0] * block_size, min((self.left[-1] + 1) * block_size, self._image.size)

    @property
    def has_readers(self) -> bool:
        """Whether a read waits for any of its blocks."""
        return any(self._readers.values())

    def join(self, block: int, read: PendingRead) -> None:
        """Hands `block` to `read` when it arrives."""
        self._readers.setdefault(block, []).append(read)

    def leave(self, block: int, read: PendingRead) -> None:
        """Undoes `join`."""
        readers = self._readers.get(block, [])
        if read in readers:
            readers.remove(read)

    def split(self, max_blocks: int) -> list[BlockFetch]:
        """Splits this request into requests of at most `max_blocks` blocks; do not use this one
        afterwards."""
        return [
            self.part(self.left[start : start + max_blocks])
            for start in range(0, len(self.left), max_blocks)
        ]

    def part(self, blocks: Sequence[int]) -> BlockFetch:
        """A request for a run of its blocks, with who waits for them."""
        part = BlockFetch(self._image, blocks, self._arrived, self._make_retries)
        part._readers = {b: self._readers[b] for b in blocks if b in self._readers}
        return part

    @property
    def wanted(self) -> list[int]:
        """The blocks that reads wait for, ascending."""
        return sorted(block for block, readers in self._readers.items() if readers)

    def begin(self) -> None:
        """Begins an attempt: the response starts with the first missing block."""
        self.retries.begin()
        self._partial.clear()

    def receive(self, offset: int, chunk: memoryview) -> None:
        """Takes the next bytes of the response, in order; hands over the blocks they complete."""
        ends_image = offset + len(chunk) >= self._image.size
        if self._partial:
            self._partial += chunk
            if len(self._partial) < self._image.block_length(self.left[0]):
                return
            # With the blocks after it in one call: caching a block on its own costs more than a
            # copy.
            chunk, self._partial = memoryview(self._partial), bytearray()
        block_size = self._image.block_size
        stop = len(chunk) if ends_image else len(chunk) // block_size * block_size
        if stop:
            self._complete(self.left[0], chunk[:stop])
        self._partial += chunk[stop:]

    async def unpack(self, packed: PackedBlocks) -> None:
        """Loads the packed blocks; raises what loading them does."""
        data, at = memoryview(await packed.load()), 0
        for run in runs_of(packed.blocks):
            length = sum(map(self._image.block_length, run))
            part, at = data[at : at + length], at + length
            for first, stop in self._missing_of(run):
                block_size, begin = self._image.block_size, first - run.start
                self._complete(first, part[begin * block_size : (stop - run.start) * block_size])

    def _missing_of(self, run: range) -> list[tuple[int, int]]:
        """First and stop of the missing part of a run of blocks."""
        left = set(self.left)
        return [(r.start, r.stop) for r in plan_runs([b for b in run if b in left], len(run))]

    def fail(self, error: Exception) -> None:
        """Fails every read that still waits for a block of this request."""
        for readers in self._readers.values():
            for read in readers:
                read.fail(error)
        self._readers.clear()

    def _complete(self, first: int, data: memoryview) -> None:
        block_size = self._image.block_size
        count = -(-len(data) // block_size)
        self._arrived(first, data)  # first: a block that this refuses has not arrived
        if self.packed is None:
            self.left = self.left[count:]
        else:
            self.left = [b for b in self.left if not first <= b < first + count]
        self.retries.progress()
        if not self._readers:
            return
        for index in range(count):
            for read in self._readers.pop(first + index, ()):
                read.take(first + index, data[index * block_size : (index + 1) * block_size])
