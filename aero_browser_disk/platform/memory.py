"""Files, locks and channels in memory: where there is no lasting storage, and in tests."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection
from typing import Literal

from ..errors import StorageBusyError, StorageFullError
from .base import FileFacts, Message, ReadableBuffer, StorageEstimate, WritableBuffer


class MemoryFile:
    """A `File` that ends with the session."""

    def __init__(self, storage: MemoryStorage, path: str) -> None:
        self._storage = storage
        self._path = path
        self._data = storage.files[path]
        self._closed = False

    def size(self) -> int:
        return len(self._data)

    def read_into(self, target: WritableBuffer, offset: int) -> int:
        with memoryview(self._data)[offset : offset + len(target)] as found:
            target[: len(found)] = found
            return len(found)

    def write(self, data: ReadableBuffer, offset: int) -> None:
        end = offset + len(data)
        self._storage.modified[self._path] = time.time()
        self._grow(end)
        self._data[offset:end] = data

    def truncate(self, size: int) -> None:
        self._grow(size)
        del self._data[size:]

    def allocate(self, offset: int, length: int) -> None:
        self._grow(offset + length)

    def flush(self) -> None:
        """Nothing to do: memory has no durable form."""

    def close(self) -> None:
        if not self._closed:
            self._storage.held.discard(self._path)
            self._closed = True

    def _grow(self, size: int) -> None:
        missing = size - len(self._data)
        if missing > 0:
            if self._storage.used() + missing > self._storage.quota:
                raise StorageFullError(self._path)
            self._data.extend(bytes(missing))


class MemoryStorage:
    """A `Storage` in memory, with a quota in bytes."""

    def __init__(self, quota: int = 1 << 40) -> None:
        self.files: dict[str, bytearray] = {}
        self.held: set[str] = set()
        self.modified: dict[str, float] = {}
        self.quota = quota

    @property
    def kind(self) -> Literal["memory"]:
        return "memory"

    def used(self) -> int:
        """Bytes in all files."""
        return sum(map(len, self.files.values()))

    async def open(self, path: str, *, create: bool = True) -> MemoryFile:
        if path in self.held:
            raise StorageBusyError(path)
        if path not in self.files:
            if not create:
                raise FileNotFoundError(path)
            self.files[path] = bytearray()
        self.held.add(path)
        return MemoryFile(self, path)

    async def list(self, path: str) -> list[str]:
        prefix = f"{path}/" if path else ""
        below = (name.removeprefix(prefix) for name in self.files if name.startswith(prefix))
        return sorted({name.split("/", 1)[0] for name in below})

    async def facts(self, path: str) -> FileFacts | None:
        data = self.files.get(path)
        return None if data is None else FileFacts(len(data), self.modified.get(path, 0.0))

    async def remove(self, path: str) -> None:
        gone = [name for name in self.files if name == path or name.startswith(f"{path}/")]
        for name in gone:
            if name in self.held:
                raise StorageBusyError(name)
        for name in gone:
            del self.files[name]

    async def estimate(self) -> StorageEstimate:
        return StorageEstimate(usage=self.used(), quota=self.quota)


class MemoryLock:
    """A `Lock` within one process."""

    def __init__(self, lock: asyncio.Lock) -> None:
        self._lock: asyncio.Lock | None = lock

    def release(self) -> None:
        if self._lock is not None:
            self._lock.release()
            self._lock = None


class MemoryLocks:
    """`Locks` among the tasks of one event loop."""

    def __init__(self) -> None:
        self._locks: dict[str, asyncio.Lock] = {}

    async def acquire(self, name: str, timeout_s: float | None) -> MemoryLock | None:
        lock = self._locks.setdefault(name, asyncio.Lock())
        try:
            async with asyncio.timeout(timeout_s):
                await lock.acquire()
        except TimeoutError:
            return None
        return MemoryLock(lock)

    async def held(self, names: Collection[str]) -> set[str]:
        return {name for name in names if name in self._locks and self._locks[name].locked()}


class MemoryChannel:
    """A `Channel` within one event loop."""

    def __init__(self, others: list[MemoryChannel], hear: Callable[[Message], None]) -> None:
        self._others = others
        self._hear = hear
        others.append(self)

    def send(self, message: Message) -> None:
        loop = asyncio.get_running_loop()
        for other in self._others:
            if other is not self:
                loop.call_soon(other.hear, message)

    def hear(self, message: Message) -> None:
        """Receives a message, unless this end was closed since."""
        if self in self._others:
            self._hear(message)

    def close(self) -> None:
        if self in self._others:
            self._others.remove(self)


class MemoryChannels:
    """`Channels` within one event loop."""

    def __init__(self) -> None:
        self._ends: dict[str, list[MemoryChannel]] = {}

    def open(self, name: str, hear: Callable[[Message], None]) -> MemoryChannel:
        return MemoryChannel(self._ends.setdefault(name, []), hear)
