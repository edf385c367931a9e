"""A disk as a raw file: what `export` and `unpack` write."""

from __future__ import annotations

import argparse
import contextlib
from pathlib import Path

from ..transfer.image_export import exported, with_holes, write_to_path
from .opening import AnyDisk
from .output import progress


async def write_raw_file(options: argparse.Namespace, disk: AnyDisk, path: Path, doing: str) -> int:
    """Writes the whole disk to a file that has holes where the disk has zeros.

    Returns the bytes written. Raises `StorageError`, and what reading the disk does.
    """
    size = disk.info.size
    with progress(options, doing) as shown:
        parts = with_holes(exported(disk, None, lambda done: shown.update(done, size)))
        async with contextlib.aclosing(parts):
            return await write_to_path(parts, path)
