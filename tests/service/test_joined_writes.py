"""Headers and body leave together, in order, and nothing stays behind."""

from __future__ import annotations

import asyncio
import random
import socket
from typing import Any

import pytest

from aero_browser_disk.service.servers.joined_writes import JoinedTransport


class Transport:
    """Notes what it is told, each call apart."""

    def __init__(self) -> None:
        self.calls: list[object] = []

    def write(self, data: bytes) -> None:
        self.calls.append(data)

    def writelines(self, pieces: Any) -> None:
        self.calls.append(tuple(pieces))

    def close(self) -> None:
        self.calls.append("closed")

    def is_closing(self) -> bool:
        return "closed" in self.calls

    def get_extra_info(self, name: str) -> None:
        return None

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int) -> None:
        assert high == 0


def joined() -> tuple[Transport, Any]:
    transport = Transport()
    return transport, JoinedTransport(transport)  # type: ignore[arg-type]


async def test_headers_leave_with_the_body() -> None:
    transport, writes = joined()
    writes.write(b"head")
    assert transport.calls == []
    writes.write(b"body" * 20_000)
    await asyncio.sleep(0)
    assert transport.calls == [(b"head", b"body" * 20_000)]


async def test_alone_they_leave_in_the_next_turn() -> None:
    transport, writes = joined()
    writes.write(b"head")
    await asyncio.sleep(0)
    assert transport.calls == [b"head"]


async def test_what_is_long_leaves_at_once() -> None:
    transport, writes = joined()
    writes.write(bytes(100_000))
    assert transport.calls == [bytes(100_000)]


async def test_nothing_stays_behind_at_the_end() -> None:
    transport, writes = joined()
    writes.write(b"head")
    writes.close()
    assert transport.calls == [b"head", "closed"]
    assert writes.is_closing() is True


async def test_the_order_stays() -> None:
    transport, writes = joined()
    sent = [bytes([number]) * (100 if number % 3 else 10_000) for number in range(50)]
    for number, piece in enumerate(sent):
        writes.write(piece)
        if number % 7 == 0:
            await asyncio.sleep(0)
    writes.flush()
    left = [call if isinstance(call, bytes) else b"".join(call) for call in transport.calls]
    assert b"".join(left) == b"".join(sent)


@pytest.mark.parametrize("before", [b"", b"held back"])
async def test_what_is_on_loan_leaves_whole_though_its_buffer_is_used_again(before: bytes) -> None:
    """The socket takes a part of it; the rest waits for a client that reads nothing yet."""
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=ours)
    writes = JoinedTransport(transport)
    if before:
        writes.write(before)
    expected, buffer = bytearray(before), bytearray(300_000)
    for number in range(8):
        buffer[:] = random.Random(number).randbytes(len(buffer))
        head = b"head %d" % number
        head = b"head %d" % number
        taken = writes.write_now(head, memoryview(buffer))
        while taken < len(buffer):
            taken += writes.write_now(b"", memoryview(buffer)[taken:])
        expected += head + buffer
    # Full by now, the transport takes a little at a time.
    assert transport.get_write_buffer_size() > 0
    taken = writes.write_now(b"", memoryview(buffer))
    assert taken == 24 * 1024
    expected += buffer[:taken]
    buffer[:] = bytes(len(buffer))
    received = bytearray()
    while len(received) < len(expected):
        received += await asyncio.get_running_loop().sock_recv(theirs, 1 << 20)
    assert received == expected
    # Nothing reaches a descriptor that is closed, and may be somebody else's by now.
    writes.close()
    writes.write_now(b"late", b"r")
    assert await asyncio.get_running_loop().sock_recv(theirs, 100) == b""
    theirs.close()
