"""A digest of an overlay and its base, by which a saved state recognises its disk."""

from __future__ import annotations

import asyncio
import hashlib
import struct
from collections.abc import Iterator
from itertools import groupby

from .sector_reader import SECTOR
from .sector_store import SectorStore

_WINDOW = 1 << 20
_TOKEN = struct.Struct("<cQQ")  # kind, first sector, sectors; the data follows
_ZEROS = bytes(SECTOR)


async def overlay_digest(store: SectorStore) -> str:
    """SHA-256, in hex, of the base's version and of every sector written, zeros by their number."""
    while True:
        changes = store.changes
        digest = hashlib.sha256(f"{store.contents.base}\n{store.contents.size}\n".encode())
        for token in _tokens(store):
            digest.update(token)
            await asyncio.sleep(0)
            if store.changes != changes:
                break  # written to meanwhile: begin again
        else:
            return digest.hexdigest()


def _tokens(store: SectorStore) -> Iterator[bytes]:
    """The input of the hash: whole runs of zeros, and other data cut at each MiB."""
    zeros_at = zeros_end = 0
    for first, count, data in _sector_runs(store):
        if data is None and first == zeros_end:
            zeros_end += count
            continue
        if zeros_end > zeros_at:
            yield _TOKEN.pack(b"Z", zeros_at, zeros_end - zeros_at)
        zeros_at = zeros_end = first
        if data is None:
            zeros_end += count
        else:
            yield _TOKEN.pack(b"D", first, count) + data
            zeros_at = zeros_end = first + count
    if zeros_end > zeros_at:
        yield _TOKEN.pack(b"Z", zeros_at, zeros_end - zeros_at)


def _sector_runs(store: SectorStore) -> Iterator[tuple[int, int, bytes | None]]:
    """First sector, sectors, and their data, None for zeros, in order."""
    size = -(-store.contents.size // SECTOR) * SECTOR
    for offset, length, is_zeros in store.ranges(0, size):
        if is_zeros:
            yield offset // SECTOR, length // SECTOR, None
            continue
        at, end = offset, offset + length
        while at < end:
            stop = min(end, at - at % _WINDOW + _WINDOW)
            data = bytearray(stop - at)
            store.read_into(at, data)
            yield from _split(at // SECTOR, bytes(data))
            at = stop


def _split(first: int, data: bytes) -> Iterator[tuple[int, int, bytes | None]]:
    starts = range(0, len(data), SECTOR)
    for is_zeros, group in groupby(starts, key=lambda at: data[at : at + SECTOR] == _ZEROS):
        run = list(group)
        part = None if is_zeros else data[run[0] : run[-1] + SECTOR]
        yield first + run[0] // SECTOR, len(run), part
