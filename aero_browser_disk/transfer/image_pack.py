"""Makes a prepared image of a disk (CPython): see the guide's page on prepared images.

The work is done by threads: Zstandard, SHA-256 and files let the others run meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from ..disk import Disk, data_ranges
from ..errors import InvalidOptionError, StorageError
from ..formats.image_format import PREPARED
from ..formats.prepared.boot_bundle import BootBundle, BundlePart
from ..formats.prepared.chunk_codec import DEFAULT_LEVEL, pack_chunk
from ..formats.prepared.chunk_table import DEFAULT_PAGE_ENTRIES, NO_CHUNK, Entry, TableWriter
from ..formats.prepared.manifest import (
    DEFAULT_CHUNK,
    LARGEST_CHUNK,
    SECTOR_SIZES,
    SMALLEST_CHUNK,
    ContentVersion,
    Manifest,
)
from ..formats.zstandard import zstd_module
from ..platform.concurrent_tasks import end_all
from ..platform.whole_file import whole_file
from .pack_folder import INDEX_NAME, PackFolder, PackIndex

MANIFEST_NAME: Final = "manifest.json"
BOOT_BLOCK: Final = 16 << 10
"""Bytes of a block of a boot bundle: the usual block of the cache."""

_READ = 4 << 20
_FIRST_PART, _LARGEST_PART = 256 << 10, 1 << 20  # of a bundle, unpacked: the first is here soon
_SAVED_EVERY = 256  # chunks


@dataclass(frozen=True, slots=True, kw_only=True)
class PackOptions:
    """How a disk is packed. Sizes are in bytes.

    `level` is Zstandard's, 1 to 22; None stores chunks as they are. `boot_blocks` are the blocks of
    `BOOT_BLOCK` bytes that a boot reads, in its order. `sign` makes the Ed25519 signature of a
    message. `workers` is the number of threads; None is one for each core.
    """

    chunk_size: int = DEFAULT_CHUNK
    level: int | None = DEFAULT_LEVEL
    sector_size: int = 512
    boot_blocks: Sequence[int] = ()
    sign: Callable[[bytes], bytes] | None = None
    workers: int | None = None
    manifest_name: str = MANIFEST_NAME

    def check(self) -> None:
        """Raises `InvalidOptionError` for a value that cannot work."""
        size = self.chunk_size
        if size & (size - 1) or not SMALLEST_CHUNK <= size <= LARGEST_CHUNK:
            raise InvalidOptionError("chunk_size", size, "a power of two from 4 KiB to 8 MiB")
        if self.level is not None and not 1 <= self.level <= 22:
            raise InvalidOptionError("level", self.level, "from 1 to 22")
        if self.sector_size not in SECTOR_SIZES:
            raise InvalidOptionError("sector_size", self.sector_size, "512, 2048 or 4096")
        if self.workers is not None and self.workers < 1:
            raise InvalidOptionError("workers", self.workers, "at least 1")
        if "/" in self.manifest_name or not self.manifest_name.endswith(".json"):
            raise InvalidOptionError("manifest_name", self.manifest_name, "a name ending in .json")


@dataclass(frozen=True, slots=True)
class Packed:
    """What a run made: the manifest, and what it had to write."""

    manifest: Manifest
    files_written: int
    bytes_written: int


async def pack_image(
    disk: Disk,
    folder: Path,
    options: PackOptions,
    reached: Callable[[int], None] = lambda _: None,
) -> Packed:
    """Writes the disk to `folder` as a prepared image; the manifest appears last, as a whole.

    `reached` is called with the bytes of the disk that are done. The same disk, options and version
    of Zstandard give the same bytes. What the folder has already is not written again, and what was
    packed at the same level is not packed again. Raises `InvalidOptionError`,
    `UnsupportedImageError` where this Python has no Zstandard, `StorageError`, and what reading the
    disk raises.
    """
    options.check()
    if options.level is not None:
        zstd_module(PREPARED)
    try:
        await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
        with PackIndex(folder / INDEX_NAME, options.level) as index:
            return await _Packing(disk, PackFolder(folder), index, options, reached).run()
    except OSError as error:
        raise StorageError(os.fspath(folder), error.strerror or str(error)) from error


@dataclass(slots=True)
class _Packing:
    disk: Disk
    folder: PackFolder
    index: PackIndex
    options: PackOptions
    reached: Callable[[int], None]
    distinct: set[bytes] = field(default_factory=set)
    stored_bytes: int = 0

    async def run(self) -> Packed:
        options, size = self.options, self.disk.info.size
        chunks = -(-size // options.chunk_size)
        table = TableWriter(chunks, DEFAULT_PAGE_ENTRIES, self.folder.write)
        version = ContentVersion(size, options.chunk_size)
        done = 0
        workers = options.workers or _cores()
        with ThreadPoolExecutor(workers, "pack") as pool:
            results = self._entries(pool, workers * 2)
            async with contextlib.aclosing(results):
                async for content, entry, count in results:
                    version.add(content, count)
                    for _ in range(count):
                        table.add(entry)
                    self._count(entry)
                    done += count
                    self.reached(min(done * options.chunk_size, size))
                    if not done % _SAVED_EVERY:
                        self.index.save()
            boot = await self._write_bundle(pool)
        manifest = Manifest(
            size,
            options.sector_size,
            options.chunk_size,
            "none" if options.level is None else "zstd",
            version.digest(),
            table.finish(),
            DEFAULT_PAGE_ENTRIES,
            len(self.distinct),
            self.stored_bytes,
            None if boot is None else self.folder.write(boot.encode()),
        )
        if options.sign is not None:
            manifest = replace(manifest, signature=options.sign(manifest.signed_bytes))
        self._write_manifest(manifest.encode())
        return Packed(manifest, self.folder.files_written, self.folder.bytes_written)

    def _count(self, entry: Entry) -> None:
        if entry.file is not None and entry.file.digest not in self.distinct:
            self.distinct.add(entry.file.digest)
            self.stored_bytes += entry.file.length

    def _write_manifest(self, encoded: bytes) -> None:
        path = self.folder.folder / self.options.manifest_name
        if not path.exists() or path.read_bytes() != encoded:
            with whole_file(path) as file:
                file.write(encoded)

    # ── chunks ───────────────────────────────────────────────────────────────────────────────────

    async def _entries(
        self, pool: ThreadPoolExecutor, ahead: int
    ) -> AsyncGenerator[tuple[bytes, Entry, int], None]:
        """SHA-256 of the content, entry and number of equal chunks, in order of the disk."""
        under_way: deque[Any] = deque()
        size, chunk_size = self.disk.info.size, self.options.chunk_size
        zeros = {size: hashlib.sha256(bytes(size)).digest() for size in self._lengths()}
        loop = asyncio.get_running_loop()
        try:
            async for first, count, data in self._runs():
                if data is None:
                    last = min(chunk_size, size - (first + count - 1) * chunk_size)
                    whole = count if last == chunk_size else count - 1
                    if whole:
                        under_way.append((zeros[chunk_size], NO_CHUNK, whole))
                    if whole < count:
                        under_way.append((zeros[last], NO_CHUNK, 1))
                else:
                    for at in range(0, len(data), chunk_size):
                        chunk = data[at : at + chunk_size]
                        under_way.append(loop.run_in_executor(pool, self._store, chunk))
                while len(under_way) > ahead:
                    yield await _result(under_way.popleft())
            while under_way:
                yield await _result(under_way.popleft())
        finally:
            await end_all(work for work in under_way if isinstance(work, asyncio.Future))

    def _lengths(self) -> set[int]:
        """How long chunks are."""
        size, chunk_size = self.disk.info.size, self.options.chunk_size
        return {chunk_size, size % chunk_size or chunk_size}

    async def _runs(self) -> AsyncIterator[tuple[int, int, bytes | None]]:
        """First chunk, number and bytes of runs of chunks, in order; no bytes where all are zeros.

        The next run is read while one is worked on.
        """
        reading: deque[tuple[int, int, asyncio.Task[bytes]]] = deque()
        size, chunk_size = self.disk.info.size, self.options.chunk_size
        try:
            for first, count, is_data in self._planned():
                if is_data:
                    offset = first * chunk_size
                    length = min(count * chunk_size, size - offset)
                    task = asyncio.ensure_future(self.disk.read(offset, length))
                    reading.append((first, count, task))
                if len(reading) > is_data:  # one read stays under way while data goes on
                    yield await _read(*reading.popleft())
                if not is_data:
                    yield first, count, None
            if reading:
                yield await _read(*reading.popleft())
        finally:
            await end_all(task for _, _, task in reading)

    def _planned(self) -> Iterator[tuple[int, int, bool]]:
        """Runs of chunks, of at most `_READ` bytes where there may be data."""
        chunk_size = self.options.chunk_size
        chunks = -(-self.disk.info.size // chunk_size)
        step = max(1, _READ // chunk_size)
        at = 0
        for start, length in data_ranges(self.disk):
            first, stop = max(at, start // chunk_size), -(-(start + length) // chunk_size)
            if first > at:
                yield at, first - at, False
            for begin in range(first, stop, step):
                yield begin, min(step, stop - begin), True
            at = max(at, stop)
        if at < chunks:
            yield at, chunks - at, False

    def _store(self, data: bytes) -> tuple[bytes, Entry, int]:
        """Packs and writes a chunk, unless it was before; runs in a thread."""
        content = hashlib.sha256(data).digest()
        if data == bytes(len(data)):
            return content, NO_CHUNK, 1
        known = self.index.find(content)
        if known is not None and known.file is not None and self.folder.has(known.file):
            return content, known, 1
        kind, stored = pack_chunk(data, self.options.level)
        entry = Entry(kind, self.folder.write(stored))
        self.index.note(content, entry)
        return content, entry, 1

    # ── the boot ─────────────────────────────────────────────────────────────────────────────────

    async def _write_bundle(self, pool: ThreadPoolExecutor) -> BootBundle | None:
        """The boot bundle, its parts written; None without a boot."""
        size = self.disk.info.size
        blocks = list(dict.fromkeys(self.options.boot_blocks))
        if not blocks:
            return None
        if max(blocks) * BOOT_BLOCK >= size or min(blocks) < 0:
            raise InvalidOptionError("boot_blocks", max(blocks), "blocks of the disk")
        loop = asyncio.get_running_loop()
        parts: list[tuple[tuple[int, ...], asyncio.Future[Entry]]] = []
        at, length = 0, _FIRST_PART
        made = []
        try:
            while at < len(blocks):
                group = tuple(blocks[at : at + length // BOOT_BLOCK])
                data = [
                    await self.disk.read(at_byte, min(BOOT_BLOCK, size - at_byte))
                    for at_byte in (block * BOOT_BLOCK for block in group)
                ]
                work = partial(self._store_part, b"".join(data))
                parts.append((group, loop.run_in_executor(pool, work)))
                at += len(group)
                length = min(length * 2, _LARGEST_PART)
            for group, future in parts:
                entry = await future
                assert entry.file is not None
                made.append(BundlePart(entry.kind, entry.file, group))
        finally:
            await end_all(future for _, future in parts)
        return BootBundle(size, BOOT_BLOCK, tuple(made))

    def _store_part(self, data: bytes) -> Entry:
        kind, stored = pack_chunk(data, self.options.level)
        return Entry(kind, self.folder.write(stored))


async def _read(first: int, count: int, task: asyncio.Task[bytes]) -> tuple[int, int, bytes]:
    return first, count, await task


async def _result(work: Any) -> tuple[bytes, Entry, int]:
    found: tuple[bytes, Entry, int] = await work if isinstance(work, asyncio.Future) else work
    return found


def _cores() -> int:
    """Cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1
