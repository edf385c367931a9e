"""Bytes on loan leave whole and in order, whatever the socket takes at a time."""

from __future__ import annotations

import asyncio
import random
import socket

from aero_browser_disk.service.servers.socket_writer import MAX_BUFFERED, SocketWriter


async def test_what_is_on_loan_leaves_whole_though_its_buffer_is_used_again() -> None:
    """The socket takes a part of it; the rest waits for a client that reads nothing yet."""
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=ours)
    writer = SocketWriter(transport)
    # What others wrote before stays before it.
    transport.write(b"first")
    expected, buffer = bytearray(b"first"), bytearray(300_000)
    for number in range(8):
        buffer[:] = random.Random(number).randbytes(len(buffer))
        head = b"head %d" % number
        taken = writer.write(head, memoryview(buffer))
        while taken < len(buffer):
            taken += writer.write(b"", memoryview(buffer)[taken:])
        expected += head + buffer
    # Full by now, the transport takes a little at a time.
    assert transport.get_write_buffer_size() > 0
    taken = writer.write(b"", memoryview(buffer))
    assert taken == MAX_BUFFERED
    expected += buffer[:taken]
    buffer[:] = bytes(len(buffer))
    received = bytearray()
    while len(received) < len(expected):
        received += await asyncio.get_running_loop().sock_recv(theirs, 1 << 20)
    assert received == expected
    # Nothing reaches a descriptor that is closed, and may be somebody else's by now.
    transport.close()
    writer.write(b"late", b"r")
    assert await asyncio.get_running_loop().sock_recv(theirs, 100) == b""
    theirs.close()
