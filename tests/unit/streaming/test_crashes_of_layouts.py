"""A process that dies at any instant leaves a cache that is exact, whichever layout an image has.

Two versions of an image are read in turn, and the storage dies in each of its changes. The long
form dies in every one: ./scripts/test --fuzz 100 tests/unit/streaming/test_crashes_of_layouts.py
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import pytest

from aero_browser_disk.cache.block_store import BlockStore
from aero_browser_disk.open_disk import open_disk
from aero_browser_disk.platform.base import Platform
from aero_browser_disk.platform.memory import MemoryLocks
from aero_browser_disk.streaming.digest_list import digests_of
from aero_browser_disk.testing.failing_files import FATES, FailingStorage, PowerCutError
from aero_browser_disk.testing.image_server import ImageServer
from support.crashes import a_power_cut
from support.fuzz import fuzz, rounds
from support.prepared import prepared_files

BLOCK = 4 << 10
CHUNK = 2 * BLOCK
SIZE = 5 * CHUNK + 999
KEY = "crashes"


def content(version: int) -> bytes:
    """Two versions have the same bytes, but for two chunks; one chunk is zeros."""
    data = bytearray(random.Random(15).randbytes(SIZE))
    data[CHUNK : 2 * CHUNK] = bytes(CHUNK)
    if version == 2:
        data[3 * CHUNK : 4 * CHUNK] = random.Random(16).randbytes(CHUNK)
        data[-10:] = b"the second"
    return bytes(data)


CONTENT = {version: content(version) for version in (1, 2)}


@dataclass(frozen=True, slots=True)
class Layout:
    """How both versions are served: the files, and what opening them takes."""

    name: str
    files: dict[int, dict[str, bytes]]
    options: dict[int, dict[str, Any]]


LAYOUTS = {
    "raw": Layout(
        "disk.img",
        {version: {"disk.img": data} for version, data in CONTENT.items()},
        {
            version: {"digests": digests_of([data], BLOCK).encode()}
            for version, data in CONTENT.items()
        },
    ),
    "prepared": Layout(
        "manifest.json",
        {
            version: prepared_files(data, CHUNK, boot_blocks=[0])
            for version, data in CONTENT.items()
        },
        {1: {}, 2: {}},
    ),
}


class Lasting:
    """Files that die, as a storage that lasts."""

    kind: Literal["opfs"] = "opfs"

    def __init__(self, files: FailingStorage) -> None:
        self.files = files

    def __getattr__(self, name: str) -> Any:
        return getattr(self.files, name)


class Machine:
    """Opens and reads the versions on one storage, until that dies."""

    def __init__(self, platform: Platform, server: ImageServer, layout: Layout) -> None:
        self._platform = platform
        self._server = server
        self._layout = layout

    def serve(self, version: int) -> None:
        for name, data in self._layout.files[version].items():
            if name in self._server.images:
                self._server.image(name).replace(data)
            else:
                self._server.add(name, data)

    async def session(self, files: FailingStorage, version: int) -> int:
        """Reads all of a version in parts that cross blocks; returns the bytes downloaded."""
        self.serve(version)
        platform = replace(self._platform, storage=Lasting(files), locks=MemoryLocks())
        disk = await open_disk(
            self._server.url(self._layout.name),
            allow_remote=True,
            platform=platform,
            cache_key=KEY,
            block_size=BLOCK,
            read_ahead=False,
            **self._layout.options[version],
        )
        try:
            for start in range(0, SIZE, 5000):
                stop = min(SIZE, start + 5000)
                assert await disk.read(start, stop - start) == CONTENT[version][start:stop]
            return disk.stats().bytes_downloaded
        finally:
            await disk.close()

    async def both(self, files: FailingStorage) -> None:
        for version in (1, 2):
            await self.session(files, version)

    async def dies_at(self, change: int) -> FailingStorage:
        """A storage that died in that change."""
        files = FailingStorage()
        files.cut_power_at(change)
        running = asyncio.ensure_future(self.both(files))
        # A read whose request died with the storage waits for ever, as its process is gone.
        while not running.done() and files.changes < change:
            await asyncio.wait([running], timeout=0.001)
        running.cancel()
        with contextlib.suppress(PowerCutError, asyncio.CancelledError):
            await running
        return files


@pytest.fixture(params=LAYOUTS)
def layout(request: pytest.FixtureRequest) -> Layout:
    return LAYOUTS[request.param]


@pytest.fixture
def server() -> Iterator[ImageServer]:
    with ImageServer() as started:
        yield started


def quiet_when_dying(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Lets tasks die with the storage; a dead process has nobody to tell."""
    if not isinstance(context.get("exception"), PowerCutError):
        loop.default_exception_handler(context)


async def check_blocks(files: FailingStorage) -> None:
    """All that the store has is exact, and of one version."""
    folders = {path.rpartition("/")[0] for path in files.paths if path.endswith("/journal")}
    for folder in folders:
        store = await BlockStore.open(Lasting(files), folder)
        versions = set(CONTENT)
        try:
            for block in list(store.slot_of if store.image else ()):
                assert store.image is not None
                found = bytearray(store.image.block_length(block))
                if store.read_into(block, 0, found):
                    at = slice(block * BLOCK, block * BLOCK + len(found))
                    versions = {version for version in versions if CONTENT[version][at] == found}
            assert versions, "no version has these blocks"
        finally:
            store.close()


@fuzz
async def test_it_may_die_in_any_change(
    platform: Platform, server: ImageServer, layout: Layout
) -> None:
    asyncio.get_running_loop().set_exception_handler(quiet_when_dying)
    machine = Machine(platform, server, layout)
    whole = FailingStorage()
    await machine.both(whole)
    step = max(1, 4 // rounds(1))
    chance = random.Random(3)
    for change in range(1, whole.changes + 1, step):
        died = await machine.dies_at(change)
        outcomes = [died.after_kill(0), died.after_kill()]
        outcomes += [died.after_power_cut(a_power_cut(died, chance)) for _ in FATES]
        for left in outcomes:
            await check_blocks(left)
        after = chance.choice(outcomes)
        await machine.session(after, 2)
        downloaded = await machine.session(after, 2)
        assert downloaded <= BLOCK, "all is cached but for the block that checks a raw image"
