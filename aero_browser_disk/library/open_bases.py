"""Disks that are open below others: those that read the same one here share it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field, replace
from weakref import WeakValueDictionary

from ..disk import Disk, DiskInfo, DiskStats, RefusingWrites, data_ranges, locate
from ..errors import DiskClosedError
from ..platform.base import File, Storage, WritableBuffer
from ..writable.overlay_base import identity_of

Opened = tuple[Disk, Callable[[], None]]
"""An open disk, and what releases the claim to it once it is closed."""


@dataclass(slots=True)
class _Shared:
    disk: Disk | None = None
    release: Callable[[], None] = lambda: None
    users: int = 0  # users, those who wait for it to open included
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


_OPEN: dict[tuple[Storage, str], _Shared] = {}
"""The disks that are open as bases in this tab, by storage and folder."""


_NAMING: WeakValueDictionary[tuple[Storage, str, str], asyncio.Lock] = WeakValueDictionary()


def naming_turn(storage: Storage, base: str, name: str) -> asyncio.Lock:
    """The lock of this tab for finding or creating the overlay of that name over a base."""
    return _NAMING.setdefault((storage, base, name), asyncio.Lock())


async def open_shared(
    storage: Storage, folder: str, open_it: Callable[[], Awaitable[Opened]]
) -> SharedBase:
    """The disk of a folder to be read, opened unless it is open; the last to close it closes it.

    Raises what `open_it` does.
    """
    key = storage, folder
    shared = _OPEN.setdefault(key, _Shared())
    shared.users += 1

    def is_last() -> bool:
        shared.users -= 1
        if not shared.users and _OPEN.get(key) is shared:
            del _OPEN[key]
        return not shared.users

    try:
        async with shared.turn:
            if shared.disk is None:  # another user tried to open it and failed: try again
                shared.disk, shared.release = await open_it()
            disk = shared.disk
    except BaseException:
        is_last()
        raise

    async def leave() -> None:
        if is_last():
            try:
                await disk.close()
            finally:
                shared.release()

    return SharedBase(disk, leave)


class SharedBase(RefusingWrites):
    """A read-only `Disk` over one that others read too; `close` leaves it to them."""

    def __init__(self, disk: Disk, leave: Callable[[], Awaitable[None]]) -> None:
        self._disk = disk
        self._leave: Callable[[], Awaitable[None]] | None = leave

    @property
    def info(self) -> DiskInfo:
        return replace(self._disk.info, read_only=True)

    @property
    def identity(self) -> str:
        """The identity of the disk, which is the same in all of its versions."""
        return identity_of(self._disk)

    @property
    def commit_mark(self) -> str | None:
        """The mark of the commit that wrote to the disk last, if nothing else did since."""
        mark: str | None = getattr(self._disk, "commit_mark", None)
        return mark

    @property
    def disk(self) -> Disk:
        """The disk that is shared."""
        return self._disk

    def data_ranges(self) -> Iterator[tuple[int, int]]:
        """Offset and length of what may be anything but zeros, in order."""
        return data_ranges(self._disk)

    def locate(self, offset: int, length: int) -> tuple[File, int] | None:
        """Where a run of bytes is in a file, if the disk knows: see `Locating`."""
        self._check()
        return locate(self._disk, offset, length)

    def try_read_into(self, offset: int, target: WritableBuffer) -> bool:
        self._check()
        return self._disk.try_read_into(offset, target)

    async def read_into(self, offset: int, target: WritableBuffer) -> None:
        self._check()
        await self._disk.read_into(offset, target)

    async def read(self, offset: int, length: int) -> bytes:
        self._check()
        return await self._disk.read(offset, length)

    async def flush(self) -> None:
        self._check()

    def stats(self) -> DiskStats:
        """Counters of all users together."""
        return self._disk.stats()

    async def close(self) -> None:
        leave, self._leave = self._leave, None
        if leave is not None:
            await leave()

    def _check(self) -> None:
        if self._leave is None:
            raise DiskClosedError
