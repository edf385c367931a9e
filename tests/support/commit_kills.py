"""Kills a commit into a file before each of its operations, and looks what is left.

    python -m support.commit_kills FOLDER

Prints the number of kills. A process of its own, as it forks.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from itertools import count
from pathlib import Path

from aero_browser_disk import Library, open_disk
from aero_browser_disk.platform import cpython_platform
from aero_browser_disk.platform.base import Platform

BASE = bytes(range(256)) * 1024
WRITES = {1000: b"one" * 1000, 200_000: b"two" * 5000}
EXPECTED = bytearray(BASE)
for _offset, _data in WRITES.items():
    EXPECTED[_offset : _offset + len(_data)] = _data
EXPECTED[4096:8192] = bytes(4096)
CHANGING = {"open", "os.chmod", "os.chown", "os.remove", "os.rename", "os.truncate"}


def platform_in(folder: Path) -> Platform:
    return cpython_platform(folder / "cache", folder / "data")


async def write(folder: Path) -> None:
    (folder / "disk.img").write_bytes(BASE)
    platform = platform_in(folder)
    async with open_disk(path=folder / "disk.img", overlay="work", platform=platform) as disk:
        for offset, data in WRITES.items():
            await disk.write(offset, data)
        await disk.discard(4096, 4096)
    await platform.http.close()


async def commit(folder: Path) -> None:
    platform = platform_in(folder)
    async with Library.open(platform) as library:
        await library.commit_to_path(folder / "disk.img", "work")
    await platform.http.close()


async def content(folder: Path) -> bytes:
    platform = platform_in(folder)
    async with open_disk(path=folder / "disk.img", overlay="work", platform=platform) as disk:
        found = await disk.read(0, disk.info.size)
    await platform.http.close()
    return found


def kill_before(operation: int, folder: Path) -> bool:
    """Commits in a process that is killed before that operation on a file; returns if it was."""
    if not (child := os.fork()):
        seen = count()

        def hook(event: str, arguments: tuple[object, ...]) -> None:
            if event in CHANGING and str(folder) in str(arguments[0]) and next(seen) == operation:
                os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(hook)
        asyncio.run(commit(folder))
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def main(folder: Path) -> None:
    states = set()
    for operation in count():
        there = folder / str(operation)
        there.mkdir()
        asyncio.run(write(there))
        if not kill_before(operation, there):
            break
        left = (there / "disk.img").read_bytes()
        assert left in (BASE, EXPECTED), "the file is neither the old nor the new one"
        states.add(left == EXPECTED)
        asyncio.run(commit(there))
        assert (there / "disk.img").read_bytes() == EXPECTED
        assert asyncio.run(content(there)) == EXPECTED
    assert states == {False, True}, "no kill was before or none after the file was replaced"
    print(operation)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
