"""A small system made of a Debian's boot partition: a kernel, a shell, and an empty file system."""

from __future__ import annotations

import subprocess
from pathlib import Path

from debian_image import (
    ACTIVE,
    BOOT_SIZE,
    BOOT_START,
    FAT16_LBA,
    LINUX,
    MIB,
    ROOT_START,
    SYSTEM_PATH,
    partition,
)
from sample_image import mtools

DATA_SIZE = 32 * MIB
PROMPT = "(initramfs)"
TABLE = 446  # where the partition table is in the first sector
BOOT_MENU = """DEFAULT shell
LABEL shell
    KERNEL vmlinuz
    INITRD initrd.img
    APPEND break=premount console=tty0
"""


def make_small_guest(debian: Path, image: Path) -> None:
    """Makes the image: it boots to a shell, and its second partition is an empty ext4."""
    with debian.open("rb") as source, image.open("wb") as disk:
        for _ in range(ROOT_START // MIB):
            disk.write(source.read(MIB))
        disk.truncate(ROOT_START + DATA_SIZE)
        disk.seek(TABLE)
        disk.write(partition(ACTIVE, FAT16_LBA, BOOT_START, BOOT_SIZE))
        disk.write(partition(0, LINUX, ROOT_START, DATA_SIZE))
    menu = image.with_suffix(".cfg")
    menu.write_text(BOOT_MENU)
    mtools("mcopy", "-o", "-i", f"{image}@@{BOOT_START}", str(menu), "::syslinux.cfg")
    place = ["-E", f"offset={ROOT_START}", str(image), f"{DATA_SIZE // 1024}k"]
    run("mke2fs", "-q", "-F", "-t", "ext4", *place)


def check_data(image: Path, file_system: Path) -> None:
    """Cuts the second partition out and checks its file system; raises `CalledProcessError`."""
    with image.open("rb") as disk:
        disk.seek(ROOT_START)
        file_system.write_bytes(disk.read(DATA_SIZE))
    run("e2fsck", "-fn", str(file_system))


def file_in(file_system: Path, path: str) -> bytes:
    """The bytes of a file of the file system."""
    out = file_system.with_suffix(".out")
    run("debugfs", "-R", f"dump {path} {out}", str(file_system))
    return out.read_bytes()


def run(*command: str) -> None:
    """Runs one of the tools of ext4, which are not in everybody's PATH."""
    subprocess.run(command, check=True, capture_output=True, env={"PATH": SYSTEM_PATH})
