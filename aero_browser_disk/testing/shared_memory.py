"""Shared memory within one process, and a client of it: `web/lib/shared-*.mjs` in Python."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

from ..platform.base import File, ReadableBuffer, Requests
from ..streaming.shared_blocks import WAYS
from ..streaming.shared_disk import (
    BUFFER_BYTES,
    FAILED,
    FRAMED,
    IN_FRAMES,
    READ,
    READ_TO_BUFFER,
    STAGE,
    WRITE,
)

Failure = dict[str, object]


class RequestFailedError(Exception):
    """What a client receives: the message is the failure's name."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure["name"])
        self.failure = failure


class ProcessMemory:
    """A `SharedMemory`. The frame of a set that was filled least recently is replaced."""

    def __init__(self, frame_shift: int, set_shift: int, size: int, requests: Requests) -> None:
        self.size = size
        self.frame_size = 1 << frame_shift
        self.requests = requests
        self.closed = self.freed = False
        self.area = self
        self._sets: list[dict[int, bytearray]] = [{} for _ in range(1 << set_shift)]
        self._mailboxes: dict[int, ProcessClient] = {}
        self._file: File | None = None

    def use(self, file: File) -> bool:
        self._file = file
        return True

    def has(self, block: int) -> bool:
        return block in self._set(block)

    def put(self, block: int, data: ReadableBuffer) -> None:
        found = self._set(block)
        found.pop(block, None)
        if len(found) == WAYS:
            del found[next(iter(found))]
        found[block] = bytearray(data)

    def forget(self, offset: int, length: int) -> None:
        touched = range(offset // self.frame_size, -(-(offset + length) // self.frame_size))
        for found in self._sets:
            for block in [block for block in found if block in touched]:
                del found[block]

    def used(self) -> int:
        return sum(map(len, self._sets))

    def add_client(self, client: int) -> object:
        self._mailboxes[client] = ProcessClient(self, client)
        return self._mailboxes[client]

    def remove_client(self, client: int) -> None:
        self._mailboxes.pop(client, None)

    def counters(self, client: int) -> tuple[int, int]:
        mailbox = self._mailboxes[client]
        return mailbox.reads, mailbox.bytes_read

    def fill_buffer(
        self, client: int, entry: int, start: int, file: File, offset: int, length: int
    ) -> bool:
        data = bytearray(length)
        if file.read_into(data, offset) != length:
            return False
        self.put_buffer(client, entry, start, data)
        return True

    def put_buffer(self, client: int, entry: int, start: int, data: ReadableBuffer) -> None:
        if client in self._mailboxes:
            self._mailboxes[client].buffers[entry][start : start + len(data)] = data

    def take_buffer(self, client: int, entry: int, length: int) -> bytes:
        return bytes(self._mailboxes[client].buffers[entry][:length])

    def put_failure(self, client: int, entry: int, failure: bytes) -> None:
        if client in self._mailboxes:
            self._mailboxes[client].failures[entry] = json.loads(failure)

    def finish(self, client: int, entry: int, result: int) -> None:
        if client in self._mailboxes:
            self._mailboxes[client].waiting.pop(entry).set_result(result)

    def close(self) -> None:
        self.closed = True
        self.forget(0, self.size)

    def free(self) -> None:
        assert self.closed
        assert not any(client.waiting for client in self._mailboxes.values()), "one has no response"
        self.freed = True

    def read(self, offset: int, target: memoryview) -> int:
        """Fills `target` up to the first block that is in no frame; returns the bytes filled."""
        at = 0
        while at < len(target):
            block, start = divmod(offset + at, self.frame_size)
            found = self._set(block).get(block)
            if found is None:
                break
            chunk = found[start : start + len(target) - at]
            target[at : at + len(chunk)] = chunk
            at += len(chunk)
        return at

    def bring(self, offset: int, length: int) -> bool:
        """Brings a range into the frames, as far as its blocks are in the file."""
        for block in range(offset // self.frame_size, -(-(offset + length) // self.frame_size)):
            if self.has(block):
                continue
            at = self.requests.offset_of(block)
            data = bytearray(min(self.frame_size, self.size - block * self.frame_size))
            if at < 0 or self._file is None or self._file.read_into(data, at) != len(data):
                return False
            self.put(block, data)
        return True

    def _set(self, block: int) -> dict[int, bytearray]:
        return self._sets[block % len(self._sets)]


class ProcessClient:
    """A client of a `ProcessMemory`, and its mailbox."""

    def __init__(self, memory: ProcessMemory, client: int) -> None:
        self.buffers = [bytearray(BUFFER_BYTES) for _ in range(8)]
        self.failures: dict[int, Failure] = {}
        self.waiting: dict[int, asyncio.Future[int]] = {}
        self.reads = self.bytes_read = 0
        self.before_copying: Callable[[], None] = lambda: None
        """Called when blocks were brought into frames and not copied from there yet."""
        self._memory = memory
        self._client = client

    def try_read(self, offset: int, length: int) -> bytes | None:
        """The bytes, if all of them are in frames."""
        target = bytearray(length)
        if self._memory.read(offset, memoryview(target)) != length:
            return None
        self.reads += 1
        self.bytes_read += length
        return bytes(target)

    async def read(self, offset: int, length: int, entry: int = 0) -> bytes:
        """The bytes; raises `RequestFailedError`."""
        found = self.try_read(offset, length)
        if found is not None:
            return found
        target = bytearray(length)
        view = memoryview(target)
        at, kind = self._memory.read(offset, view), READ
        while at < length:
            count = min(length - at, BUFFER_BYTES)
            result = await self.ask(entry, kind, offset + at, count, length - at - count)
            if result == IN_FRAMES:
                self.before_copying()
                got = self._memory.read(offset + at, view[at : at + count])
                kind = READ if got else READ_TO_BUFFER
                at += got
            else:
                view[at : at + count] = self.buffers[entry][:count]
                at += count
                kind = READ
        return bytes(target)

    async def write(self, offset: int, data: bytes, entry: int = 0) -> None:
        """Writes; raises `RequestFailedError`."""
        staged = 0
        while len(data) - staged > BUFFER_BYTES:
            self.buffers[entry][:] = data[staged : staged + BUFFER_BYTES]
            await self.ask(entry, STAGE, offset, BUFFER_BYTES, staged)
            staged += BUFFER_BYTES
        rest = data[staged:]
        self.buffers[entry][: len(rest)] = rest
        await self.ask(entry, WRITE, offset, len(rest), staged)

    async def ask(self, entry: int, kind: int, offset: int, length: int, extra: int = 0) -> int:
        """The result of a request; raises `RequestFailedError`."""
        memory = self._memory
        short = kind == READ and 0 < length + extra <= FRAMED and offset + length <= memory.size
        if short and offset >= 0 and memory.bring(offset, length):
            return IN_FRAMES
        result = memory.requests.respond(self._client, entry, kind, offset, length, extra)
        if not result:
            self.waiting[entry] = asyncio.get_running_loop().create_future()
            result = await self.waiting[entry]
        if result == FAILED:
            raise RequestFailedError(self.failures.pop(entry))
        return result
