"""What it costs to make a prepared image, and what an update of one adds to its folder.

    scripts/bench --only packing

Needs what `samples.debian_image` needs, and Debian's `zstd`, which compresses the same file.
"""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Coroutine, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from aero_browser_disk.disk import data_ranges
from aero_browser_disk.formats.local_file import open_file_disk
from aero_browser_disk.formats.prepared.chunk_codec import DEFAULT_LEVEL
from aero_browser_disk.formats.prepared.chunk_table import ChunkTable
from aero_browser_disk.formats.prepared.manifest import Manifest
from aero_browser_disk.formats.prepared.stored_files import FolderFiles, read_proved
from aero_browser_disk.transfer.image_pack import MANIFEST_NAME, Packed, PackOptions, pack_image
from benchmarks.results import Measure
from lib.project import CACHE

KIB, MIB = 1 << 10, 1 << 20
CHUNK = 256 * KIB
PACK = (sys.executable, "-m", "aero_browser_disk.cli.main", "pack")
QUICK_LEVEL = 3
SHARE = 0.01  # of the chunks that an update changes
GOAL = 0.015  # of the packed size that it may add
SEED = 15
TRIES = 100
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Cost:
    """What a program took: seconds, and its largest memory in bytes."""

    seconds: float
    peak_bytes: int


# In a small process: the largest memory of a child is at least that of the process that starts it.
_RUNNER = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def measured(*command: str | Path) -> Cost:
    """Runs a program; raises `CalledProcessError` when it fails."""
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-S", "-c", _RUNNER, *command], check=True, stdout=subprocess.PIPE
    )
    return Cost(time.perf_counter() - start, int(done.stdout) * KIB)


def in_own_loop(work: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine in another thread: Playwright's loop runs in this one."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


def packing(image: Path, *, is_quick: bool) -> list[Measure]:
    """`aero-disk pack` against `zstd` with as many threads, on one image at one level."""
    level = QUICK_LEVEL if is_quick else DEFAULT_LEVEL
    with tempfile.TemporaryDirectory(dir=CACHE, prefix="packing-") as made:
        folder, file = Path(made, "prepared"), Path(made, "image.zst")
        ours = measured(*PACK, image, "-o", folder, "--level", str(level))
        zstd = measured("zstd", "-q", "-T0", f"-{level}", image, "-o", file)
        packed, whole = size_of(folder), file.stat().st_size
        changed = Path(made, "changed.img")
        subprocess.run(["cp", "--sparse=always", image, changed], check=True)
        update = in_own_loop(updated(changed, folder, level))
    name = f"packing, level {level}"
    return [
        Measure(f"{name}: time", ours.seconds, "s", zstd.seconds),
        Measure(f"{name}: memory", ours.peak_bytes / 1e6, "MB", zstd.peak_bytes / 1e6),
        Measure(f"{name}: size", packed / 1e6, "MB", whole / 1e6),
        Measure("update of 1 % of the chunks: new files", update / 1e6, "MB", packed / 1e6, GOAL),
    ]


async def updated(image: Path, folder: Path, level: int) -> int:
    """Changes some chunks of an image and packs it again; returns the bytes of the files it adds.

    They are what a reader downloads who has all of the version before.
    """
    change(image, picked(await packed_sizes(folder / MANIFEST_NAME)))
    before = size_of(folder)
    await pack(image, folder, level)
    return size_of(folder) - before


async def chunks_with_data(image: Path) -> list[int]:
    """The chunks that may hold anything but zeros."""
    async with await open_file_disk(image) as disk:
        found: dict[int, None] = {}
        for start, length in data_ranges(disk):
            found.update(dict.fromkeys(range(start // CHUNK, (start + length - 1) // CHUNK + 1)))
    return list(found)


async def packed_sizes(manifest: Path) -> dict[int, int]:
    """The packed bytes of each chunk of a prepared image, but for those of zeros."""
    files = FolderFiles(manifest.parent)
    described = Manifest.decode(await asyncio.to_thread(manifest.read_bytes))
    table = ChunkTable(described, partial(read_proved, files))
    entries = [await table.entry(number) for number in range(described.chunk_count)]
    return {number: e.file.length for number, e in enumerate(entries) if e.file is not None}


def picked(sizes: Mapping[int, int]) -> list[int]:
    """A sample of one chunk in a hundred that is as large, packed, as average chunks are."""
    chance = random.Random(SEED)  # noqa: S311 - the same each time
    count = max(1, round(len(sizes) * SHARE))
    wanted = sum(sizes.values()) * count / len(sizes)
    samples = (chance.sample(list(sizes), count) for _ in range(TRIES))
    return min(samples, key=lambda sample: abs(sum(sizes[n] for n in sample) - wanted))


def change(image: Path, chunks: Iterable[int]) -> None:
    """Inverts a sector of each chunk, anywhere in it."""
    chance = random.Random(SEED)  # noqa: S311 - the same each time
    with image.open("r+b") as file:
        for chunk in chunks:
            at = chunk * CHUNK + chance.randrange(CHUNK // 512) * 512
            file.seek(at)
            sector = bytes(byte ^ 0xFF for byte in file.read(512))
            file.seek(at)
            file.write(sector)


async def pack(image: Path, folder: Path, level: int) -> Packed:
    """Packs an image into a folder."""
    async with await open_file_disk(image) as disk:
        return await pack_image(disk, folder, PackOptions(level=level, chunk_size=CHUNK))


def size_of(folder: Path) -> int:
    """Bytes of all files that readers see; names with a dot are the packer's own."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name[0] != ".")
    return sum(path.stat().st_size for path in files)
