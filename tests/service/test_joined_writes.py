"""Headers and body leave together, in order, and nothing stays behind."""

from __future__ import annotations

import asyncio
from typing import Any

from aero_browser_disk.service.joined_writes import JoinedTransport


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
