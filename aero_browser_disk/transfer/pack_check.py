"""Checks a prepared image as a whole, and finds the files that no manifest names (CPython)."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections import deque
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ..errors import (
    DamagedImageError,
    DiskError,
    IntegrityError,
    SourceError,
    UnsupportedImageError,
)
from ..formats.image_format import PREPARED
from ..formats.prepared.boot_bundle import BootBundle
from ..formats.prepared.chunk_codec import unpack_chunk
from ..formats.prepared.chunk_table import Entry
from ..formats.prepared.layout import PreparedLayout
from ..formats.prepared.manifest import MAX_MANIFEST, ContentVersion, Manifest
from ..formats.prepared.stored_files import FolderFiles, read_proved
from ..platform.concurrent_tasks import end_all
from .pack_folder import PackFolder

_AHEAD = 16  # chunks that are checked at a time


@dataclass(frozen=True, slots=True)
class Checked:
    """What was found: files that are missing or wrong, by their paths, and how much was checked."""

    chunks: int
    bytes: int
    wrong: tuple[str, ...]
    is_whole: bool
    """Whether all of it is there and is the version that the manifest names."""


def open_folder(path: Path) -> PreparedLayout:
    """The prepared image of a manifest of this machine.

    Raises `SourceError`, `DamagedImageError` and `UnsupportedImageError`.
    """
    try:
        with path.open("rb") as file:
            encoded = file.read(MAX_MANIFEST + 1)
    except OSError as error:
        raise SourceError(os.fspath(path), error.strerror or str(error)) from error
    return PreparedLayout(Manifest.decode(encoded), FolderFiles(path.resolve().parent))


async def check_image(
    layout: PreparedLayout, reached: Callable[[int], None] = lambda _: None
) -> Checked:
    """Reads every file of an image and compares the whole with its version.

    `reached` is called with the bytes of the disk that are done. Raises `DamagedImageError` and
    what the files raise where the table itself cannot be read.
    """
    manifest = layout.manifest
    version = ContentVersion(manifest.size, manifest.chunk_size)
    wrong: list[str] = []
    chunks = stored = 0
    with ThreadPoolExecutor(os.cpu_count(), "verify") as pool:
        async for index, entry, content in _contents(layout, pool):
            if isinstance(content, bytes):
                version.add(content)
            else:
                assert entry.file is not None
                wrong.append(entry.file.path)
            if entry.file is not None:
                chunks += 1
                stored += entry.file.length
            reached(min((index + 1) * manifest.chunk_size, manifest.size))
        wrong += await _wrong_in_bundle(layout)
    is_version = version.digest() == manifest.image_version
    return Checked(chunks, stored, tuple(dict.fromkeys(wrong)), is_version and not wrong)


async def _contents(
    layout: PreparedLayout, pool: ThreadPoolExecutor
) -> AsyncIterator[tuple[int, Entry, bytes | DiskError]]:
    """Number, entry and SHA-256 of the content of each chunk in order, or what was wrong."""
    manifest = layout.manifest
    loop = asyncio.get_running_loop()
    zeros = {manifest.chunk_size: hashlib.sha256(bytes(manifest.chunk_size)).digest()}
    under_way: deque[tuple[int, Entry, asyncio.Task[bytes | DiskError]]] = deque()

    async def content_of(index: int, entry: Entry) -> bytes | DiskError:
        length = manifest.chunk_length(index)
        if entry.file is None:
            return zeros.setdefault(length, hashlib.sha256(bytes(length)).digest())
        try:
            data = await read_proved(layout.files, entry.file, index * manifest.chunk_size)
            work = partial(_digest_of, entry.kind, data, length)
            return await loop.run_in_executor(pool, work)
        except (SourceError, IntegrityError, DamagedImageError) as error:
            return error

    try:
        for index in range(manifest.chunk_count):
            entry = await layout.table.entry(index)
            under_way.append((index, entry, asyncio.ensure_future(content_of(index, entry))))
            if len(under_way) > _AHEAD:
                first, known, task = under_way.popleft()
                yield first, known, await task
        while under_way:
            first, known, task = under_way.popleft()
            yield first, known, await task
    finally:
        await end_all(task for _, _, task in under_way)


def _digest_of(kind: int, stored: bytes, length: int) -> bytes:
    try:
        return hashlib.sha256(unpack_chunk(kind, stored, length)).digest()
    except ValueError as error:
        raise DamagedImageError(PREPARED.title, str(error)) from error


async def _wrong_in_bundle(layout: PreparedLayout) -> list[str]:
    """The files of the boot bundle that are missing, or not what the disk has."""
    file = layout.manifest.boot
    if file is None:
        return []
    try:
        encoded = await read_proved(layout.files, file, 0)
        bundle = BootBundle.decode(encoded, layout.size)
    except (SourceError, IntegrityError, ValueError):
        return [file.path]
    wrong = []
    for part in bundle.parts:
        try:
            data = await read_proved(layout.files, part.file, 0)
            unpack_chunk(part.kind, data, bundle.length_of(part))
        except (SourceError, IntegrityError, ValueError):
            wrong.append(part.file.path)
    return wrong


# ── files that nothing needs ──────────────────────────────────────────────────────────────────────


async def unneeded_files(folder: Path) -> list[Path]:
    """The files of a folder that no manifest in it names, in order.

    Raises what reading the manifests and their tables does: then nothing may be removed.
    """
    needed: set[str] = set()
    found = False
    for path in sorted(await asyncio.to_thread(lambda: list(folder.glob("*.json")))):
        try:
            layout = open_folder(path)
        except UnsupportedImageError as error:
            if error.format == "json":
                continue  # a document of something else
            raise
        found = True
        needed |= await _needed_by(layout)
    if not found:
        raise SourceError(os.fspath(folder), "it has no manifest of a prepared image")
    return [path for path in PackFolder(folder).all_files() if path.name not in needed]


async def _needed_by(layout: PreparedLayout) -> set[str]:
    needed = {
        entry.file.digest.hex() async for _, entry in layout.table.files() if entry.file is not None
    }
    boot = layout.manifest.boot
    if boot is not None:
        needed.add(boot.digest.hex())
        encoded = await read_proved(layout.files, boot, 0)
        try:
            bundle = BootBundle.decode(encoded, layout.size)
        except ValueError as error:
            raise DamagedImageError(PREPARED.title, str(error)) from error
        needed |= {part.file.digest.hex() for part in bundle.parts}
    return needed
