"""A small file system of its own, which can really be full."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_device(tmp_path: Path, kind: str, size: int) -> Iterator[Path]:
    """A folder on a file system of `size` bytes, `tmpfs` or `ext4`.

    Skips the test, with the reason, where none may be mounted.
    """
    folder = tmp_path / "device"
    folder.mkdir()
    options = [f"-osize={size}", "tmpfs"]
    if kind == "ext4":
        if shutil.which("mkfs.ext4") is None:
            pytest.skip("there is no mkfs.ext4 here")
        image = tmp_path / "device.img"
        with image.open("wb") as file:
            file.truncate(size)
        subprocess.run(["mkfs.ext4", "-q", "-m0", image], check=True)
        options = ["-oloop", str(image)]
    mounting = subprocess.run(
        ["mount", "-t", kind, *options, folder], capture_output=True, text=True, check=False
    )
    if mounting.returncode:
        pytest.skip(f"nothing can be mounted here: {mounting.stderr.strip()}")
    try:
        yield folder
    finally:
        # Lazy: a test that failed may have left files open.
        subprocess.run(["umount", "--lazy", folder], check=True)


@contextmanager
def filled_device(folder: Path, *, left: int = 0) -> Iterator[None]:
    """Lets the device that a folder is on be full, but for about `left` bytes, for a while."""
    filling = folder / "filling"
    with filling.open("wb", buffering=0) as file:
        length = 1 << 20
        while length:
            try:
                file.write(bytes(length))
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                length //= 2
        os.fsync(file.fileno())
        file.truncate(max(0, file.tell() - left))
        os.fsync(file.fileno())
    try:
        yield
    finally:
        filling.unlink(missing_ok=True)
