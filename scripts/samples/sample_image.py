"""Images to try this project with: one made here, and Debian's rescue disk.

The one made here is a raw disk for an emulator: a partition table, one FAT partition, and files in
it. It has the same bytes each time.
"""

from __future__ import annotations

import filecmp
import hashlib
import os
import shutil
import struct
import subprocess
import tempfile
from pathlib import Path

from lib.project import GRUB_RESCUE_IMAGE

SECTOR = 512
PARTITION_START = 1 << 20  # on the boundary that every tool aligns to
DEFAULT_SIZE = 64 << 20
FAT16_LBA = 0x0E  # the partition type
DISK_SIGNATURE = 0xAE20D15C
VOLUME_SERIAL = "AE20D15C"
EPOCH = 1_700_000_000  # the time of every file, in seconds since 1970
README = """This is a sample disk of aero-browser-disk.

Everything under PAYLOAD is generated: file N holds the first bytes of the
SHAKE-256 of the text "aero-browser-disk N".
"""


def make_sample_disk(path: Path, size: int = DEFAULT_SIZE) -> None:
    """Writes a partitioned disk of `size` bytes, half full. Needs mtools.

    `size` is a multiple of a MiB, from 16 MiB to 2 GiB.
    """
    with path.open("wb") as disk:
        disk.write(boot_record(size))
        disk.truncate(size)
    with tempfile.TemporaryDirectory() as made:
        content = Path(made, "content")
        write_content(content, (size - PARTITION_START) // 2)
        fill_partition(path, content)


def boot_record(size: int) -> bytes:
    """The first sector of a disk of `size` bytes: no boot code, one partition to the end."""
    start = PARTITION_START // SECTOR
    out_of_chs = b"\xfe\xff\xff"  # "beyond what CHS can address": use the LBA
    entry = struct.pack(
        "<B3sB3sII", 0, out_of_chs, FAT16_LBA, out_of_chs, start, size // SECTOR - start
    )
    return struct.pack("<440xIH16s48xH", DISK_SIGNATURE, 0, entry, 0xAA55)


def write_content(folder: Path, payload: int) -> None:
    """Writes the files: a text, and `payload` incompressible bytes in files of many sizes."""
    (folder / "PAYLOAD").mkdir(parents=True)
    (folder / "README.TXT").write_text(README)
    number = 0
    while payload:
        length = min(payload, (1 << 12) << (number % 11))  # 4 KiB to 4 MiB
        data = hashlib.shake_256(f"aero-browser-disk {number}".encode()).digest(length)
        (folder / "PAYLOAD" / f"{number:03}.BIN").write_bytes(data)
        payload -= length
        number += 1


def fill_partition(path: Path, content: Path) -> None:
    """Makes the file system in the partition of the disk, with the files in `content`."""
    partition = ["-i", f"{path}@@{PARTITION_START}"]
    sectors = (path.stat().st_size - PARTITION_START) // SECTOR
    geometry = ["-T", str(sectors), "-h", "255", "-s", "63", "-H", str(PARTITION_START // SECTOR)]
    mtools("mformat", *partition, *geometry, "-N", VOLUME_SERIAL, "-v", "AERODISK", "::")
    # One after the other: the order of a folder's entries differs between file systems.
    for source in sorted(content.rglob("*")):
        target = f"::{source.relative_to(content).as_posix()}"
        if source.is_dir():
            mtools("mmd", *partition, target)
        else:
            mtools("mcopy", *partition, str(source), target)


def mtools(*command: str) -> None:
    """Runs one of the mtools with a fixed clock."""
    environment = {
        **os.environ,
        "SOURCE_DATE_EPOCH": str(EPOCH),
        "TZ": "UTC",
        "MTOOLS_LOWER_CASE": "0",
    }
    subprocess.run(command, check=True, env=environment)


def make_samples(folder: Path) -> list[Path]:
    """Puts the sample images into `folder`. A correct one that exists keeps its time."""
    folder.mkdir(parents=True, exist_ok=True)
    sample = folder / "sample.img"
    with tempfile.TemporaryDirectory(dir=folder, prefix=".") as made:
        fresh = Path(made, sample.name)
        make_sample_disk(fresh)
        if not (sample.exists() and filecmp.cmp(fresh, sample, shallow=False)):
            fresh.rename(sample)
    rescue = folder / GRUB_RESCUE_IMAGE.name
    if GRUB_RESCUE_IMAGE.exists() and not rescue.exists():
        shutil.copyfile(GRUB_RESCUE_IMAGE, rescue)
    return sorted(folder.glob("*.img"), key=lambda path: path != sample)
