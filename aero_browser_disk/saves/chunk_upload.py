"""Puts content into chunks, and sends these a few at a time."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import replace
from typing import Final

from ..errors import NoSuchSaveError
from ..platform.concurrent_tasks import end_all
from .content_index import GONE, ContentIndex, IndexedChunk, Item
from .encryption import SaveCipher
from .packing import pack
from .save_map import CHUNK_SECTORS, SECTOR
from .save_requests import SaveRequests

_AT_ONCE: Final = 4


class ChunkUpload:
    """Adds the content of items to chunks of an index, and sends the chunks to a save."""

    def __init__(
        self,
        requests: SaveRequests,
        save: str,
        index: ContentIndex,
        cipher: SaveCipher | None = None,
    ) -> None:
        self.content_bytes = 0
        """Bytes of the content that was added."""
        self.stored_bytes = 0
        """Bytes of the chunks that were sent."""
        self.chunks = 0
        self._requests = requests
        self._save = save
        self._index = index
        self._cipher = cipher
        self._known = {chunk.sha256 for chunk in index.chunks if chunk.length}
        self._arrived = set(self._known)
        self._buffer = bytearray()
        self._tasks: set[asyncio.Task[None]] = set()

    async def add(self, item: Item, content: bytes) -> None:
        """Adds an item with its content. Raises what sending a chunk does, and `cancel` then."""
        if len(self._buffer) + len(content) > CHUNK_SECTORS * SECTOR:
            await self._send_buffer()
        if not self._buffer:
            self._index.chunks.append(GONE)
        chunk, offset = len(self._index.chunks) - 1, len(self._buffer) // SECTOR
        self._index.add(replace(item, chunk=chunk, offset=offset))
        self._buffer += content
        self.content_bytes += len(content)

    async def finish(self) -> None:
        """Returns once all that was added is on the server; more can be added after that."""
        await self._send_buffer()
        while self._tasks:
            await self._wait()

    async def cancel(self) -> None:
        """Ends the requests under way; the index loses what did not arrive."""
        await end_all(self._tasks)
        self._tasks.clear()
        chunks = enumerate(self._index.chunks)
        self._index.lose({n for n, chunk in chunks if chunk.sha256 not in self._arrived})

    async def _send_buffer(self) -> None:
        if not self._buffer:
            return
        content = bytes(self._buffer)
        self._buffer.clear()
        stored = pack(content)
        if self._cipher is not None:
            stored = await self._cipher.encrypt_chunk(stored)
        digest = hashlib.sha256(stored).digest()
        sectors = len(content) // SECTOR
        self._index.chunks[-1] = IndexedChunk(digest, len(stored), sectors)
        if digest in self._known:  # the same content again
            return
        self._known.add(digest)
        while len(self._tasks) >= _AT_ONCE:
            await self._wait()
        self._tasks.add(asyncio.ensure_future(self._put(digest.hex(), stored)))

    async def _put(self, sha256: str, stored: bytes) -> None:
        if (await self._requests.put_chunk(self._save, sha256, stored)).status == 404:
            raise NoSuchSaveError(self._save)
        self.stored_bytes += len(stored)
        self.chunks += 1
        self._arrived.add(bytes.fromhex(sha256))

    async def _wait(self) -> None:
        done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            # One by one: if several failed, `cancel` takes the errors of the others.
            self._tasks.remove(task)
            task.result()
