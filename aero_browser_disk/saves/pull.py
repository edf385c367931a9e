"""Fills a new overlay with a save: each chunk once, a few at a time, verified as a whole."""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Final

from ..errors import DamagedSaveError
from ..platform.base import Storage
from ..platform.concurrent_tasks import end_all
from ..transfer.image_import import CopyProgress, Report
from ..writable.sector_journal import Contents
from ..writable.sector_store import SectorStore
from .content_index import LOST, SECTORS, ContentIndex, IndexedChunk, Item, runs_of
from .content_scan import UNPLACED, scan
from .save_map import SECTOR, ZEROS, Row, SaveMap
from .saved_content import SavedContent

_AHEAD: Final = 4  # chunks
_YIELD_EVERY: Final = 64  # items


class PulledOverlay:
    """Writes a save into the file of an overlay that nobody uses yet."""

    def __init__(self, content: SavedContent, report: Report | None = None) -> None:
        self.index = ContentIndex()
        """What is in the overlay afterwards, for the next push."""
        self._content = content
        self._report = report

    async def fill(self, storage: Storage, path: str) -> Contents:
        """Makes the store; durable when it returns.

        Raises `DamagedSaveError` when the content is not that of the manifest's digest, and what
        fetching and storing do. The file may be there in part then.
        """
        content = self._content
        base = content.manifest.base
        rows = await content.map()
        contents = Contents(base.size, secrets.token_hex(16), base.version)
        store = await SectorStore.create(storage, path, contents)
        try:
            await self._write(rows, store)
            store.commit()
            self.index = await self._indexed(rows, store)
        finally:
            store.close()
        if not content.has_digest(self.index.digest(base.version, base.size)):
            raise DamagedSaveError(content.name, "its content is not what its digest says")
        return contents

    async def _write(self, rows: SaveMap, store: SectorStore) -> None:
        size = store.contents.size
        chunks: list[tuple[int, list[Row]]] = []
        for chunk, of_chunk in groupby(rows.by_chunk(), key=lambda row: row[2]):
            if chunk != ZEROS:
                chunks.append((chunk, list(of_chunk)))
                continue
            for first, count, _, _ in of_chunk:
                offset = first * SECTOR
                store.discard(offset, min(count * SECTOR, size - offset), hide=True)
        done = 0
        total = sum(chunk.length for chunk in self._content.manifest.chunks)
        async for (chunk, found), content in self._contents(chunks):
            for first, count, _, offset in found:
                at = first * SECTOR
                part = self._content.part(content, offset, count)
                store.write(at, part[: size - at])
            done += self._content.manifest.chunks[chunk].length
            if self._report is not None:
                self._report(CopyProgress(done, total))

    async def _contents(
        self, chunks: Sequence[tuple[int, list[Row]]]
    ) -> AsyncIterator[tuple[tuple[int, list[Row]], bytes]]:
        """The chunks with their content, in order; the next are fetched meanwhile."""
        ahead: deque[asyncio.Task[bytes]] = deque()
        try:
            for number, one in enumerate(chunks):
                for following in chunks[number + len(ahead) : number + _AHEAD]:
                    ahead.append(asyncio.ensure_future(self._content.chunk(following[0])))
                yield one, await ahead.popleft()
        finally:
            await end_all(ahead)

    async def _indexed(self, rows: SaveMap, store: SectorStore) -> ContentIndex:
        """The index of what was written, with the chunks that the map names."""
        sectors = [0] * len(self._content.manifest.chunks)
        for _, count, chunk, offset in rows:
            if chunk != ZEROS:
                sectors[chunk] = max(sectors[chunk], offset + count)
        index = ContentIndex(
            IndexedChunk(bytes.fromhex(chunk.sha256), chunk.length, used)
            for chunk, used in zip(self._content.manifest.chunks, sectors, strict=True)
        )
        with store.snapshot() as snapshot:
            for number, (item, _) in enumerate(scan(snapshot, ContentIndex(), None)):
                index.add(_placed(item, rows) if item.chunk == UNPLACED else item)
                if number % _YIELD_EVERY == 0:
                    await asyncio.sleep(0)
        return index


def _placed(item: Item, rows: SaveMap) -> Item:
    """The item with its place in a chunk; one that is scattered there is stored anew next time."""
    chunk = LOST
    offset = end = 0
    first = item.granule * SECTORS
    for start, count in runs_of(item.mask):
        for row in rows.between(first + start, first + start + count):
            at = row[3] + max(0, first + start - row[0])
            if chunk == LOST:
                chunk, offset, end = row[2], at, at
            if row[2] == ZEROS or row[2] != chunk or at != end:
                return replace(item, chunk=LOST)
            end += min(row[0] + row[1], first + start + count) - max(row[0], first + start)
    return replace(item, chunk=chunk, offset=offset)
