"""Several tabs with one image: one holds its files, the others read through that one.

The tab that holds the lock of an image's folder serves its blocks on a channel of the same name.
Other tabs ask there before they ask the server, so that no block is downloaded twice. A failure
between tabs is not an error: the server is asked instead. When the holder closes, another tab gets
the lock and takes the files over.

On the channel, as plain objects: `{ask, from, version, start, stop}` by a reader; `{to, ask, data}`
for each chunk in order, then `{to, ask, done: 1}`, or `{to, ask, failed: 1}`, by the holder;
`{leave, from}` when a reader cancels a request.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import secrets

from ..disk import Disk
from ..errors import DiskError
from ..platform.base import Channels, Message
from ..platform.byte_range import ByteRange
from ..platform.event_loop import owned_task
from .block_fetch import Arrived
from .fetch_queue import RangeSource

_CHUNK = 256 * 1024
_SILENCE_S = 10.0  # a holder that is silent for this long is not asked again


class BlockServer:
    """Reads `disk` for other tabs."""

    def __init__(self, channels: Channels, name: str, disk: Disk) -> None:
        self._disk = disk
        self._responses: dict[tuple[str, int], asyncio.Task[None]] = {}
        self._closed = False
        self._channel = channels.open(name, self._hear)

    def close(self) -> None:
        """Stops serving, and notifies waiting readers."""
        self._closed = True
        for (reader, ask), response in list(self._responses.items()):
            self._channel.send({"to": reader, "ask": ask, "failed": 1})
            response.cancel()
        self._channel.close()

    def _hear(self, message: Message) -> None:
        if "ask" in message and "from" in message:
            self._start(str(message["from"]), int(message["ask"]), message)
        elif "leave" in message:
            response = self._responses.get((str(message["from"]), int(message["leave"])))
            if response is not None:
                response.cancel()

    def _start(self, reader: str, ask: int, message: Message) -> None:
        """Sends a reader the blocks it asks for, and always an end, whatever happens."""
        key, done = (reader, ask), False

        async def send() -> None:
            nonlocal done
            # The reader then asks the server, and gets the error from it.
            with contextlib.suppress(DiskError, asyncio.CancelledError):
                done = await self._send_blocks(reader, ask, message)

        def ended(_: asyncio.Task[None]) -> None:
            self._responses.pop(key, None)
            if not self._closed:  # otherwise it already got the end
                self._channel.send({"to": reader, "ask": ask, "done" if done else "failed": 1})

        self._responses[key] = owned_task(send(), ended)

    async def _send_blocks(self, reader: str, ask: int, message: Message) -> bool:
        """Whether all of the blocks were sent."""
        start, stop = int(message["start"]), int(message["stop"])
        if message["version"] != self._disk.info.version:
            return False
        for offset in range(start, stop, _CHUNK):
            data = await self._disk.read(offset, min(_CHUNK, stop - offset))
            self._channel.send({"to": reader, "ask": ask, "data": data})
        return True


class SharedSource:
    """A `RangeSource` that asks the tab which holds the image's files, else `server`."""

    def __init__(self, channels: Channels, name: str, version: str, server: RangeSource) -> None:
        self._server = server
        self._version = version
        self._me = secrets.token_hex(8)
        self._numbers = itertools.count(1)
        self._responses: dict[int, asyncio.Queue[Message]] = {}
        self._channel = channels.open(name, self._hear)
        self._has_holder = True

    async def fetch(self, byte_range: ByteRange, deliver: Arrived) -> None:
        """Hands the bytes of `byte_range` to `deliver`, in order; raises what the server does."""
        offset = byte_range.start
        if self._has_holder:
            offset = await self._ask_holder(byte_range, deliver)
        if offset < byte_range.stop:
            await self._server.fetch(ByteRange(offset, byte_range.stop), deliver)

    def holder_is_gone(self) -> None:
        """No tab holds the files any more: waiting requests go to the server."""
        self._has_holder = False
        for responses in self._responses.values():
            responses.put_nowait({"failed": 1})

    def close(self) -> None:
        """Stops listening."""
        self.holder_is_gone()
        self._channel.close()

    async def _ask_holder(self, byte_range: ByteRange, deliver: Arrived) -> int:
        """Delivers the bytes that the holder sends; returns the offset where they end."""
        ask = next(self._numbers)
        responses: asyncio.Queue[Message] = asyncio.Queue()
        self._responses[ask] = responses
        offset = byte_range.start
        self._channel.send(
            {
                "ask": ask,
                "from": self._me,
                "version": self._version,
                "start": byte_range.start,
                "stop": byte_range.stop,
            }
        )
        try:
            while offset < byte_range.stop:
                async with asyncio.timeout(_SILENCE_S):
                    message = await responses.get()
                data = message.get("data")
                if not isinstance(data, bytes) or offset + len(data) > byte_range.stop:
                    break
                deliver(offset, memoryview(data))
                offset += len(data)
        except TimeoutError:
            self._has_holder = False
        finally:
            del self._responses[ask]
            if offset < byte_range.stop:
                self._channel.send({"leave": ask, "from": self._me})
        return offset

    def _hear(self, message: Message) -> None:
        if message.get("to") == self._me and "ask" in message:
            responses = self._responses.get(int(message["ask"]))
            if responses is not None:
                responses.put_nowait(message)
