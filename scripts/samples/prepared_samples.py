"""Prepared images of the samples, next to them: the same disks, compressed, for comparison."""

from __future__ import annotations

import asyncio
from pathlib import Path

from aero_browser_disk.formats.local_file import open_file_disk
from aero_browser_disk.transfer.image_pack import BOOT_BLOCK, PackOptions, pack_image
from aero_browser_disk.transfer.pack_check import unneeded_files
from samples.boot_profiles import blocks_read, recorded_reads

# A tenth larger than at the level that `aero-disk pack` has by default, and many times faster.
LEVEL = 6


def prepare_sample(image: Path, trace: Path | None = None) -> Path:
    """Packs an image into a folder next to it, with a boot bundle of the recorded boot, if it fits.

    Returns the folder. What is in it already is not packed again, and nothing else stays in it.
    """
    folder = image.with_name(f"{image.stem}-prepared")
    blocks: tuple[int, ...] = ()
    if trace is not None:
        size, reads = recorded_reads(trace)
        if size == image.stat().st_size:
            blocks = blocks_read(reads, BOOT_BLOCK)
    asyncio.run(_pack(image, folder, PackOptions(level=LEVEL, boot_blocks=blocks)))
    return folder


async def _pack(image: Path, folder: Path, options: PackOptions) -> None:
    async with await open_file_disk(image) as disk:
        await pack_image(disk, folder, options)
    for path in await unneeded_files(folder):
        path.unlink()
