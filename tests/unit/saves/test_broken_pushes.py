"""Pushes that are given up at any point: none makes half a save, and the next one goes on."""

from __future__ import annotations

import asyncio
import contextlib
import random

import pytest

from aero_browser_disk import open_disk
from aero_browser_disk.saves import SaveServer
from support.saves import SaveService


@pytest.mark.parametrize("seed", range(2))
async def test_a_push_that_is_given_up_anywhere_is_continued(server, platform, seed):
    moments = random.Random(seed)
    url = server.url("disk.img")
    with SaveService() as service:
        for round_number in range(8):
            async with await open_disk(
                url, overlay="work", allow_remote=True, platform=platform
            ) as disk:
                there = await SaveServer.open(service.url, allow_remote=True, platform=platform)
                for _ in range(5):
                    offset = moments.randrange(700) * 4096
                    await disk.write(offset, moments.randbytes(moments.choice([512, 90_000])))
                pushing = asyncio.ensure_future(there.push(disk))
                for _ in range(moments.randrange(2000)):
                    await asyncio.sleep(0)
                pushing.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await pushing
                if round_number % 4 != 3:
                    continue
                await there.push(disk)
                expected = await disk.read(0, disk.info.size)
                name = f"copy {round_number}"
                await there.pull("work", name, url=url)
            async with await open_disk(
                url, overlay=name, allow_remote=True, platform=platform
            ) as copy:
                assert await copy.read(0, copy.info.size) == expected
