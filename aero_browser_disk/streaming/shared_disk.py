"""Serves a disk to other threads through shared memory: fills frames with blocks and responds to
requests.

Requests that need no waiting are responded to within the call that makes them. The protocol is
described in `web/lib/shared-protocol.mjs`.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Protocol, runtime_checkable

from ..disk import Disk, Locating, check_bounds
from ..errors import DiskClosedError, DiskError, InvalidOptionError, InvalidResponseError
from ..platform.base import File, MakeSharedMemory
from ..platform.event_loop import owned_task
from ..platform.failures import describe
from .shared_blocks import geometry_for

# Kinds of requests.
READ = 1
READ_TO_BUFFER = 2
WRITE = 3
TRY_WRITE = 4
STAGE = 5
FLUSH = 6
DISCARD = 7

# Results; PENDING is followed by another one later.
PENDING = 0
IN_FRAMES = 1
OK = 2
REFUSED = 3
FAILED = 4

BUFFER_BYTES = 256 * 1024
"""The maximum number of bytes in one request."""

FRAMED = 64 * 1024
"""Reads up to this length fill frames; longer ones are rarely read again."""

_MAX_AHEAD = 8 << 20  # bytes of a long read that are read from the disk at once
_MAX_FAILURE = 16 * 1024
_MAX_STAGE = 256 << 20


@runtime_checkable
class Changing(Protocol):
    """A disk that reports changes of its bytes."""

    def watch(self, changed: Callable[[int, int], None]) -> None:
        """Calls `changed(offset, length)` for each change, before the change is acknowledged."""


@dataclass(frozen=True, slots=True)
class SharedStats:
    """Counters of the clients' reads, and the size of the memory in bytes."""

    reads: int
    bytes_read: int
    clients: int
    frames: int
    frame_size: int
    frames_used: int


class SharedDisk:
    """The shared memory of one disk: its frames, and the requests of its clients."""

    def __init__(self, disk: Disk, memory_bytes: int, make_memory: MakeSharedMemory) -> None:
        """Raises `InvalidOptionError` when the disk does not report its changes."""
        info = disk.info
        if isinstance(disk, Changing):
            disk.watch(self._changed)
        elif not info.read_only:
            raise InvalidOptionError("disk", type(disk).__name__, "one that reports its changes")
        self.geometry = geometry_for(info.size, info.block_size, memory_bytes)
        shifts = self.geometry.frame_shift, self.geometry.set_shift
        self.memory = make_memory(*shifts, info.size, self)
        self._disk = disk
        self._size = info.size
        self._locate = disk.locate if isinstance(disk, Locating) else _nowhere
        self._shift = self.geometry.frame_shift
        self._file: File | None = None  # where blocks are read from
        self._changes = 0  # counts changes: data read before one and put after it may be stale
        self._clients: set[int] = set()
        self._numbers = itertools.count(1)
        self._closed = False
        self._gone_reads = self._gone_bytes = 0
        self._under_way: dict[tuple[int, int], asyncio.Task[None]] = {}
        self._ahead: dict[
            int, tuple[int, memoryview]
        ] = {}  # by client: the offset after its last read
        self._staged: dict[int, bytearray] = {}  # by client: the beginning of a long write

    # ── clients ──────────────────────────────────────────────────────────────────────────────────

    def add_client(self) -> tuple[int, object]:
        """The number of a new client, and its mailbox."""
        client = next(self._numbers)
        self._clients.add(client)
        return client, self.memory.add_client(client)

    def remove_client(self, client: int) -> None:
        """Removes a client that has left, and cancels its requests. Idempotent."""
        if client not in self._clients:
            return
        reads, byte_count = self.memory.counters(client)
        self._gone_reads += reads
        self._gone_bytes += byte_count
        self._clients.discard(client)
        self._ahead.pop(client, None)
        self._staged.pop(client, None)
        for (owner, _), task in list(self._under_way.items()):
            if owner == client:
                task.cancel()
        self.memory.remove_client(client)

    def stats(self) -> SharedStats:
        """The counters as they are now."""
        counters = [self.memory.counters(client) for client in self._clients]
        return SharedStats(
            reads=self._gone_reads + sum(reads for reads, _ in counters),
            bytes_read=self._gone_bytes + sum(byte_count for _, byte_count in counters),
            clients=len(self._clients),
            frames=self.geometry.frames,
            frame_size=self.geometry.frame_size,
            frames_used=self.memory.used(),
        )

    def close(self) -> None:
        """Empties the frames; all requests of clients fail with `DiskClosedError`."""
        if self._closed:
            return
        self._closed = True
        self.memory.close()
        for task in self._under_way.values():
            task.cancel()
        self._free_when_done()

    def _free_when_done(self) -> None:
        if self._closed and not self._under_way:
            self.memory.free()

    # ── requests ─────────────────────────────────────────────────────────────────────────────────

    def offset_of(self, block: int) -> int:
        """The offset of a block in the file that `share_file` named; -1 when it is not there.

        The only call for a cached block, so it does nothing else. Never raises.
        """
        if self._closed:
            return -1
        offset = block << self._shift
        try:
            found = self._locate(offset, min(1 << self._shift, self._size - offset))
        except DiskError:
            return -1  # `respond` raises it
        if found is None:
            return -1
        if found[0] is not self._file and not self._use(found[0]):
            return -1
        return found[1]

    def respond(
        self, client: int, entry: int, kind: int, offset: int, length: int, extra: int
    ) -> int:
        """Responds to a request: its result, or PENDING and the result later. Never raises."""
        if self._closed:
            return self._fail(client, entry, DiskClosedError())
        try:
            if kind == READ:
                return self._read(client, entry, offset, length, extra)
            if kind == READ_TO_BUFFER:
                return self._read_to_buffer(client, entry, offset, length, 0)
            return self._change(client, entry, kind, offset, length, extra)
        except Exception as error:  # noqa: BLE001 - the client must hear of anything
            return self._fail(client, entry, error)

    def give_up(self, client: int, entry: int) -> None:
        """Cancels a request that was left for later."""
        task = self._under_way.get((client, entry))
        if task is not None:
            task.cancel()

    def _fail(self, client: int, entry: int, error: BaseException) -> int:
        failure = describe(error)
        failure["message"] = str(failure["message"])[-_MAX_FAILURE:]
        self.memory.put_failure(client, entry, json.dumps(failure, default=str).encode())
        return FAILED

    def _later(
        self, client: int, entry: int, work: Callable[[], Coroutine[object, object, int]]
    ) -> int:
        key = client, entry
        result: int | None = None

        async def run() -> None:
            nonlocal result
            try:
                result = await work()
            except asyncio.CancelledError:
                return  # `ended` says why
            except Exception as error:  # noqa: BLE001 - the client must hear of anything
                result = self._fail(client, entry, error)

        def ended(_: asyncio.Task[None]) -> None:
            del self._under_way[key]
            given_up = DiskClosedError() if self._closed else asyncio.CancelledError()
            found = self._fail(client, entry, given_up) if result is None else result
            self.memory.finish(client, entry, found)
            self._free_when_done()

        self._under_way[key] = owned_task(run(), ended)
        return PENDING

    # ── reads ────────────────────────────────────────────────────────────────────────────────────

    def _use(self, file: File) -> bool:
        self._file = file if self.memory.use(file) else None
        return self._file is not None

    def _read(self, client: int, entry: int, offset: int, length: int, extra: int) -> int:
        if length + extra > FRAMED:
            return self._read_to_buffer(client, entry, offset, length, extra)
        check_bounds(offset, length, self._size)
        shift = self._shift
        for block in range(offset >> shift, (offset + length - 1 >> shift) + 1 if length else 0):
            if not self.memory.has(block) and not self._bring(block):
                return self._later(
                    client, entry, partial(self._fetch_blocks, client, entry, offset, length)
                )
        return IN_FRAMES

    def _bring(self, block: int) -> bool:
        """Puts a block into a frame if the disk can read it without waiting."""
        data = bytearray(self.geometry.block_length(block))
        at_hand = self._disk.try_read_into(block << self._shift, data)
        if at_hand:
            self.memory.put(block, data)
        return at_hand

    async def _fetch_blocks(self, client: int, entry: int, offset: int, length: int) -> int:
        """Reads blocks that need waiting, and puts them into frames."""
        shift, size = self._shift, self.geometry.frame_size
        first, last = offset >> shift, (offset + length - 1) >> shift
        start, stop = first << shift, min(last + 1 << shift, self._size)
        data = bytearray(stop - start)
        changes = self._changes
        await self._disk.read_into(start, data)
        with memoryview(data) as view:
            if changes != self._changes:
                # Some of it may have changed since it was read. It is valid for this read, which
                # began before that, but for no other.
                self.memory.put_buffer(client, entry, 0, view[offset - start :][:length])
                return OK
            for block in range(first, last + 1):
                if not self.memory.has(block):
                    self.memory.put(block, view[(block - first) * size :][:size])
        return IN_FRAMES

    def _read_to_buffer(self, client: int, entry: int, offset: int, length: int, extra: int) -> int:
        check_bounds(offset, length, self._size)
        ahead = self._ahead.pop(client, None) if entry == 0 else None
        if ahead is not None and ahead[0] == offset and len(ahead[1]) >= length:
            self._put_ahead(client, entry, offset, length, ahead[1])
            return OK
        located = self._locate(offset, length)
        if located is not None and self.memory.fill_buffer(client, entry, 0, *located, length):
            return OK
        data = bytearray(length)
        if self._disk.try_read_into(offset, data):
            self.memory.put_buffer(client, entry, 0, data)
            return OK
        return self._later(
            client, entry, partial(self._fetch, client, entry, offset, length, extra)
        )

    async def _fetch(self, client: int, entry: int, offset: int, length: int, extra: int) -> int:
        """Reads bytes that need waiting, with those that the same long read will request next."""
        stop = min(offset + length + min(extra, _MAX_AHEAD), self._size)
        data = bytearray(stop - offset)
        await self._disk.read_into(offset, data)
        self._put_ahead(client, entry, offset, length, memoryview(data))
        return OK

    def _put_ahead(
        self, client: int, entry: int, offset: int, length: int, data: memoryview
    ) -> None:
        self.memory.put_buffer(client, entry, 0, data[:length])
        if len(data) > length and client in self._clients:
            self._ahead[client] = offset + length, data[length:]

    # ── changes ──────────────────────────────────────────────────────────────────────────────────

    def _change(
        self, client: int, entry: int, kind: int, offset: int, length: int, extra: int
    ) -> int:
        disk = self._disk
        if kind == FLUSH:
            return self._later(client, entry, partial(_done, disk.flush))
        check_bounds(offset, length, self._size)
        if kind == DISCARD:
            return self._later(client, entry, partial(_done, disk.discard, offset, length))
        if kind == STAGE:
            self._stage(client, entry, length, extra)
            return OK
        data = self._staged.pop(client, bytearray()) if extra else bytearray()
        if len(data) != extra:
            raise InvalidResponseError("the client", "bytes staged", str(extra), str(len(data)))
        data += self.memory.take_buffer(client, entry, length)
        check_bounds(offset, len(data), self._size)
        if disk.try_write(offset, data):
            return OK
        if kind == TRY_WRITE:
            return REFUSED
        return self._later(client, entry, partial(_done, disk.write, offset, data))

    def _stage(self, client: int, entry: int, length: int, at: int) -> None:
        staged = self._staged.setdefault(client, bytearray())
        if at + length > _MAX_STAGE:
            raise InvalidOptionError("length", at + length, f"at most {_MAX_STAGE} at once")
        del staged[at:]
        staged += self.memory.take_buffer(client, entry, length)

    def _changed(self, offset: int, length: int) -> None:
        if self._closed:
            return
        self._changes += 1
        self.memory.forget(offset, length)
        if self._ahead:
            self._ahead.clear()


async def _done(change: Callable[..., Coroutine[object, object, None]], *values: object) -> int:
    await change(*values)
    return OK


def _nowhere(offset: int, length: int) -> None:
    """The `locate` of a disk without one."""
