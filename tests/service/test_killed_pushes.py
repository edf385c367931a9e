"""Devices and services that are killed by signals during pushes: folder and bucket.

No push that returned is lost, no save is between two generations, and both sides go on when they
are started again. Many rounds: `./scripts/test --fuzz 300`.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, suppress
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
PATIENCE_S = 300
MANY = 40


@pytest.fixture(params=["folder", "bucket"])
def start(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], RunningService]:
    """Starts the service, each time at the same address and with what it had."""
    (tmp_path / "images").mkdir()
    where = {}
    if request.param == "bucket":
        bucket: Bucket = request.getfixturevalue("bucket")
        address = bucket.address
        where = {"bucket": address.url, "endpoint": address.endpoint, "region": address.region}
    options = [*save_options(tmp_path, **where), "--port", str(free_port())]
    return lambda: RunningService(tmp_path / "images", *options)


class Devices:
    """Starts one device again and again, and notes what it was told."""

    def __init__(self, folder: Path, image: str, server: str) -> None:
        self.acknowledged = 0
        self._complaints = folder.with_name("complaints.txt")
        self._command = [sys.executable, SCRIPT, folder, image, server]

    def start(self, batches: int, dies: float = 0.0) -> subprocess.Popen[str]:
        # A token lasts an hour, many rounds longer.
        command = [*map(str, self._command), token("ann"), str(dies), str(batches)]
        with self._complaints.open("w") as complaints:
            return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=complaints, text=True)

    def read_acknowledgement(self, device: subprocess.Popen[str]) -> None:
        """Waits until a push of this device was acknowledged."""
        assert device.stdout
        line = device.stdout.readline()
        assert line, self._complaints.read_text()
        self._note(line)

    def end(self, device: subprocess.Popen[str]) -> int:
        """Waits for its end, by itself or by a signal; returns its status."""
        assert device.stdout
        with device.stdout as lines:
            for line in lines:
                self._note(line)
        status = device.wait(PATIENCE_S)
        assert status in (0, -signal.SIGALRM, -signal.SIGKILL), self._complaints.read_text()
        return status

    def _note(self, line: str) -> None:
        self.acknowledged = max(self.acknowledged, int(line.split(maxsplit=1)[0]))


@fuzz
def test_kills_on_either_side_lose_no_acknowledged_push(
    start: Callable[[], RunningService], tmp_path: Path
) -> None:
    chance = random.Random(19)
    blank = bytes(client.SIZE)
    killed: Counter[str] = Counter()
    sides = ["device", "service", "both"]
    with ImageServer({"disk.img": blank}) as images, ExitStack() as running:
        service = running.enter_context(start())
        url, there = images.url("disk.img"), f"{service.url}/v1/saves"
        devices = Devices(tmp_path / "device", url, there)
        for turn in range(max(len(sides), rounds(3))):
            side = sides[turn] if turn < len(sides) else chance.choice(sides)
            if side == "device":
                device = devices.start(MANY, dies=chance.choice([0.001, 0.02, 0.1, 0.3, 0.8]))
            else:
                device = devices.start(8 if side == "service" else MANY)
                devices.read_acknowledgement(device)
                with suppress(subprocess.TimeoutExpired):
                    device.wait(chance.random() * chance.choice([0.05, 0.3, 1.0]))
                service.process.kill()
                if side == "both":
                    device.kill()
                service.end()
                service = running.enter_context(start())
                assert f"{service.url}/v1/saves" == there
            killed[side] += 1
            if devices.end(device) == 0:
                killed["went on"] += 1
            check(devices, blank, url, there, tmp_path)
        assert devices.end(devices.start(1)) == 0  # nobody is killed
        check(devices, blank, url, there, tmp_path)
        running.pop_all().close()
    print(f"killed: {dict(killed)}; acknowledged batches: {devices.acknowledged}")
    assert killed["device"]
    assert killed["service"]
    assert killed["both"]
    assert killed["went on"]


def check(devices: Devices, blank: bytes, url: str, there: str, folder: Path) -> None:
    """The save is whole, and at least as new as what was acknowledged."""
    copy = folder / "copy"
    found = asyncio.run(pulled(copy, url, there))
    shutil.rmtree(copy, ignore_errors=True)  # nothing was pulled before the first push
    if found is None:
        assert not devices.acknowledged
        return
    number = client.batch_of(found)
    assert number >= devices.acknowledged
    assert found == client.after(blank, number)


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


def free_port() -> int:
    """One that no connection is given by chance: below those (`ip_local_port_range`)."""
    chance = random.Random()
    while True:
        port = chance.randrange(20_000, 30_000)
        with socket.socket() as tried, suppress(OSError):
            tried.bind(("127.0.0.1", port))
            return port
