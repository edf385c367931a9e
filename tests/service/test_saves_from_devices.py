"""Two devices and the real service: what Python's half of saves sends is what the service takes."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from aero_browser_disk import open_disk
from aero_browser_disk.errors import NoSuchSaveError, SaveConflictError, SaveRefusedError
from aero_browser_disk.platform.base import Platform
from aero_browser_disk.platform.cpython import cpython_platform
from aero_browser_disk.saves import SaveServer
from aero_browser_disk.testing.image_server import ImageServer
from support.samples import IMAGE

from .conftest import RunningService
from .save_client import EVERY_SCOPE, save_options, token


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    kept = tmp_path_factory.mktemp("saves")
    (kept / "images").mkdir()
    with RunningService(kept / "images", *save_options(kept, generations=3)) as running:
        yield running


@pytest.fixture
def url() -> Iterator[str]:
    with ImageServer({"disk.img": IMAGE}) as server:
        yield server.url("disk.img")


@pytest.fixture
async def platforms(tmp_path: Path) -> AsyncIterator[list[Platform]]:
    made = [cpython_platform(tmp_path / name) for name in ("one", "two")]
    yield made
    for platform in made:
        await platform.http.close()


@pytest.fixture
def devices(service: RunningService, platforms: list[Platform], url: str) -> Any:
    class Devices:
        """What two devices of one user, or of two, do."""

        async def there(self, number: int, who: str = "", scope: str = EVERY_SCOPE) -> SaveServer:
            headers = {"Authorization": f"Bearer {token(who or self.who, scope)}"}
            return await SaveServer.open(
                f"{service.url}/v1/saves",
                allow_remote=True,
                headers=headers,
                platform=platforms[number],
                device=f"device {number}",
            )

        async def disk(self, number: int, overlay: str = "work") -> Any:
            return await open_disk(
                url, overlay=overlay, allow_remote=True, platform=platforms[number]
            )

        who = f"user-{random.random()}"

    return Devices()


async def test_a_save_travels_conflicts_and_is_shared(devices, service, platforms, url):
    data = random.Random(1).randbytes(700_000)
    async with await devices.there(0) as there, await devices.disk(0) as disk:
        await disk.write(10_000, data)
        save = await there.attach(disk)
        first = await save.push()
        await disk.write(20_480, b"x" * 4096)
        second = await save.push()
        save.close()
        assert (first.generation, second.generation, second.changed_bytes) == (1, 2, 4096)
        assert [one.generation for one in await there.generations("work")] == [2, 1]
        (listed,) = await there.saves()
        assert (listed.name, listed.device, listed.generation) == ("work", "device 0", 2)
        assert await there.saves("another version") == []
        expected = await disk.read(0, disk.info.size)

    async with await devices.there(1) as there:
        await there.pull("work", "work", url=url)
        await there.pull("work", "before", url=url, generation=1)
        async with await devices.disk(1) as disk:
            assert await disk.read(0, disk.info.size) == expected
            await disk.write(0, b"theirs")
            assert (await there.push(disk)).generation == 3
        async with await devices.disk(1, "before") as disk:
            assert await disk.read(10_000, 700_000) == data

    async with await devices.there(0) as there, await devices.disk(0) as disk:
        assert (await there.push(disk, "a copy")).generation == 1  # of a save of its own
        await disk.write(0, b"mine")
        await there.remove("a copy")
        with pytest.raises(SaveConflictError) as caught:
            await there.push(disk, "work")
        assert (caught.value.theirs_generation, caught.value.theirs_device) == (3, "device 1")
        share = await there.share("work", 3600)

    async with SaveServer.open(share.url, allow_remote=True, platform=platforms[0]) as shared:
        (found,) = await shared.saves()
        await shared.pull("work", "shared", url=url)
        await shared.pull(found.id, "shared by id", url=url)
        with pytest.raises(NoSuchSaveError):
            await shared.find("another one")
    async with await devices.disk(0, "shared") as disk:
        assert await disk.read(0, 6) == b"theirs"
    async with await devices.there(0) as there:
        await there.end_shares("work")
        async with SaveServer.open(share.url, allow_remote=True, platform=platforms[0]) as shared:
            with pytest.raises(NoSuchSaveError):
                await shared.pull(found.id, "again", url=url)
        await there.remove("work", generation=2)
        with pytest.raises(SaveRefusedError):
            await there.remove("work", generation=3)
        await there.remove("work")
        assert await there.saves() == []


async def test_what_others_and_scopes_may_not(devices, url):
    async with await devices.there(0) as there, await devices.disk(0) as disk:
        await disk.write(0, b"mine")
        await there.push(disk)
        (save,) = await there.saves()
    async with await devices.there(1, "somebody else") as others:
        assert await others.saves() == []
        for name in ("work", save.id):
            with pytest.raises(NoSuchSaveError):
                await others.pull(name, "x", url=url)
    async with await devices.there(0, scope="disk:read") as reader:
        await reader.pull("work", "copy", url=url)
        with pytest.raises(SaveRefusedError) as caught:
            await reader.remove("work")
        assert caught.value.status == 403
