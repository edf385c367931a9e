"""The tables of an image, read page by page as needed. The pages used last are cached."""

from __future__ import annotations

import asyncio
from collections import OrderedDict

from ..errors import DamagedImageError
from ..platform.byte_source import ByteSource
from .image_format import ImageFormat
from .layout import read_exactly

_PAGE = 64 << 10
_PAGES_CACHED = 64


class PageCache:
    """Reads small parts of a file that are needed often, and caches 4 MiB of them."""

    def __init__(self, source: ByteSource, image_format: ImageFormat) -> None:
        self.source = source
        self._format = image_format
        self._pages: OrderedDict[int, bytes] = OrderedDict()
        self._coming: dict[int, asyncio.Task[bytes]] = {}

    async def read(self, offset: int, length: int, what: str) -> bytes:
        """The `length` bytes at `offset` of the file.

        Raises `DamagedImageError`, which names `what` they are, when the file ends before, and what
        the source raises.
        """
        if offset + length > self.source.size:
            reason = f"{what} is at byte {offset:,}, but the file has {self.source.size:,} bytes"
            raise DamagedImageError(self._format.title, reason)
        first, last = offset // _PAGE, (offset + max(1, length) - 1) // _PAGE
        if first == last:
            start = offset - first * _PAGE
            return (await self._page(first))[start : start + length]
        pages = [await self._page(number) for number in range(first, last + 1)]
        start = offset - first * _PAGE
        return b"".join(pages)[start : start + length]

    async def _page(self, number: int) -> bytes:
        page = self._pages.get(number)
        if page is not None:
            self._pages.move_to_end(number)
            return page
        coming = self._coming.get(number)
        if coming is None:
            coming = self._coming[number] = asyncio.ensure_future(self._fetch(number))
            coming.add_done_callback(_take_error)
        # A reader that is cancelled must not cancel the page for others that wait for it.
        return await asyncio.shield(coming)

    async def _fetch(self, number: int) -> bytes:
        try:
            length = min(_PAGE, self.source.size - number * _PAGE)
            page = await read_exactly(self.source, number * _PAGE, length, self._format)
            self._pages[number] = page
            if len(self._pages) > _PAGES_CACHED:
                self._pages.popitem(last=False)
            return page
        finally:
            del self._coming[number]


def _take_error(task: asyncio.Task[bytes]) -> None:
    """Marks an error as retrieved: perhaps no reader waits for it any more."""
    if not task.cancelled():
        task.exception()
