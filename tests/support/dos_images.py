"""Images for DOS: FAT volumes with and without a partition table, a floppy, and a disc."""

from __future__ import annotations

from pathlib import Path

from aero_browser_disk.testing.image_server import ImageServer
from support import file_images

MIB = 1 << 20
TEXT = b"text on the disk\r\n"
# mov ah, 9; mov dx, text; int 21h; ret
PROGRAM = bytes([0xB4, 9, 0xBA, 0x08, 0x01, 0xCD, 0x21, 0xC3]) + b"the program ran\r\n$"
VOLUMES = {"small": (12, 1440 << 10), "volume": (16, 16 * MIB), "fat32": (32, 64 * MIB)}


def make_tree(folder: Path) -> Path:
    """The files of every image: a program and a text."""
    tree = folder / "tree"
    tree.mkdir()
    (tree / "hello.com").write_bytes(PROGRAM)
    (tree / "data.txt").write_bytes(TEXT)
    return tree


def make_volume(folder: Path, tree: Path, name: str) -> Path:
    """One of `VOLUMES`, without a partition table."""
    bits, size = VOLUMES[name]
    path = file_images.blank(folder / f"{name}.img", size)
    file_images.tool("mkfs.fat", "-F", str(bits), path)
    file_images.tool("mcopy", "-i", path, *sorted(tree.iterdir()), "::")
    return path


def make_disk(folder: Path, volume: Path) -> Path:
    """A disk with that volume in its only partition."""
    size = volume.stat().st_size
    script = f"label: dos\nstart=2048, size={size // 512}, type=6\n"
    return file_images.partition(folder / "disk.img", script, size + 17 * MIB, {2048: volume})


def served(folder: Path) -> ImageServer:
    """A server of a disk with a partition, `disk.img`, and of a bare volume, `fat32.img`."""
    tree = make_tree(folder)
    disk = make_disk(folder, make_volume(folder, tree, "volume"))
    return ImageServer({"disk.img": disk, "fat32.img": make_volume(folder, tree, "fat32")})
