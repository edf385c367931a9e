"""A device that writes and pushes until it is killed: run by `test_killed_pushes.py`.

A batch writes its number at the start of the disk, and noise wherever `plan` says; one flush makes
all of it durable. A line on standard output says which batch was pushed. While the server is away a
push is tried again.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import struct
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from aero_browser_disk import open_disk
from aero_browser_disk.errors import NetworkError
from aero_browser_disk.platform.cpython import cpython_platform
from aero_browser_disk.saves import SaveServer

T = TypeVar("T")

SIZE = 4 << 20
_NUMBER = struct.Struct("<Q")


def plan(number: int) -> list[tuple[int, bytes]]:
    """What a batch writes: offsets and bytes."""
    chance = random.Random(number)
    writes = [(0, _NUMBER.pack(number))]
    for _ in range(6):
        offset = 4096 * chance.randrange(1, SIZE // 4096 - 40)
        writes.append((offset, chance.randbytes(512 * chance.randrange(1, 300))))
    return writes


def batch_of(content: bytes) -> int:
    """The batch that was written last."""
    return int(_NUMBER.unpack_from(content)[0])


def after(content: bytes, number: int) -> bytes:
    """The disk after all batches up to this one."""
    expected = bytearray(content)
    for batch in range(1, number + 1):
        for offset, data in plan(batch):
            expected[offset : offset + len(data)] = data
    return bytes(expected)


async def _run(
    folder: str, image: str, server: str, headers: dict[str, str], dies: float, batches: int
) -> None:
    platform = cpython_platform(Path(folder))
    opening = open_disk(image, overlay="work", allow_remote=True, platform=platform)
    async with opening as disk:
        there = await SaveServer.open(server, allow_remote=True, headers=headers, platform=platform)
        save = await _until_there(lambda: there.attach(disk))
        if dies:
            signal.setitimer(signal.ITIMER_REAL, dies)  # nobody handles SIGALRM: it ends a process
        number = batch_of(await disk.read(0, _NUMBER.size))
        for _ in range(batches):
            number += 1
            for offset, data in plan(number):
                await disk.write(offset, data)
            await disk.flush()
            pushed = await _until_there(save.push)
            os.write(1, f"{number} {pushed.generation}\n".encode())
        signal.setitimer(signal.ITIMER_REAL, 0)
        save.close()
    await platform.http.close()


async def _until_there(ask: Callable[[], Awaitable[T]]) -> T:
    """The result, once the server is there."""
    while True:
        try:
            return await ask()
        except NetworkError:
            await asyncio.sleep(0.05)


if __name__ == "__main__":
    folder, image, server, token, dies, batches = sys.argv[1:]
    headers = {"Authorization": f"Bearer {token}"}
    asyncio.run(_run(folder, image, server, headers, float(dies), int(batches)))
