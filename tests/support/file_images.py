"""Images with file systems in them, made from one tree of files by the tools of each."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from aero_browser_disk.testing.synthetic_image import SyntheticImage

EPOCH = 1_600_000_000  # of every file: an even number of seconds, as FAT has it
MANY = 250


def many_name(number: int) -> str:
    """Long, so that the folder is long with few files: some tools take their time over each."""
    return f"file-{number:04}-{'x' * 80}.txt"


BIG = SyntheticImage(3 * 2**20 + 123, seed=4).read(0, 3 * 2**20 + 123)
FILES: Mapping[str, bytes] = {
    "hello.txt": b"hello\n",
    "empty": b"",
    "big.bin": BIG,
    "A long name with spaces and ünïcödé.text": b"long\n",
    "folder/one": b"1" * 700,
    "folder/deeper/still/file.dat": BIG[:70_000],
    **{f"many/{many_name(number)}": f"{number}\n".encode() for number in range(MANY)},
}
"""What is on every image, by path."""


def write_tree(root: Path) -> Path:
    """Writes `FILES` below a folder, all of one time, and a sparse file where those are known."""
    for name, data in FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    for path in (*root.rglob("*"), root):
        os.utime(path, (EPOCH, EPOCH))
    return root


def blank(path: Path, size: int) -> Path:
    """A file of zeros, or the same with what it had put away."""
    with path.open("wb") as file:
        file.truncate(size)
    return path


def tool(*command: str | Path, **options: object) -> subprocess.CompletedProcess[bytes]:
    """Runs a tool, which fails the test when it fails."""
    search = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
    program = shutil.which(str(command[0]), path=search)
    assert program, f"{command[0]} is missing: run scripts/setup test"
    environment = {**os.environ, "TZ": "UTC", "LC_ALL": "C.UTF-8", "MTOOLS_SKIP_CHECK": "1"}
    environment |= {"SOURCE_DATE_EPOCH": str(EPOCH)}
    done = subprocess.run(
        [program, *map(str, command[1:])], capture_output=True, env=environment, **options
    )
    assert done.returncode == 0, f"{command}: {done.stderr.decode(errors='replace')}"
    return done


def make_ext(path: Path, tree: Path, kind: str, *options: str, size: int = 32 << 20) -> Path:
    """An ext2, ext3 or ext4 volume."""
    tool("mke2fs", "-q", "-F", "-t", kind, *options, "-L", "Vol", "-d", tree, blank(path, size))
    return path


def make_fat(path: Path, tree: Path, bits: int) -> Path:
    """A FAT volume of that width."""
    size, cluster = {12: (8 << 20, 8), 16: (24 << 20, 2), 32: (40 << 20, 1)}[bits]
    blank(path, size)
    tool("mkfs.fat", "-F", str(bits), "-s", str(cluster), "-n", "VOL", path)
    tool("mcopy", "-s", "-m", "-Q", "-i", path, *sorted(tree.iterdir()), "::")
    return path


@contextlib.contextmanager
def mounted(path: Path, *command: str) -> Iterator[Path]:
    """The volume as the machine has it; where it cannot be mounted the test is skipped."""
    if os.geteuid() != 0 or not Path("/dev/fuse").exists():
        pytest.skip("only root can mount a volume to fill it, where there is /dev/fuse")
    folder = path.with_suffix(".mount")
    folder.mkdir(exist_ok=True)
    tool(*command, path, folder)
    try:
        yield folder
    finally:
        tool("umount", folder)


def make_ntfs(path: Path, tree: Path, *options: str, size: int = 24 << 20) -> Path:
    """An NTFS volume, with a compressed, a sparse and a fragmented file besides."""
    tool("mkntfs", "-F", "-Q", "-L", "Vol", *options, blank(path, size))
    with mounted(path, "ntfs-3g", "-o", "compression") as folder:
        shutil.copytree(tree, folder, dirs_exist_ok=True)
        packed = folder / "packed"
        packed.mkdir()
        os.setxattr(packed, "system.ntfs_attrib_be", bytes.fromhex("00000810"))
        (packed / "text").write_bytes(compressible())
        (packed / "noise").write_bytes(BIG[:300_001])
        with (folder / "sparse").open("wb") as sparse:
            sparse.seek(2 << 20)
            sparse.write(b"end")
        fragment(folder)
        os.utime(folder / "hello.txt", (EPOCH, EPOCH))
    return path


def fragment(folder: Path) -> None:
    """Writes a file whose fragments lie between those of others, so that its map is long."""
    with (folder / "left").open("wb") as left, (folder / "right").open("wb") as right:
        for number in range(200):
            for file in (left, right):
                file.write(fragment_content(file is left, number))
                file.flush()
                os.fsync(file.fileno())


def fragment_content(is_left: bool, number: int) -> bytes:
    """What the `number`th fragment of `left` or `right` has."""
    return bytes([number, 1 if is_left else 2]) * 2048


def fragmented(is_left: bool) -> bytes:
    """All of `left` or `right`."""
    return b"".join(fragment_content(is_left, number) for number in range(200))


def compressible() -> bytes:
    """Text with repetitions near and far, and stretches of zeros."""
    lines = b"".join(
        b"line %d of a text that repeats itself\n" % (n * n % 977) for n in range(9000)
    )
    return lines[:150_000] + bytes(200_000) + lines[100:]


def make_exfat(path: Path, tree: Path) -> Path:
    """An exFAT volume."""
    tool("mkfs.exfat", "-L", "Vol", "-c", "4K", blank(path, 32 << 20))
    with mounted(path, "mount", "-t", "exfat-fuse", "-o", "loop") as folder:
        shutil.copytree(tree, folder, dirs_exist_ok=True)
        fragment(folder)
        os.utime(folder / "hello.txt", (EPOCH, EPOCH))
    return path


def make_iso(path: Path, tree: Path, *options: str) -> Path:
    """A disc with the names that the options ask for: `-R` Rock Ridge, `-J` Joliet."""
    tool("genisoimage", "-quiet", "-V", "VOL", *options, "-o", path, tree)
    return path


def partition(path: Path, script: str, size: int, parts: Mapping[int, Path]) -> Path:
    """A disk with the partition table of an sfdisk script, and volumes put in by sector."""
    tool("sfdisk", "-q", blank(path, size), input=script.encode())
    with path.open("r+b") as disk:
        for sector, part in parts.items():
            disk.seek(sector * 512)
            disk.write(part.read_bytes())
    return path
