"""What tests of the library import, and how they look at it."""

from __future__ import annotations

import random
from collections.abc import Sequence

from aero_browser_disk.library.catalog import LibraryEntry
from aero_browser_disk.library.library import Library
from aero_browser_disk.transfer.image_export import Hole
from support.qemu import MIB

CONTENT = random.Random(4).randbytes(300_000 // 512 * 512) + bytes(2 * MIB) + b"end".ljust(512)


async def named(library: Library, name: str) -> LibraryEntry:
    return next(entry for entry in await library.list() if entry.name == name)


async def content(library: Library, name: str, overlays: Sequence[str] = ()) -> bytes:
    """All bytes of an image, as an export has them."""
    async with library.exporting(name, overlays) as file:
        return b"".join([bytes(p.length) if isinstance(p, Hole) else p async for p in file.parts])
