"""Images that QEMU's own tools make and judge."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
from pathlib import Path

import pytest

MIB = 1 << 20

needs_qemu = pytest.mark.skipif(not shutil.which("qemu-img"), reason="qemu-utils is not there")


def qemu_img(*arguments: object) -> None:
    """Runs `qemu-img`; it must succeed."""
    _run("qemu-img", *map(str, arguments))


def qemu_io(image: Path, image_format: str, *commands: str) -> None:
    """Reads and writes an image as a guest would: `write -P 7 64k 4k`."""
    asked = [part for command in commands for part in ("-c", command)]
    _run("qemu-io", "-f", image_format, *asked, str(image))


def same_disk(first: Path, first_format: str, second: Path, second_format: str) -> bool:
    """Whether two images hold the same disk, its size included, by `qemu-img compare`."""
    done = subprocess.run(
        ["qemu-img", "compare", "-f", first_format, "-F", second_format, first, second],
        capture_output=True,
        text=True,
    )
    assert done.returncode in (0, 1), done.stderr
    same_size = disk_size(first, first_format) == disk_size(second, second_format)
    return done.returncode == 0 and same_size


def disk_size(image: Path, image_format: str) -> int:
    """Bytes of the disk in an image."""
    found = json.loads(_run("qemu-img", "info", "--output=json", "-f", image_format, str(image)))
    size = found["virtual-size"]
    assert isinstance(size, int)
    return size


def patchy_disk(path: Path, size: int = 6 * MIB, seed: int = 5) -> Path:
    """A raw image of runs of noise, text and zeros of many lengths, most of it holes."""
    chance = random.Random(seed)
    with path.open("wb") as file:
        file.truncate(size)
        for _ in range(40):
            length = chance.choice([1, 511, 512, 4096, 5000, 65536, 70000, 300_000])
            offset = chance.randrange(size - length)
            file.seek(offset)
            kind = chance.randrange(3)
            if kind == 0:
                file.write(chance.randbytes(length))
            elif kind == 1:
                file.write((b"the quick brown fox " * (length // 20 + 1))[:length])
            else:
                file.write(bytes(length))
        for offset in (0, size - 512):
            file.seek(offset)
            file.write(chance.randbytes(512))
    return path


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout
