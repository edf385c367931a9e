"""Prepared images for tests: packed for real, in a folder or in memory, whole or spoilt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aero_browser_disk.formats.local_file import open_file_disk
from aero_browser_disk.formats.prepared.stored_files import StoredFile
from aero_browser_disk.transfer.image_pack import Packed, PackOptions, pack_image

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


class MemoryFiles:
    """`StoredFiles` in memory, by path."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.read_count = 0

    async def read(self, file: StoredFile) -> bytes:
        self.read_count += 1
        return self.files[file.path]
