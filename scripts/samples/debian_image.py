"""A bootable Debian for i386: a raw image of 4 GiB whose boot ends in a root shell.

It needs Debian's e2fsprogs, mtools, syslinux and syslinux-common. As root it also needs
debootstrap; as another user mmdebstrap, arch-test, uidmap and fakeroot, a kernel that allows user
namespaces, and a line for the user in /etc/subuid. File systems are only mounted in a namespace
that ends with the build. The image is sparse and takes about 0.7 GiB.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from lib.project import CACHE
from samples.sample_image import mtools

SECTOR = 512
MIB = 1 << 20
SIZE = 4 << 30
BOOT_START, BOOT_SIZE = 1 * MIB, 63 * MIB
ROOT_START = BOOT_START + BOOT_SIZE
FAT16_LBA, LINUX = 0x0E, 0x83  # partition types
ACTIVE = 0x80
BOOT_CODE = Path("/usr/lib/syslinux/mbr/mbr.bin")
SUITE = "bookworm"  # the last with a kernel for i386
PACKAGES = ("linux-image-686", "initramfs-tools", "systemd-sysv", "udev", "kmod", "login")
FILE_SYSTEM_ID = "ae20d15c-0000-4000-8000-000000000001"
IS_ROOT = os.geteuid() == 0
INSTALLERS = {"debootstrap": "debootstrap"}
if not IS_ROOT:
    INSTALLERS = {name: name for name in ("mmdebstrap", "arch-test", "fakeroot")}
    INSTALLERS["newuidmap"] = "uidmap"
PROGRAMS = {
    **INSTALLERS,
    "mke2fs": "e2fsprogs",
    "mformat": "mtools",
    "syslinux": "syslinux syslinux-common",
}
"""The Debian packages that have the programs."""
SYSTEM_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
AUTOLOGIN = """[Service]
ExecStart=
ExecStart=-/sbin/agetty --autologin root --noclear %I $TERM
"""
FILES = {
    "etc/hostname": "debian\n",
    "etc/fstab": "/dev/sda2 / ext4 errors=remount-ro 0 1\n",
    # An emulated disk needs three drivers; the usual initial file system has hundreds.
    "etc/initramfs-tools/modules": "ata_piix\nsd_mod\next4\n",
    "etc/initramfs-tools/conf.d/small": "MODULES=list\nCOMPRESS=gzip\n",
    "etc/systemd/system/getty@tty1.service.d/autologin.conf": AUTOLOGIN,
    "etc/systemd/system/serial-getty@ttyS0.service.d/autologin.conf": AUTOLOGIN,
}
FINISHING = (("passwd", "--delete", "root"), ("update-initramfs", "-u"))
# Each letter on the serial console costs an emulator much time, so the kernel prints little. The
# screen stays in text mode: a page can read it, and it is faster than drawing text as graphics.
BOOT_MENU = """DEFAULT debian
LABEL debian
    KERNEL vmlinuz
    INITRD initrd.img
    APPEND root=/dev/sda2 ro quiet nomodeset mitigations=off console=tty0 console=ttyS0
"""


class DebianImageError(Exception):
    """A program is missing, or a step failed. The message says which."""


def make_debian_image(folder: Path = CACHE / "debian-image") -> Path:
    """The image in `folder`, built unless it is there. Building takes minutes and the network.

    Raises `DebianImageError`.
    """
    image = debian_image(folder)
    if image.exists():
        return image
    check_needs()
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".") as made:
        root = Path(made, "root")
        root.mkdir()
        as_root = install(root)
        fresh = Path(made, "image")
        with fresh.open("wb") as disk:
            disk.write(boot_record())
            disk.truncate(SIZE)
        fill_boot_partition(fresh, root / "boot")
        fill_root_partition(fresh, root, as_root)
        fresh.rename(image)
    return image


def debian_image(folder: Path = CACHE / "debian-image") -> Path:
    """Where the image is, or will be once it is made."""
    return folder / f"debian-{recipe()}.img"


def recipe() -> str:
    """A name for the image that this module makes; it changes when the image would."""
    parts = (SIZE, ROOT_START, SUITE, PACKAGES, FILE_SYSTEM_ID, FILES, BOOT_MENU)
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:12]


def check_needs() -> None:
    """Raises `DebianImageError` unless the programs are there."""
    missing = [name for name in PROGRAMS if not shutil.which(name, path=SYSTEM_PATH)]
    if missing or not BOOT_CODE.exists():
        packages = " ".join(PROGRAMS.values())
        raise DebianImageError(f"these are needed: apt-get install {packages}")


def run(*command: str | Path) -> None:
    """Runs a step with its output on stderr."""
    environment = {**os.environ, "PATH": SYSTEM_PATH, "DEBIAN_FRONTEND": "noninteractive"}
    environment |= {"LC_ALL": "C.UTF-8"}
    try:
        subprocess.run(command, check=True, stdout=sys.stderr, env=environment)
    except subprocess.CalledProcessError as error:
        raise DebianImageError(f"this failed: {' '.join(map(str, command))}") from error


def install(root: Path) -> tuple[str | Path, ...]:
    """Installs the system into a folder; returns what runs a command as its owner."""
    if IS_ROOT:
        install_as_root(root)
        return ()
    archive = root.with_suffix(".tar")
    install_unprivileged(archive)
    owners = root.with_suffix(".owners")
    owners.touch()
    as_root = ("fakeroot", "-i", owners, "-s", owners, "--")
    run(*as_root, "tar", "--extract", "--file", archive, "--directory", root)
    return as_root


def install_as_root(root: Path) -> None:
    """Installs the system into a folder, by running its programs there."""
    include = f"--include={','.join(PACKAGES)}"
    # debootstrap mounts /proc in the folder, and leaves it mounted when it is killed. Deleting the
    # folder would then reach into the real /proc. In a separate namespace the mount ends with it.
    alone = ("unshare", "--mount", "--propagation", "private")
    run(*alone, "debootstrap", "--arch=i386", "--variant=minbase", include, SUITE, root)
    write_files(root)
    for command in FINISHING:
        run("chroot", root, *command)
    run("chroot", root, "apt-get", "clean")
    for left_over in (root / "var/lib/apt/lists").iterdir():
        shutil.rmtree(left_over) if left_over.is_dir() else left_over.unlink()


def install_unprivileged(archive: Path) -> None:
    """Installs the system into an archive, as root of a separate namespace."""
    files = archive.with_suffix(".files")
    write_files(files)
    added = archive.with_suffix(".files.tar")
    run("tar", "--create", "--owner=0", "--group=0", "--file", added, "--directory", files, ".")
    include = f"--include={','.join(PACKAGES)}"
    # Like debootstrap, take the release without its later updates.
    only_release = r'sed -i "/ [a-z]*-\(security\|updates\) /d" "$1/etc/apt/sources.list"'
    hooks = [f"--setup-hook={only_release}", f"--customize-hook=tar-in {added} /"]
    hooks += [f'--customize-hook=chroot "$1" {" ".join(command)}' for command in FINISHING]
    options = ["--mode=unshare", "--variant=minbase", "--architectures=i386", include, *hooks]
    run("mmdebstrap", *options, SUITE, archive)


def write_files(root: Path) -> None:
    """Writes `FILES` below a folder."""
    for name, text in FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def boot_record() -> bytes:
    """The first sector: boot code, and two partitions that fill the disk."""
    entries = partition(ACTIVE, FAT16_LBA, BOOT_START, BOOT_SIZE)
    entries += partition(0, LINUX, ROOT_START, SIZE - ROOT_START)
    return struct.pack("<440s6x64sH", BOOT_CODE.read_bytes(), entries, 0xAA55)


def partition(flag: int, kind: int, start: int, size: int) -> bytes:
    """An entry of the partition table; `start` and `size` in bytes."""
    by_lba = b"\xfe\xff\xff"
    return struct.pack("<B3sB3sII", flag, by_lba, kind, by_lba, start // SECTOR, size // SECTOR)


def fill_boot_partition(image: Path, boot: Path) -> None:
    """Makes the partition that the boot loader reads, with the kernel in it."""
    partition = ["-i", f"{image}@@{BOOT_START}"]
    geometry = ["-T", str(BOOT_SIZE // SECTOR), "-h", "255", "-s", "63"]
    mtools("mformat", *partition, *geometry, "-H", str(BOOT_START // SECTOR), "-v", "BOOT", "::")
    run("syslinux", "-t", str(BOOT_START), "-i", image)
    with tempfile.TemporaryDirectory() as made:
        menu = Path(made, "syslinux.cfg")
        menu.write_text(BOOT_MENU)
        sources: Sequence[tuple[Path, str]] = (
            (menu, "syslinux.cfg"),
            (one(boot, "vmlinuz-*"), "vmlinuz"),
            (one(boot, "initrd.img-*"), "initrd.img"),
        )
        for source, name in sources:
            mtools("mcopy", *partition, str(source), f"::{name}")


def one(folder: Path, pattern: str) -> Path:
    """The only file of the folder that matches."""
    (found,) = folder.glob(pattern)
    return found


def fill_root_partition(image: Path, root: Path, as_root: Sequence[str | Path]) -> None:
    """Makes the root file system with the folder's content, without mounting it."""
    # Initialise everything now, so that the kernel does not do it in the background.
    options = (
        f"offset={ROOT_START},lazy_itable_init=0,lazy_journal_init=0,hash_seed={FILE_SYSTEM_ID}"
    )
    size = f"{(SIZE - ROOT_START) // 1024}k"
    made = ["-t", "ext4", "-L", "root", "-U", FILE_SYSTEM_ID, "-E", options, "-d", str(root)]
    run(*as_root, "mke2fs", "-q", "-F", *made, str(image), size)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="debian_image", description=__doc__)
    parser.add_argument("--out", type=Path, default=CACHE / "debian-image", metavar="DIR")
    try:
        print(make_debian_image(parser.parse_args().out))
    except DebianImageError as error:
        print(f"debian_image: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
