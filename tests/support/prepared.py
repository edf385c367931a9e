"""Prepared images for tests: packed for real, in a folder or in memory, whole or spoilt."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aero_browser_disk.formats.local_file import open_file_disk
from aero_browser_disk.formats.prepared.boot_bundle import BootBundle, BundlePart
from aero_browser_disk.formats.prepared.chunk_codec import pack_chunk
from aero_browser_disk.formats.prepared.chunk_table import NO_CHUNK, Entry, TableWriter
from aero_browser_disk.formats.prepared.manifest import ContentVersion, Manifest
from aero_browser_disk.formats.prepared.stored_files import StoredFile, stored_file
from aero_browser_disk.transfer.image_pack import BOOT_BLOCK, Packed, PackOptions, pack_image

KIB = 1 << 10


async def pack(image: Path, folder: Path, **options: Any) -> Packed:
    """Packs an image file into a folder, quickly and in small chunks unless told otherwise."""
    chosen = {"level": 3, "chunk_size": 64 * KIB, **options}
    async with await open_file_disk(image) as disk:
        return await pack_image(disk, folder, PackOptions(**chosen))


def bytes_of(path: Path) -> bytes:
    """All of a file."""
    return path.read_bytes()


def files_of(folder: Path) -> dict[str, bytes]:
    """What readers see of a folder, by path."""
    paths = [path for path in folder.rglob("*") if path.is_file() and path.name[0] != "."]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(paths)}


def prepared_files(
    data: bytes, chunk_size: int, boot_blocks: Sequence[int] = (), level: int | None = 3
) -> dict[str, bytes]:
    """A prepared image of a disk in memory, by path, made without the packer."""
    files: dict[str, bytes] = {}

    def write(stored: bytes) -> StoredFile:
        file = stored_file(stored)
        files[file.path] = stored
        return file

    chunks = [data[at : at + chunk_size] for at in range(0, len(data), chunk_size)]
    table, version = TableWriter(len(chunks), 16, write), ContentVersion(len(data), chunk_size)
    for chunk in chunks:
        kind, stored = pack_chunk(chunk, level)
        table.add(Entry(kind, write(stored)) if any(chunk) else NO_CHUNK)
        version.add(hashlib.sha256(chunk).digest())
    boot = None
    if boot_blocks:
        parts = []
        for at in range(0, len(boot_blocks), 7):
            blocks = tuple(boot_blocks[at : at + 7])
            part = b"".join(data[b * BOOT_BLOCK : (b + 1) * BOOT_BLOCK] for b in blocks)
            kind, stored = pack_chunk(part, level)
            parts.append(BundlePart(kind, write(stored), blocks))
        boot = write(BootBundle(len(data), BOOT_BLOCK, tuple(parts)).encode())
    root = table.finish()
    manifest = Manifest(len(data), 512, chunk_size, "zstd", version.digest(), root, 16, boot=boot)
    return {**files, "manifest.json": manifest.encode()}


class MemoryFiles:
    """`StoredFiles` in memory, by path."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.read_count = 0

    async def read(self, file: StoredFile) -> bytes:
        self.read_count += 1
        return self.files[file.path]
