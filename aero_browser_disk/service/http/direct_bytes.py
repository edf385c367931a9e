"""Sends the bytes of images: past ASGI in chunks as large as the socket accepts, or by ASGI.

Bytes on loan are read, checked and written without an `await` in between, so all responses share
one buffer between page cache and socket. Bytes that the socket does not accept are read again
later: almost nothing waits in memory for a slow client.

`sendfile` would save the copies. But it sends the file's own pages, which a write in place still
changes on the way, and it blocks when they are not in memory. For images that never change it gains
nothing either: a range of 64 KiB takes 62 µs with the copies, which stay in the processor's cache,
and 82 µs with `sendfile` (measured, bare server, loopback).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Final

from ..stores.image_store import CHUNK_LENGTH, LENT_LENGTH, OpenImage
from .direct_response import EncodedFields
from .exchange import Exchange

_LEAST_LENT: Final = 64 * 1024


async def lend_bytes(
    exchange: Exchange,
    opened: OpenImage,
    head: tuple[int, Sequence[bytes]],
    byte_range: tuple[int, int],
) -> None:
    """Sends status and header lines, unless already sent, and the bytes of the range, not empty.

    Raises `VersionChangedError` and `OSError` while nothing is sent, then `CutShortError`.
    """
    direct, lender = exchange.responder.direct, opened.lender
    assert direct is not None
    assert lender is not None
    start, stop = byte_range
    allowed, wanted = 0, LENT_LENGTH
    with exchange.record.cutting_short():
        while start < stop:
            length = min(stop - start, wanted)
            if exchange.responder.pace is not None:
                length = min(length, CHUNK_LENGTH)
                await exchange.responder.pace(length - allowed)
                allowed = length
            if not await direct.writable():
                return
            chunk = lender.lend(start, start + length)
            if chunk is None:
                length = min(length, CHUNK_LENGTH)
                chunk = memoryview(await opened.reader.read(start, start + length))
            taken = exchange.responder.send_directly(head, chunk, more=start + length < stop)
            start, allowed = start + taken, allowed - taken
            # Do not read bytes that a slow client would not accept.
            wanted = min(LENT_LENGTH, max(_LEAST_LENT, 2 * taken))
            if start < stop:
                await exchange.responder.take_turns()


async def pass_on_bytes(
    exchange: Exchange,
    opened: OpenImage,
    head: tuple[int, Sequence[bytes]],
    byte_range: tuple[int, int],
) -> None:
    """As `lend_bytes`, for an image that is not in memory: chunk by chunk."""
    direct = exchange.responder.direct
    assert direct is not None
    left = byte_range[1] - byte_range[0]
    async with aclosing(read_chunks(opened, *byte_range)) as chunks:
        while left:
            with exchange.record.cutting_short():
                chunk = memoryview(await anext(chunks))
            if exchange.responder.pace is not None:
                await exchange.responder.pace(len(chunk))
            while chunk:
                if not await direct.writable():
                    return
                taken = exchange.responder.send_directly(head, chunk, more=len(chunk) < left)
                chunk, left = chunk[taken:], left - taken
            await exchange.responder.take_turns()


async def send_chunks(
    exchange: Exchange,
    opened: OpenImage,
    status: int,
    fields: EncodedFields,
    byte_range: tuple[int, int],
) -> None:
    """Sends the response by messages of ASGI; without its body if that is empty, or to HEAD."""
    start, stop = byte_range
    if exchange.request.method == "HEAD" or start == stop:
        await exchange.responder.start_encoded(status, fields)
        await exchange.responder.send(b"", more=False)
        return
    async with aclosing(read_chunks(opened, start, stop)) as chunks:
        # Before the status: until then a failed read can still be reported.
        chunk = await anext(chunks)
        await exchange.responder.start_encoded(status, fields)
        left = stop - start - len(chunk)
        await exchange.responder.send(chunk, more=left > 0)
        if left:
            await exchange.responder.send_all(chunks, left)


async def read_chunks(opened: OpenImage, start: int, stop: int) -> AsyncGenerator[bytes]:
    """The bytes from `start` up to `stop`, by the reader of the image, as it raises."""
    if stop - start <= CHUNK_LENGTH:
        yield await opened.reader.read(start, stop)
        return
    async with aclosing(opened.reader.chunks(start, stop)) as chunks:
        async for chunk in chunks:
            yield chunk
