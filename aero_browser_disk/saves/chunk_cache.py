"""Chunks of a save that were read: the last ones in memory, all of them in a folder."""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from typing import Final

from ..errors import DamagedSaveError, StorageError
from ..platform.base import Storage
from ..platform.single_flight import SingleFlight
from .saved_content import SavedContent

_IN_MEMORY: Final = 64  # chunks: 16 MiB
_AT_ONCE: Final = 6  # requests


class ChunkCache:
    """The contents of chunks, fetched once. What is stored is verified whenever it is read.

    Storage failures never fail a read.
    """

    def __init__(self, content: SavedContent, storage: Storage, folder: str) -> None:
        self._content = content
        self._storage = storage
        self._folder = folder
        self._recent: OrderedDict[int, bytes] = OrderedDict()
        self._flights: SingleFlight[bytes] = SingleFlight()
        self._turns = asyncio.Semaphore(_AT_ONCE)

    def in_memory(self, chunk: int) -> bytes | None:
        """The content of a chunk if that takes no waiting."""
        content = self._recent.get(chunk)
        if content is not None:
            self._recent.move_to_end(chunk)
        return content

    async def content(self, chunk: int) -> bytes:
        """The content of a chunk; raises what `SavedContent.fetch` and `unpack` do."""
        content = self.in_memory(chunk)
        if content is None:
            content = await self._flights.run(chunk, lambda: self._load(chunk))
        return content

    async def _load(self, chunk: int) -> bytes:
        stored = await self._read(chunk)
        if stored is None:
            async with self._turns:
                stored = await self._content.fetch(chunk)
            await self._keep(chunk, stored)
        content = await self._content.unpack(chunk, stored)
        self._recent[chunk] = content
        if len(self._recent) > _IN_MEMORY:
            self._recent.popitem(last=False)
        return content

    async def _read(self, chunk: int) -> bytes | None:
        """The stored bytes of a chunk; None when they are not here, or not whole."""
        with contextlib.suppress(FileNotFoundError, StorageError, DamagedSaveError):
            file = await self._storage.open(self._path(chunk), create=False)
            try:
                data = bytearray(self._content.manifest.chunks[chunk].length)
                file.read_into(data, 0)
            finally:
                file.close()
            return self._content.verified(chunk, bytes(data))
        return None

    async def _keep(self, chunk: int, stored: bytes) -> None:
        with contextlib.suppress(StorageError):
            file = await self._storage.open(self._path(chunk))
            try:
                file.write(stored, 0)
            finally:
                file.close()

    def _path(self, chunk: int) -> str:
        return f"{self._folder}/{self._content.manifest.chunks[chunk].sha256}"
