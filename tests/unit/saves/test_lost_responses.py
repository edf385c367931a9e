"""A manifest whose response is lost, a server that stays away, and access that is renewed."""

from __future__ import annotations

import pytest

from aero_browser_disk import open_disk
from aero_browser_disk.errors import NetworkError
from aero_browser_disk.platform.cpython import cpython_platform
from aero_browser_disk.remote.access import RenewedAccess
from aero_browser_disk.remote.retry import RetryPolicy
from aero_browser_disk.saves import SaveServer
from support.saves import SaveService

AT_ONCE = RetryPolicy(tries=2, base_s=0.0, cap_s=0.0)


@pytest.fixture
async def platform(tmp_path):
    made = cpython_platform(tmp_path)
    yield made
    await made.http.close()


@pytest.mark.parametrize("reopened", [False, True])
async def test_it_is_no_conflict_however_often_the_server_is_away(server, platform, reopened):
    url = server.url("disk.img")
    with SaveService() as service:
        there = await SaveServer.open(
            service.url, allow_remote=True, platform=platform, retry=AT_ONCE
        )
        disk = await open_disk(url, overlay="work", allow_remote=True, platform=platform)
        save = await there.attach(disk)
        lost = [[("PUT", "ok"), *[("PUT", "lost")] * 9]]
        away = [[("PUT", "ok"), *[("PUT", "drop")] * 9], [("*", "drop")] * 9]
        for number, faults in enumerate(lost + away * 2):
            await disk.write(4096 * number, bytes([number + 1]) * 4096)
            service.faults.extend(faults)
            with pytest.raises(NetworkError):
                await save.push()
            service.faults.clear()
        assert len(service.only.manifests) >= 1  # the first arrived
        if reopened:
            save.close()
            save = await there.attach(disk)
        pushed = await save.push()
        assert pushed.generation == len(service.only.manifests)
        assert (await save.push()).unchanged
        expected = await disk.read(0, disk.info.size)
        save.close()
        await disk.close()
        await there.pull("work", "copy", url=url)
        disk = await open_disk(url, overlay="copy", allow_remote=True, platform=platform)
        async with disk:
            assert await disk.read(0, disk.info.size) == expected


async def test_access_is_renewed_in_the_middle_of_a_push(server, platform):
    url = server.url("disk.img")
    renewals = []
    with SaveService(token="1") as service:

        async def renew():
            renewals.append(service.token)
            return RenewedAccess(service.url, {"Authorization": f"Bearer {service.token}"})

        headers = {"Authorization": "Bearer 0"}
        there = await SaveServer.open(
            service.url,
            allow_remote=True,
            platform=platform,
            retry=AT_ONCE,
            headers=headers,
            renew=renew,
        )
        opening = open_disk(url, overlay="work", allow_remote=True, platform=platform)
        async with opening as disk:
            save = await there.attach(disk)
            await disk.write(0, b"x" * 600_000)
            assert (await save.push()).generation == 1
            service.token = "2"
            await disk.write(0, b"y" * 600_000)
            assert (await save.push()).generation == 2
            save.close()
        service.token = "3"
        await there.pull("work", "copy", url=url)
        assert renewals == ["1", "2", "3"]


async def test_another_link_to_a_shared_save_is_a_renewal(server, platform):
    url = server.url("disk.img")
    with SaveService() as service:
        there = await SaveServer.open(service.url, allow_remote=True, platform=platform)
        opening = open_disk(url, overlay="work", allow_remote=True, platform=platform)
        async with opening as disk:
            await disk.write(0, b"x" * 5000)
            await there.push(disk)
        service.token = "now"
        link = f"{service.url}/{service.only.id}"

        async def renew():
            return RenewedAccess(f"{link}?share=new", {"Authorization": "Bearer now"})

        shared = await SaveServer.open(
            f"{link}?share=old", allow_remote=True, platform=platform, retry=AT_ONCE, renew=renew
        )
        (found,) = await shared.saves()
        assert found.id == service.only.id
        await shared.pull(found.id, "copy", url=url)
