"""Devices that are killed by a signal while they push to the real service: folder and bucket.

No push that returned is lost, no save is between two, and the next start of the device goes on.
Many rounds: `./scripts/test --fuzz 300`.
"""

from __future__ import annotations

import asyncio
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from aero_browser_disk import open_disk
from aero_browser_disk.platform.cpython import cpython_platform
from aero_browser_disk.saves import SaveServer
from aero_browser_disk.testing.image_server import ImageServer
from support.fuzz import fuzz, rounds

from . import killed_save_client as client
from .conftest import RunningService
from .object_server import Bucket
from .save_client import save_options, token

SCRIPT = Path(client.__file__)


@pytest.fixture(params=["folder", "bucket"])
def service(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RunningService]:
    (tmp_path / "images").mkdir()
    where = {}
    if request.param == "bucket":
        bucket: Bucket = request.getfixturevalue("bucket")
        address = bucket.address
        where = {"bucket": address.url, "endpoint": address.endpoint, "region": address.region}
    with RunningService(tmp_path / "images", *save_options(tmp_path, **where)) as running:
        yield running


@fuzz
def test_a_device_killed_while_it_pushes_loses_nothing(
    service: RunningService, tmp_path: Path
) -> None:
    chance = random.Random(19)
    acknowledged = died = 0
    blank = bytes(client.SIZE)
    few = rounds(4)
    with ImageServer({"disk.img": blank}) as images:
        url, there = images.url("disk.img"), f"{service.url}/v1/saves"
        arguments = [sys.executable, SCRIPT, tmp_path / "device", url, there, token("ann")]
        for turn in range(few + 1):
            # The last one is not killed.
            dies = 0.0 if turn == few else chance.choice([0.001, 0.02, 0.1, 0.3, 0.8])
            ended = subprocess.run(
                [*arguments, str(dies)], capture_output=True, text=True, check=False, timeout=300
            )
            assert ended.returncode in (0, -signal.SIGALRM), ended.stderr
            died += ended.returncode != 0
            lines = [line.split() for line in ended.stdout.splitlines()]
            acknowledged = max([acknowledged, *(int(line[0]) for line in lines)])
            found = asyncio.run(pulled(tmp_path / f"copy {turn}", url, there))
            if found is None:
                assert not acknowledged
                continue
            number = client.batch_of(found)
            assert number >= acknowledged
            assert found == client.after(blank, number)
    assert acknowledged
    assert died


async def pulled(folder: Path, url: str, server: str) -> bytes | None:
    """The disk as the save has it, verified as a whole; None before the first push."""
    platform = cpython_platform(folder)
    headers = {"Authorization": f"Bearer {token('ann')}"}
    try:
        there = await SaveServer.open(server, allow_remote=True, headers=headers, platform=platform)
        saves = await there.saves()
        if not saves or not saves[0].generation:
            return None
        await there.pull("work", "copy", url=url)
        opening = open_disk(url, overlay="copy", allow_remote=True, platform=platform)
        async with opening as disk:
            return await disk.read(0, disk.info.size)
    finally:
        await platform.http.close()
