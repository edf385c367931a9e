"""Takes the blocks of responses: verifies them against the digests, then caches them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from ..cache.block_cache import BlockCache
from ..errors import IntegrityError
from .digest_list import DigestList


class BlockSink(Protocol):
    """Takes blocks in three steps: `reserve` when a request begins, `put`, `commit` at its end."""

    def __contains__(self, block: int) -> bool:
        """Whether a block is cached."""

    def reserve(self, blocks: Sequence[int]) -> None:
        """A request for these blocks begins."""

    def put(self, first: int, data: memoryview) -> None:
        """Takes whole blocks, the first of which is `first`. `data` is valid during the call.

        Raises `IntegrityError` when the bytes are wrong; then none of them is taken.
        """

    def commit(self, missing: Sequence[int]) -> None:
        """A request has ended without the blocks of `missing`."""


class VerifiedCache:
    """A `BlockSink` over a cache. Only verified blocks are cached.

    `fresh_until` says until when the server promises that the version is current, in seconds since
    the epoch, 0 without a promise. `committed` is called after each commit.
    """

    def __init__(
        self,
        cache: BlockCache,
        digests: DigestList | None,
        fresh_until: Callable[[], float],
        committed: Callable[[], None],
    ) -> None:
        self.cache = cache
        """May be replaced by another cache of the same image."""
        self.blocks_taken = 0
        """Blocks that requests delivered so far."""
        self._digests = digests
        self._fresh_until = fresh_until
        self._committed = committed

    def __contains__(self, block: int) -> bool:
        return block in self.cache

    def reserve(self, blocks: Sequence[int]) -> None:
        self.cache.reserve(blocks)

    def put(self, first: int, data: memoryview) -> None:
        block_size = self.cache.image.block_size
        if self._digests is not None:
            _verify(self._digests, first * block_size, data)
        self.blocks_taken += -(-len(data) // block_size)
        self.cache.put(first, data)

    def commit(self, missing: Sequence[int]) -> None:
        self.cache.release(missing)
        self.cache.commit(self._fresh_until())
        self._committed()


def _verify(digests: DigestList, offset: int, data: memoryview) -> None:
    """Raises `IntegrityError` for the first chunk whose digest differs."""
    step = digests.chunk_size
    for start in range(0, len(data), step):
        chunk = data[start : start + step]
        if not digests.verify((offset + start) // step, chunk):
            raise IntegrityError(offset + start, len(chunk))
