"""A link with a bandwidth and a delay, in front of any TCP server on this machine."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Coroutine
from contextlib import suppress
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

from benchmarks.server import Link

_CHUNK = 16 << 10
Way = Literal["up", "down"]
T = TypeVar("T")


class ShapedLink:
    """Forwards connections to servers on this machine, all over one link; counts what comes back.

    A new connection waits a round trip, as TCP's handshake does, and each direction takes half of
    one. What servers send shares the link's bandwidth; what they receive is small and does not,
    unless the link is shaped `both_ways`.
    """

    def __init__(self, link: Link, *, both_ways: bool = False) -> None:
        self._link = link
        self._both_ways = both_ways
        self._free_at: dict[Way, float] = {"up": 0.0, "down": 0.0}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="shaped link")
        self._tasks: set[asyncio.Task[None]] = set()
        self._servers: list[asyncio.Server] = []
        self._received: Counter[int] = Counter()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def received_bytes(self) -> int:
        """What servers have sent so far."""
        return self._received.total()

    def received_from(self, port: int) -> int:
        """What the server at `port` has sent so far."""
        return self._received[port]

    def to(self, port: int) -> int:
        """The port through which the server at `port` is reached over the link."""
        return self._run(self._listen(port))

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    async def _listen(self, port: int) -> int:
        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            with suppress(ConnectionError, asyncio.CancelledError):
                await self._forward(reader, writer, port)
            writer.transport.abort()

        server = await asyncio.start_server(connected, "127.0.0.1", 0)
        self._servers.append(server)
        return int(server.sockets[0].getsockname()[1])

    async def _forward(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int
    ) -> None:
        await asyncio.sleep(self._link.latency_s)
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            up = asyncio.create_task(self._pump(reader, far_writer, "up", port))
            down = self._pump(far_reader, writer, "down", port)
            try:
                await down
            finally:
                up.cancel()
        finally:
            far_writer.transport.abort()

    async def _pump(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, way: Way, port: int
    ) -> None:
        is_down = way == "down"
        rate = self._link.bandwidth_bytes_per_s if is_down or self._both_ways else None
        under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(256)

        async def deliver() -> None:
            while True:
                arrives_at, data = await under_way.get()
                await asyncio.sleep(arrives_at - time.monotonic())
                if not data:
                    return
                sink.write(data)
                await sink.drain()

        delivery = asyncio.create_task(deliver())
        try:
            while True:
                data = await source.read(_CHUNK)
                sent_at = time.monotonic()
                if is_down:
                    self._received[port] += len(data)
                if rate is not None:
                    sent_at = max(self._free_at[way], sent_at) + len(data) / rate
                    self._free_at[way] = sent_at
                await under_way.put((sent_at + self._link.latency_s / 2, data))
                if not data:
                    break
            await delivery
        finally:
            delivery.cancel()

    async def _close(self) -> None:
        for server in self._servers:
            server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
