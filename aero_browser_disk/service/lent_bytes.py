"""Bodies of bytes on loan: each piece is read, checked and written without an `await` in between.

So they go from the page cache to the socket by way of one buffer that everybody shares. What the
socket does not take is read again when it does: hardly anything waits in memory for a slow client.

Not by `sendfile`, which saves these copies: it sends the very pages of the file, which a write in
place would still change on their way, and it waits for the device when they are not in memory. Not
even for images that never change: the copies are made in the processor's cache, and a range of
64 KiB takes 62 µs by way of them and 82 µs without (measured, a bare server on a loopback).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from .exchange import Exchange, cutting_short
from .image_store import LENT_LENGTH, PIECE_LENGTH, OpenImage

_LEAST_LENT: Final = 64 * 1024


async def lend_bytes(
    exchange: Exchange,
    opened: OpenImage,
    head: tuple[int, Sequence[bytes]],
    span: tuple[int, int],
) -> None:
    """Answers with status and header lines, unless it has, and the bytes of the span, not empty.

    Raises `VersionChangedError` and `OSError` while nothing is sent, then `CutShortError`.
    """
    direct, lender = exchange.direct, opened.lender
    assert direct is not None
    assert lender is not None
    start, stop = span
    allowed, wanted = 0, LENT_LENGTH
    with cutting_short(exchange):
        while start < stop:
            length = min(stop - start, wanted)
            if exchange.pace is not None:
                length = min(length, PIECE_LENGTH)
                await exchange.pace(length - allowed)
                allowed = length
            if not await direct.writable():
                return
            piece = lender.lend(start, start + length)
            if piece is None:
                length = min(length, PIECE_LENGTH)
                piece = memoryview(await opened.reader.read(start, start + length))
            taken = exchange.send_directly(head, piece, more=start + length < stop)
            start, allowed = start + taken, allowed - taken
            # What a slow client does not take would be read in vain.
            wanted = min(LENT_LENGTH, max(_LEAST_LENT, 2 * taken))
            if start < stop:
                await exchange.take_turns()
