"""Imports that break off: kept, continued, or gone."""

from __future__ import annotations

import asyncio
import gzip
import random
from dataclasses import replace

import pytest

from aero_browser_disk.errors import (
    ImageBusyError,
    InvalidOptionError,
    SourceChangedError,
    SourceError,
    StorageFullError,
    UnfinishedImportError,
    UnsupportedImageError,
)
from aero_browser_disk.formats.recognition import TAIL_LENGTH
from aero_browser_disk.library.library import Library
from aero_browser_disk.platform.byte_source import (
    BytesSource,
    SourceIdentity,
    stream_of,
)
from aero_browser_disk.platform.chunks import CELL, BytesChunk
from aero_browser_disk.platform.memory import MemoryLocks
from aero_browser_disk.testing.behaviour import Behaviour
from aero_browser_disk.testing.image_server import ImageServer
from support.lasting_storage import LastingStorage
from support.libraries import content, named
from support.qemu import MIB


@pytest.fixture
def library(platform) -> Library:
    return Library(platform)


class Unreliable(BytesSource):
    """Fails at an offset, once."""

    def __init__(self, data: bytes, fails_at: int) -> None:
        super().__init__(data)
        self.fails_at = fails_at
        self.reads = 0

    async def read(self, offset, length):
        self.reads += 1
        if offset >= self.fails_at and length > TAIL_LENGTH:
            raise SourceError("disk.img", "it was moved")
        return await super().read(offset, length)


class Foreign:
    """A source whose bytes are in memory that is not Python's, as a browser's are."""

    def __init__(self, source: BytesSource, chunk: type[BytesChunk] = BytesChunk) -> None:
        self.size = source.size
        self.read = source.read
        self.chunk = chunk

    async def read_chunk(self, offset, length):
        return self.chunk(await self.read(offset, length))


class UncopiedChunk(BytesChunk):
    """Gives no more to Python than a few cells at a time."""

    def copy(self, start, stop):
        assert stop - start < 16 * CELL, "it went through Python's memory"
        return super().copy(start, stop)


@pytest.fixture(params=[lambda source: source, Foreign], ids=["in memory", "foreign memory"])
def source_of(request):
    """What makes of a source one that is to be imported."""
    return request.param


BIG = random.Random(9).randbytes(6 * MIB) + bytes(6 * MIB) + random.Random(8).randbytes(6 * MIB)
IDENTITY = SourceIdentity("big.img", len(BIG), "12345")


@pytest.fixture
def careful(checkpoints) -> Library:
    """A library that notes after each chunk how far an import is."""
    return Library(checkpoints)


async def test_an_import_that_broke_off_is_listed_and_continued(careful, source_of):
    with pytest.raises(SourceError):
        await careful.import_source(source_of(Unreliable(BIG, 12 * MIB)), IDENTITY)
    entry = await named(careful, "big")
    assert entry.state == "importing"
    assert entry.done == 12 * MIB
    assert entry.size == len(BIG)
    with pytest.raises(UnfinishedImportError):
        await careful.open_image("big")
    done = await careful.import_source(BytesSource(BIG), IDENTITY)
    assert done.id == entry.id
    assert done.state == "ready"
    assert await content(careful, "big") == BIG


async def test_an_import_that_broke_off_at_once_is_continued_from_there(library, source_of):
    """However little time it had."""
    with pytest.raises(SourceError):
        await library.import_source(source_of(Unreliable(BIG, 4 * MIB)), IDENTITY)
    assert (await named(library, "big")).done == 4 * MIB
    source = Stalling(BIG, 12 * MIB)
    work = asyncio.ensure_future(library.import_source(source_of(source), IDENTITY, keep=True))
    await source.stalled.wait()
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    done = (await named(library, "big")).done
    assert 8 * MIB <= done <= 12 * MIB  # as far as it was written when it was cancelled
    await library.import_source(BytesSource(BIG), IDENTITY)
    assert await content(library, "big") == BIG


async def test_a_format_that_is_named_is_not_recognised(library, tmp_path):
    """A guest can write another format's header to a raw disk, whichever way it comes in."""
    packed = gzip.compress(BIG[:MIB], 1)
    packed += bytes(-len(packed) % 512)
    identity = SourceIdentity("disk.img", len(packed), "")
    path = tmp_path / "disk.img"
    path.write_bytes(packed)
    with ImageServer({"disk.img": path}) as server:
        url = server.url("disk.img")
        await library.import_path(path, name="path", format="raw")
        await library.import_bytes(packed, "bytes", format="raw")
        stream = stream_of(BytesSource(packed))
        await library.import_stream(stream, identity, name="stream", format="raw")
        await library.import_url(url, allow_remote=True, name="url", format="raw")
        server.behaviour = Behaviour(ignore_range=True)
        await library.import_url(url, allow_remote=True, name="whole", format="raw")
        for name in ("path", "bytes", "stream", "url", "whole"):
            assert await content(library, name) == packed
        with pytest.raises(UnsupportedImageError, match="qcow2"):
            await library.import_url(url, allow_remote=True, format="qcow2")
    with pytest.raises(InvalidOptionError):
        await library.import_stream(stream_of(BytesSource(packed)), identity, format="none")


async def test_how_far_an_import_is_is_noted_each_second(checkpoints):
    """For a kill, after which nothing can be noted."""
    checkpoints.clock.step_s = 0.6
    library = Library(checkpoints)
    source = Stalling(BIG, 12 * MIB)
    work = asyncio.ensure_future(library.import_source(source, IDENTITY))
    await source.stalled.wait()
    assert (await named(library, "big")).done >= 6 * MIB
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work


@pytest.mark.parametrize(
    "other",
    [
        replace(IDENTITY, modified="99"),
        replace(IDENTITY, name="other.img"),
        replace(IDENTITY, size=len(BIG) + 512),
    ],
    ids=lambda identity: identity.name + identity.modified,
)
async def test_an_import_is_not_continued_with_another_file(careful, other):
    with pytest.raises(SourceError):
        await careful.import_source(Unreliable(BIG, 12 * MIB), IDENTITY)
    with pytest.raises(SourceChangedError):
        await careful.import_source(BytesSource(BIG.ljust(other.size, b"\0")), other, name="big")
    assert (await named(careful, "big")).state == "importing", "it can still be continued"
    anew = await careful.import_source(BytesSource(BIG.ljust(other.size, b"\0")), other)
    assert anew.name in ("big 2", "other")


async def test_a_file_that_changed_behind_its_facts_is_found_out(careful):
    with pytest.raises(SourceError):
        await careful.import_source(Unreliable(BIG, 12 * MIB), IDENTITY)
    changed = bytearray(BIG)
    changed[5 * MIB] ^= 1
    with pytest.raises(SourceChangedError, match="content"):
        await careful.import_source(BytesSource(bytes(changed)), IDENTITY)


async def test_a_compressed_import_is_continued_too(careful):
    packed = gzip.compress(BIG, 1)
    identity = replace(IDENTITY, name="big.img.gz", size=len(packed))
    with pytest.raises(SourceError):
        await careful.import_source(Unreliable(packed, 8 * MIB), identity)
    assert (await named(careful, "big")).done > 4 * MIB
    await careful.import_source(BytesSource(packed), identity)
    assert await content(careful, "big") == BIG


class Stalling(BytesSource):
    """Never gives what lies past an offset."""

    def __init__(self, data: bytes, stops_at: int) -> None:
        super().__init__(data)
        self.stops_at = stops_at
        self.stalled = asyncio.Event()

    async def read(self, offset, length):
        if offset >= self.stops_at and length > TAIL_LENGTH:
            self.stalled.set()
            await asyncio.Event().wait()
        return await super().read(offset, length)


@pytest.mark.parametrize("keep", [False, True])
async def test_an_import_that_is_cancelled_is_gone_unless_it_is_to_be_kept(
    careful, platform, source_of, keep
):
    source = Stalling(BIG, 8 * MIB)
    work = asyncio.ensure_future(careful.import_source(source_of(source), IDENTITY, keep=keep))
    await source.stalled.wait()
    assert (await named(careful, "big")).is_open
    with pytest.raises(ImageBusyError):
        await Library(platform).remove("big")
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert [entry.state for entry in await careful.list()] == (["importing"] if keep else [])
    await careful.import_source(BytesSource(BIG), IDENTITY)
    assert await content(careful, "big") == BIG


async def test_an_import_that_finds_a_full_storage_is_kept_and_continued(platform, source_of):
    storage = LastingStorage(quota=8 * MIB)
    library = Library(replace(platform, storage=storage, locks=MemoryLocks()))
    with pytest.raises(StorageFullError):
        await library.import_source(source_of(BytesSource(BIG)), IDENTITY)
    assert (await named(library, "big")).state == "importing"
    storage.quota = 1 << 40
    await library.import_source(BytesSource(BIG), IDENTITY)
    assert await content(library, "big") == BIG


@pytest.mark.parametrize("tail", [0, 1, 700, CELL + 1])
async def test_what_is_in_foreign_memory_is_imported_without_a_copy(library, tail):
    """Zeros take no storage, wherever they lie, and odd ends are kept."""
    chance = random.Random(12)
    cells = [chance.choice([bytes(CELL), chance.randbytes(CELL)]) for _ in range(600)]
    data = chance.randbytes(5 * MIB) + b"".join(cells) + bytes(2 * MIB) + chance.randbytes(MIB)
    data += chance.randbytes(tail)
    identity = SourceIdentity("foreign.img", len(data), "")
    made = await library.import_source(
        Foreign(BytesSource(data), UncopiedChunk), identity, pad=True
    )
    assert (await content(library, "foreign")).rstrip(b"\0") == data.rstrip(b"\0")
    assert made.size == -(-len(data) // 512) * 512
    dense = sum(any(data[at : at + CELL]) for at in range(0, len(data), CELL)) * CELL
    assert made.used_bytes < dense + MIB


async def test_a_source_that_became_shorter_is_an_error(library, source_of):
    source = BytesSource(BIG)
    source.size = len(BIG) + MIB
    with pytest.raises(SourceError, match="it ends after"):
        await library.import_source(source_of(source), replace(IDENTITY, size=source.size))
