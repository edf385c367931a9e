"""One Debian in every form that the bench boots it from."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from aero_browser_disk.formats.local_file import open_file_disk
from aero_browser_disk.formats.prepared.chunk_codec import DEFAULT_LEVEL
from aero_browser_disk.transfer.image_pack import BOOT_BLOCK, Packed, PackOptions, pack_image
from benchmarks.packing import CHUNK, change, chunks_with_data, in_own_loop, packed_sizes, picked
from benchmarks.workloads import Workload
from lib.project import CACHE
from samples.boot_profiles import blocks_read, recorded_reads
from samples.boot_traces import debian_trace

RAW, QCOW2, PARTS = "debian.img", "debian.qcow2", "parts"
PREPARED, WITH_BOOT, UPDATED = (f"prepared/{name}.json" for name in ("manifest", "boot", "updated"))
PART_FILE = f"{PARTS}/debian.img.zst"  # the name that v86 makes those of the parts of
_COMPLETE = "complete"


@dataclass(frozen=True, slots=True)
class BootImages:
    """A folder with the image in each form, and what a boot of it reads."""

    folder: Path
    workload: Workload
    packed_bytes: int
    """Bytes of the chunks of the prepared image."""
    data: tuple[tuple[int, int], ...]
    """(offset, length) of the runs of chunks that have any data."""


def make_boot_images(image: Path) -> BootImages:
    """The images, made unless they are there: some minutes, most of them for Zstandard."""
    trace = debian_trace(image)
    folder = CACHE / "bench" / f"{image.stem}-level{DEFAULT_LEVEL}"
    _, reads = recorded_reads(trace)
    workload = Workload("boot of a Debian", RAW, tuple((at, size, 0.0) for at, size in reads))
    chunks = in_own_loop(chunks_with_data(image))
    if not (folder / _COMPLETE).exists():
        print("making the images to boot from (minutes)", file=sys.stderr, flush=True)
        folder.mkdir(parents=True, exist_ok=True)
        raw = folder / RAW
        raw.unlink(missing_ok=True)
        raw.hardlink_to(image)
        qcow2 = ["-O", "qcow2", "-c", "-o", "compression_type=zstd"]
        subprocess.run(
            ["qemu-img", "convert", "-f", "raw", *qcow2, raw, folder / QCOW2], check=True
        )
        make_parts(raw, folder / PARTS, blocks_read(reads, CHUNK))
        packed = pack_all(raw, folder, blocks_read(reads, BOOT_BLOCK))
        (folder / _COMPLETE).write_text(str(packed))
    packed_bytes = int((folder / _COMPLETE).read_text())
    return BootImages(folder, workload, packed_bytes, tuple(runs_of(chunks)))


def make_parts(raw: Path, folder: Path, numbers: Iterable[int]) -> None:
    """The parts that v86 will ask for, named as it does, by Debian's `zstd`."""
    folder.mkdir(exist_ok=True)
    command = ["zstd", "-q", f"-{DEFAULT_LEVEL}", "-c"]
    with raw.open("rb") as file:
        for number in numbers:
            start = number * CHUNK
            file.seek(start)
            part = subprocess.run(command, input=file.read(CHUNK), check=True, capture_output=True)
            (folder / f"debian-{start}-{start + CHUNK}.img.zst").write_bytes(part.stdout)


def pack_all(raw: Path, folder: Path, boot: tuple[int, ...]) -> int:
    """Packs the image without and with a boot bundle, and an update of it; bytes of the chunks."""
    packed = pack(raw, folder / PREPARED)
    pack(raw, folder / WITH_BOOT, boot)
    changed = folder / "changed.img"
    subprocess.run(["cp", "--sparse=always", raw, changed], check=True)
    change(changed, picked(in_own_loop(packed_sizes(folder / PREPARED))))
    pack(changed, folder / UPDATED)
    changed.unlink()
    return packed.manifest.stored_bytes


def pack(image: Path, manifest: Path, boot: tuple[int, ...] = ()) -> Packed:
    """Packs an image into the folder of the manifest, with a bundle of these blocks if any."""
    options = PackOptions(manifest_name=manifest.name, chunk_size=CHUNK, boot_blocks=boot)

    async def run() -> Packed:
        async with await open_file_disk(image) as disk:
            return await pack_image(disk, manifest.parent, options)

    return in_own_loop(run())


def runs_of(chunks: list[int]) -> Iterable[tuple[int, int]]:
    """(offset, length) of runs of chunks that follow one another."""
    first = before = None
    for chunk in chunks:
        if before is None or chunk != before + 1:
            if first is not None and before is not None:
                yield first * CHUNK, (before + 1 - first) * CHUNK
            first = chunk
        before = chunk
    if first is not None and before is not None:
        yield first * CHUNK, (before + 1 - first) * CHUNK
