"""Bytes are exact or there is an error, whichever layout an image has and however its server fails.

Each fault goes over the same steps with a raw image and with a prepared one.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import pytest

from aero_browser_disk.errors import DiskError
from aero_browser_disk.open_disk import open_disk
from aero_browser_disk.platform.base import Platform
from aero_browser_disk.remote.retry import RetryPolicy
from aero_browser_disk.streaming.digest_list import digests_of
from aero_browser_disk.streaming.streaming_disk import StreamingDisk
from aero_browser_disk.testing.behaviour import Behaviour
from aero_browser_disk.testing.image_server import ImageServer
from support.prepared import prepared_files

BLOCK = 16 << 10
CHUNK = 4 * BLOCK
DATA = random.Random(15).randbytes(5 * CHUNK + 999)
# Read while the server fails: it begins and ends within chunks.
START, STOP = CHUNK + 5, 4 * CHUNK + 7
TRIES = 3
FINE = asdict(Behaviour())


@dataclass(frozen=True, slots=True)
class Layout:
    """An image on a server; `wrong_at` is a byte of each file that has the bytes of the read."""

    name: str
    files: dict[str, bytes]
    wrong_at: int
    options: dict[str, Any]


RAW = Layout("disk.img", {"disk.img": DATA}, START, {"digests": digests_of([DATA], BLOCK).encode()})
PREPARED = Layout("manifest.json", prepared_files(DATA, CHUNK), 5, {})

Open = Callable[[], Awaitable[StreamingDisk]]


@pytest.fixture(params=[RAW, PREPARED], ids=["raw", "prepared"])
def layout(request: pytest.FixtureRequest) -> Layout:
    found: Layout = request.param
    return found


@pytest.fixture
def served(layout: Layout) -> Iterator[ImageServer]:
    with ImageServer(layout.files) as server:
        yield server


@pytest.fixture
async def open_it(platform: Platform, layout: Layout, served: ImageServer) -> AsyncIterator[Open]:
    opened: list[StreamingDisk] = []

    async def opener() -> StreamingDisk:
        disk = await open_disk(
            served.url(layout.name),
            allow_remote=True,
            platform=platform,
            read_ahead=False,
            block_size=BLOCK,
            retry=RetryPolicy(tries=TRIES, base_s=0.001, cap_s=0.01),
            **layout.options,
        )
        opened.append(disk)
        return disk

    yield opener
    for disk in opened:
        await disk.close()


@pytest.mark.parametrize(
    "fault",
    [
        *(Behaviour(status=status) for status in (403, 404, 429, 500, 503)),
        Behaviour(reset=True),
        Behaviour(reset_after=100),
        Behaviour(close_after=100),
        Behaviour(short_by=1),
        Behaviour(long_by=1),
        Behaviour(coding="gzip-lie"),
        Behaviour(corrupt_at=0),
    ],
    ids=lambda fault: "-".join(
        f"{name}-{value}" for name, value in asdict(fault).items() if value != FINE[name]
    ),
)
async def test_a_read_is_exact_or_an_error(
    served: ImageServer, layout: Layout, open_it: Open, fault: Behaviour
) -> None:
    if fault.corrupt_at is not None:
        fault = replace(fault, corrupt_at=layout.wrong_at)
    disk = await open_it()
    served.forget()
    served.behaviour = fault
    # A file that is proved by its name may be right whatever its headers say.
    may_be_right = fault.coding != "none" and layout is PREPARED
    try:
        assert await disk.read(START, STOP - START) == DATA[START:STOP]
        assert may_be_right
    except DiskError:
        assert not may_be_right
    assert served.requests, "it was the server that failed"
    # Nothing wrong stayed behind, and nothing was given up for good.
    served.behaviour = Behaviour()
    for _ in served.requests:  # a read may join a request that began while the server failed
        with contextlib.suppress(DiskError):
            await disk.read(START, STOP - START)
            break
    assert await disk.read(START, STOP - START) == DATA[START:STOP]
    assert await disk.read(0, len(DATA)) == DATA
    await disk.close()
    # Not on the disk either: the next visit reads what is cached there, without a server.
    served.behaviour = Behaviour(reset=True)
    again = await open_it()
    assert await again.read(0, len(DATA)) == DATA
    assert again.stats().bytes_downloaded == 0


@pytest.mark.parametrize(
    "fault",
    [Behaviour(status=503), Behaviour(status=429), Behaviour(reset=True), Behaviour(close_after=9)],
    ids=["503", "429", "reset", "closed"],
)
async def test_what_may_pass_is_tried_again(
    served: ImageServer, open_it: Open, fault: Behaviour
) -> None:
    disk = await open_it()
    for start in range(0, len(DATA), CHUNK):
        length = min(CHUNK, len(DATA) - start)
        served.fail_next(fault, times=TRIES - 1)
        assert await disk.read(start, length) == DATA[start : start + length]
        served.forget_faults()
