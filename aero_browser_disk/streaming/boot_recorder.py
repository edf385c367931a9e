"""Records which blocks a guest reads first, and saves them as the boot profile of its image."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from .boot_profile import BootProfile

_MAX_SEEN = 1 << 16  # blocks whose first read is remembered
_MAX_BOOT = 256 << 20  # bytes

SaveProfile = Callable[[BootProfile], Awaitable[None]]


class BootRecorder:
    """The blocks of one session in the order of their first read, at most 256 MiB of them.

    `known_blocks` is how long the longest boot known so far is: a shorter session does not replace
    it.
    """

    def __init__(
        self,
        size: int,
        validator: str,
        block_size: int,
        *,
        known_blocks: int = 0,
        save: SaveProfile | None = None,
    ) -> None:
        self.seen: set[int] = set()
        """Blocks whose first read was recorded, as far as they are remembered."""
        self._size = size
        self._validator = validator
        self._block_size = block_size
        self._max_blocks = _MAX_BOOT // block_size
        self._blocks: dict[int, None] = {}
        self._saved = known_blocks
        self._save = save
        self._saving: asyncio.Task[None] | None = None

    def note(self, blocks: range) -> None:
        """Blocks were read."""
        if len(self.seen) > _MAX_SEEN:
            self.seen.clear()
        self.seen.update(blocks)
        if len(self._blocks) + len(blocks) <= self._max_blocks:
            self._blocks.update(dict.fromkeys(blocks))

    def unrecorded(self, blocks: range) -> list[int]:
        """The blocks that are not in the profile yet."""
        return [block for block in blocks if block not in self._blocks]

    def forget(self, blocks: list[int]) -> None:
        """Removes recorded blocks that could not be read."""
        for block in blocks:
            self._blocks.pop(block, None)

    def profile(self) -> BootProfile:
        """The profile recorded so far."""
        return BootProfile(self._size, self._validator, self._block_size, tuple(self._blocks))

    def save_if_grown(self) -> None:
        """Saves the profile each time it has doubled: a boot of any length is saved a few times."""
        if self._saving is None and len(self._blocks) > 2 * self._saved:
            self._saving = asyncio.ensure_future(self._save_now())

    async def close(self) -> None:
        """Saves what has not been saved yet."""
        if self._saving is not None:
            await self._saving
        if len(self._blocks) > self._saved:
            await self._save_now()

    async def _save_now(self) -> None:
        self._saved = len(self._blocks)
        try:
            if self._save is not None:
                await self._save(self.profile())
        finally:
            self._saving = None
