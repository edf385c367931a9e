"""The operations on shared memory: attach and detach clients of a disk."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from ..platform import memory_sharing
from ..platform.base import Sharing
from ..platform.failures import Value
from ..streaming.shared_disk import SharedDisk, SharedStats
from .operations import AnyDisk, OpenDisks, Operation, checked, plain, whole

DEFAULT_MEMORY_BYTES = 64 << 20


class SharedOperations:
    """The operations of JavaScript's `attachDisk` and `Disk` for shared memory.

    A client is identified by the name of a lock that it holds while it is alive.
    """

    def __init__(
        self,
        disks: OpenDisks[AnyDisk],
        sharing: Callable[[], Sharing | None] = memory_sharing,
    ) -> None:
        self._disks = disks
        self._sharing = sharing
        self._shared: dict[int, SharedDisk] = {}
        self._clients: dict[tuple[int, str], int] = {}
        self._watching: set[asyncio.Task[None]] = set()

    def operations(self) -> Mapping[str, Operation]:
        """The operations by name."""
        return {
            "shared.attach": self._attach,
            "shared.detach": self._detach,
            "shared.stats": self._stats,
        }

    async def _attach(
        self, disk: int, client: Value = None, memoryBytes: Value = DEFAULT_MEMORY_BYTES
    ) -> dict[str, Value]:
        """The facts of a disk, and memory to read it from; none for a client without a lock."""
        info = self._disks[disk].info
        facts = {"disk": disk, **plain(info), "area": None, "mailbox": None}
        limit = whole("memoryBytes", memoryBytes)
        sharing = self._sharing() if client is not None and limit > 0 else None
        if sharing is None:
            return facts
        name = str(checked("client", client, (str,), "the name of a lock"))
        shared = self._shared.get(disk) or self._share(disk, limit, sharing)
        if shared is None:
            return facts
        number, mailbox = shared.add_client()
        self._clients[disk, name] = number
        watching = asyncio.ensure_future(self._watch(disk, name, sharing))
        self._watching.add(watching)
        watching.add_done_callback(self._watching.discard)
        return {**facts, "area": shared.memory.area, "mailbox": mailbox}

    async def _detach(self, disk: int, client: Value = None) -> None:
        self._forget(whole("disk", disk), str(client))

    async def _stats(self, disk: int) -> dict[str, Value]:
        shared = self._shared.get(whole("disk", disk))
        stats = shared.stats() if shared else SharedStats(0, 0, 0, 0, 0, 0)
        return plain(stats)

    def _share(self, disk: int, limit: int, sharing: Sharing) -> SharedDisk | None:
        """The shared memory of a disk; None when there is not enough memory."""
        try:
            shared = SharedDisk(self._disks[disk], limit, sharing.make_memory)
        except MemoryError:
            return None
        self._shared[disk] = shared
        self._disks.when_removed(disk, lambda: self._close(disk))
        return shared

    async def _watch(self, disk: int, name: str, sharing: Sharing) -> None:
        """Removes a client once its lock is free: it closed the disk or died."""
        lock = await sharing.locks.acquire(name, None)
        if lock is not None:
            lock.release()
        self._forget(disk, name)

    def _forget(self, disk: int, name: str) -> None:
        client = self._clients.pop((disk, name), None)
        if client is not None and disk in self._shared:
            self._shared[disk].remove_client(client)

    def _close(self, disk: int) -> None:
        self._shared.pop(disk).close()
