"""The worker's operations: plain values in, plain responses out, whatever happens."""

from __future__ import annotations

import inspect
import re
from functools import partial

import pytest

from aero_browser_disk.open_disk import open_disk
from aero_browser_disk.remote.retry import RetryPolicy
from aero_browser_disk.testing.behaviour import Behaviour
from aero_browser_disk.worker.worker import Worker
from support.samples import IMAGE


@pytest.fixture
def worker(platform) -> Worker:
    return Worker(partial(open_disk, platform=platform, retry=RetryPolicy(tries=1)))


async def value(worker: Worker, operation: str, **values):
    response = await worker.call(operation, values)
    assert "error" not in response, response
    return response["value"]


async def error(worker: Worker, operation: str, **values):
    return (await worker.call(operation, values))["error"]


async def test_a_disk_is_opened_read_counted_and_closed(worker, server):
    opened = await value(worker, "disk.open", url=server.url("disk.img"), allowRemote=True)
    assert opened["size"] == IMAGE.size
    assert opened["blockSize"] == 16384
    assert opened["readOnly"] is True
    disk = opened["disk"]
    assert await value(worker, "disk.read", disk=disk, offset=10, length=20) == IMAGE.read(10, 20)
    stats = await value(worker, "disk.stats", disk=disk)
    assert stats["bytesRead"] == 20
    assert stats["cachedBlocks"] == 1
    await value(worker, "disk.clearCache", disk=disk)
    assert (await value(worker, "disk.stats", disk=disk))["cachedBytes"] == 0
    await value(worker, "disk.close", disk=disk)
    await value(worker, "disk.close", disk=disk)
    assert (await error(worker, "disk.read", disk=disk, offset=0, length=1))["name"] == (
        "DiskClosedError"
    )


async def test_every_option_reaches_the_disk(worker, server):
    await value(
        worker,
        "disk.open",
        url=server.url("disk.img"),
        allowRemote=True,
        cacheLimitBytes=4096,
        blockSize=4096,
        cacheKey="k",
        headers={"X-A": "b"},
        credentials="omit",
        timeoutS=5,
    )
    assert server.requests[0].headers["x-a"] == "b"


async def test_the_gate_is_python_s(worker, server):
    failure = await error(worker, "disk.open", url=server.url("disk.img"))
    assert failure["name"] == "RemoteImagesDisabledError"
    assert server.requests == []


@pytest.mark.parametrize(
    "options",
    [
        {"allowRemote": 1},
        {"blockSize": 4096.5},
        {"blockSize": True},
        {"cacheLimitBytes": "much"},
        {"headers": "X: y"},
        {"nonsense": 1},
        {"retry": {"tries": "many"}},
        {"retry": {"tries": 1.5}},
        {"retry": {"baseS": None}},
        {"url": None},
    ],
)
async def test_an_option_of_the_wrong_kind_is_named(worker, server, options):
    values = {"url": server.url("disk.img"), "allowRemote": True, **options}
    failure = await error(worker, "disk.open", **values)
    assert failure["name"] == "InvalidOptionError"
    assert failure["fields"]["option"] in options
    assert server.requests == []


@pytest.mark.parametrize(("offset", "length"), [(0.5, 1), ("0", 1), (0, None), (True, 1)])
async def test_a_read_takes_whole_numbers(worker, server, offset, length):
    opened = await value(worker, "disk.open", url=server.url("disk.img"), allowRemote=True)
    failure = await error(worker, "disk.read", disk=opened["disk"], offset=offset, length=length)
    assert failure["name"] == "InvalidOptionError"


async def test_an_error_s_fields_come_in_camel_case(worker, server):
    server.behaviour = Behaviour(status=404)
    failure = await error(worker, "disk.open", url=server.url("disk.img"), allowRemote=True)
    assert failure["name"] == "HttpStatusError"
    assert failure["fields"] == {
        "url": server.url("disk.img"),
        "status": 404,
        "retryAfterS": None,
    }
    assert "404" in failure["message"]


async def test_a_defect_gets_a_response_too(worker):
    async def broken():
        raise ZeroDivisionError("a defect of ours")

    worker._operations["test.broken"] = broken
    failure = await error(worker, "test.broken")
    assert failure["name"] == "InternalError"
    assert "a defect of ours" in failure["message"]


async def test_an_operation_that_there_is_not_is_named(worker):
    failure = await error(worker, "no.such.operation")
    assert failure["name"] == "InvalidOptionError"
    assert failure["fields"]["value"] == "no.such.operation"


# ── the panel ─────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
async def panel(worker, server):
    """The worker with remote images on and the address filled in."""
    await value(worker, "panel.setRemote", enabled=True)
    await value(worker, "panel.setUrl", url=server.url("disk.img"))
    return worker


async def test_the_panel_opens_reads_clears_and_closes(panel):
    assert (await value(panel, "panel.open"))["phase"] == "open"
    response = await value(panel, "panel.read", offset="0x200", length="1 KiB")
    assert response["bytes"] == IMAGE.read(512, 1024)
    assert response["view"]["error"] is None
    assert (await value(panel, "panel.clearCache"))["cache"]["value"] == 0
    assert (await value(panel, "panel.close"))["phase"] == "closed"


async def test_the_panel_opens_nothing_while_remote_images_are_off(worker, server):
    await value(worker, "panel.setUrl", url=server.url("disk.img"))
    view = await value(worker, "panel.open")
    assert view["phase"] == "closed"
    assert view["error"]["name"] == "RemoteImagesDisabledError"
    assert server.requests == []


async def test_turning_remote_images_off_closes_the_image(panel):
    await value(panel, "panel.open")
    assert (await value(panel, "panel.setRemote", enabled=False))["phase"] == "closed"


async def test_opening_can_be_given_up(panel, server):
    import asyncio

    server.behaviour = Behaviour(stall=True)
    opening = asyncio.ensure_future(value(panel, "panel.open"))
    await asyncio.to_thread(server.wait_for, lambda s: s.in_flight == 1)
    assert (await value(panel, "panel.view"))["phase"] == "opening"
    assert (await value(panel, "panel.close"))["phase"] == "closed"
    assert (await opening)["phase"] == "closed"
    server.behaviour = Behaviour()
    server.release()
    assert (await value(panel, "panel.open"))["phase"] == "open"


async def test_what_goes_wrong_is_shown_and_the_image_stays_open(panel, server):
    await value(panel, "panel.open")
    response = await value(panel, "panel.read", offset="0", length="1 TiB")
    assert "bytes" not in response
    assert response["view"]["error"]["name"] == "InvalidOptionError"
    server.fail_next(Behaviour(status=500))
    response = await value(panel, "panel.read", offset="2 MiB", length="1")
    assert response["view"]["error"]["name"] == "HttpStatusError"
    assert response["view"]["phase"] == "open"


async def test_a_failed_opening_is_shown(panel, server):
    server.behaviour = Behaviour(status=403)
    view = await value(panel, "panel.open")
    assert view["phase"] == "closed"
    assert view["error"]["name"] == "HttpStatusError"


ODD = [None, True, -1, 2**53, 2**70, 0.5, float("nan"), "", "no such thing", b"", [], {}, object()]
# What JavaScript may ask for. The page's own events are between its two halves.
PUBLIC = re.compile(r"(disk|files|library|shared|doctor)\.")


@pytest.mark.parametrize("operation", sorted(filter(PUBLIC.match, Worker()._operations)))
async def test_odd_values_are_errors_of_ours(platform, operation):
    """Each value of each operation in turn, the others being right or as odd."""

    async def platform_of_page():
        return platform

    worker = Worker(partial(open_disk, platform=platform), platform_of_page)
    await value(worker, "library.create", name="blank", size=1 << 20)
    disk = (await value(worker, "disk.open", image="blank"))["disk"]
    right = {"disk": disk, "name": "blank", "image": "blank", "offset": 0, "length": 512}
    parameters = inspect.signature(worker._operations[operation]).parameters.values()
    names = [found.name for found in parameters if found.kind is not found.VAR_KEYWORD]
    calls = [{}, {"nonsense": 1}, *({name: odd} for name in names for odd in ODD)]
    for call in calls:
        for others in ({}, {name: right[name] for name in names if name in right}):
            response = await worker.call(operation, {**others, **call})
            failure = response.get("error", {"name": "", "message": ""})
            assert failure["name"] != "InternalError", (call, failure["message"])
