"""A small system made from Debian's boot partition: a kernel, a shell, and an empty file system.

As a script, it records what the guest writes while a user works on that file system, for the tests
to replay: `tests/support/data/guest_session.json.gz`. Needs what debian_image needs.
"""

from __future__ import annotations

import argparse
import base64
import gzip
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from lib.project import BIOS, ROOT
from samples.boot_traces import boot
from samples.debian_image import (
    ACTIVE,
    BOOT_SIZE,
    BOOT_START,
    FAT16_LBA,
    LINUX,
    MIB,
    ROOT_START,
    SYSTEM_PATH,
    make_debian_image,
    partition,
)
from samples.sample_image import mtools

DATA_SIZE = 32 * MIB
BLOCK = 4096
PROMPT = "(initramfs)"
TABLE = 446  # where the partition table is in the first sector
BOOT_MENU = """DEFAULT shell
LABEL shell
    KERNEL vmlinuz
    INITRD initrd.img
    APPEND break=premount console=tty0
"""
SESSION = ROOT / "tests" / "support" / "data" / "guest_session.json.gz"
# Typed lines, and the text that the screen shows when each is done. The line itself must not
# contain that text.
MAKE_FILES = """mkdir /m; mount -t ext4 /dev/sda2 /m; mkdir /m/many; for n in 0 1 2 3 4 5 6 7 8 9; \
do for k in 0 1 2 3 4; do echo $n$k > /m/many/$n$k; done; done; echo is m'ade'"""
COPY_AND_MOVE = """sync; dd if=/dev/sda of=/m/copy bs=65536 count=8; mv /m/many/00 /m/moved; \
ln -s moved /m/link; sync; echo is c'opied'"""
MOUNT_AGAIN = """umount /m; mount -t ext4 /dev/sda2 /m; cat /m/copy > /m/again; \
echo hello > /m/hello; umount /m; sync; echo is w'ritten'"""
TYPED = ((MAKE_FILES, "is made"), (COPY_AND_MOVE, "is copied"), (MOUNT_AGAIN, "is written"))


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
    area = ["-E", f"offset={ROOT_START}", str(image), f"{DATA_SIZE // 1024}k"]
    run("mke2fs", "-q", "-F", "-t", "ext4", *area)


def record_session(image: Path, bios: Path, session: Path) -> None:
    """Boots a small guest in v86, types, and saves the initial disk and what was written to it.

    The session has "size" in bytes, and pairs of an offset and Base64: "before", the blocks of the
    file system that were not zeros, and "writes", in order.
    """
    recorded = boot(
        image, bios, [PROMPT, *(shown for _, shown in TYPED)], [line for line, _ in TYPED]
    )
    data = image.read_bytes()
    blocks = ((at, data[at : at + BLOCK]) for at in range(ROOT_START, len(data), BLOCK))
    before = [(at, base64.b64encode(block).decode()) for at, block in blocks if any(block)]
    made = {"size": len(data), "before": before, "writes": recorded["writes"]}
    session.write_bytes(gzip.compress(json.dumps(made, separators=(",", ":")).encode(), mtime=0))


def check_data(image: Path, file_system: Path) -> None:
    """Cuts the second partition out and checks its file system; raises `CalledProcessError`."""
    with image.open("rb") as disk:
        disk.seek(ROOT_START)
        file_system.write_bytes(disk.read(DATA_SIZE))
    run("e2fsck", "-fn", str(file_system))


def file_in(file_system: Path, path: str) -> bytes:
    """The bytes of a file of the file system; raises `FileNotFoundError`."""
    out = file_system.with_suffix(".out")
    out.unlink(missing_ok=True)  # debugfs succeeds without a file, too
    run("debugfs", "-R", f"dump {path} {out}", str(file_system))
    return out.read_bytes()


def run(*command: str) -> None:
    """Runs one of the tools of ext4, which are not in everybody's PATH."""
    subprocess.run(command, check=True, capture_output=True, env={"PATH": SYSTEM_PATH})


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="small_guest", description=__doc__)
    parser.add_argument("--bios", type=Path, default=BIOS.parent, help="bios.bin and the VGA BIOS")
    bios: Path = parser.parse_args().bios
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder, "guest.img")
        make_small_guest(make_debian_image(), image)
        record_session(image, bios, SESSION)
    return 0


if __name__ == "__main__":
    sys.exit(main())
