"""A save that is read where it is: chunk by chunk, verified, cached; an overlay on top."""

from __future__ import annotations

import random

import pytest

from aero_browser_disk import open_disk
from aero_browser_disk.errors import (
    BaseChangedError,
    DamagedSaveError,
    DiskClosedError,
    ReadOnlyError,
    SaveBaseError,
)
from aero_browser_disk.saves import SaveServer
from aero_browser_disk.testing.synthetic_image import SyntheticImage
from support.samples import IMAGE
from support.saves import SaveService


@pytest.fixture
def service():
    with SaveService() as started:
        yield started


@pytest.fixture
def opened(server, platform):
    async def open_one(overlay=None):
        url = server.url("disk.img")
        return await open_disk(url, overlay=overlay, allow_remote=True, platform=platform)

    return open_one


@pytest.fixture
async def there(service, platform):
    return await SaveServer.open(service.url, allow_remote=True, platform=platform)


@pytest.fixture
async def expected(opened, there):
    """A save with data, zeros and gaps; the bytes of its disk."""
    content = random.Random(1)
    async with await opened("work") as disk:
        for _ in range(60):
            offset = content.randrange(IMAGE.size - 40_000) // 512 * 512
            await disk.write(offset, content.randbytes(content.choice([512, 4096, 40_000])))
        await disk.discard(1 << 20, 200_000)
        await disk.write(IMAGE.size - 10, b"0123456789")
        await there.push(disk)
        return await disk.read(0, disk.info.size)


async def test_any_read_of_a_layer_is_exact(opened, there, expected):
    offsets = random.Random(2)
    async with await there.open_disk("work", await opened()) as disk:
        assert disk.info.read_only
        for _ in range(200):
            offset = offsets.randrange(IMAGE.size)
            length = min(offsets.choice([1, 512, 5000, 300_000]), IMAGE.size - offset)
            assert await disk.read(offset, length) == expected[offset : offset + length]
            target = bytearray(length)
            if disk.try_read_into(offset, target):
                assert target == expected[offset : offset + length]
        with pytest.raises(ReadOnlyError):
            await disk.write(0, b"x")
    with pytest.raises(DiskClosedError):
        await disk.read(0, 1)


async def test_only_chunks_that_are_read_are_fetched_and_those_once(
    opened, there, expected, service
):
    chunks = len(service.only.chunks)
    async with await there.open_disk("work", await opened()) as disk:
        assert not service.sent("GET", "/chunks/")
        await disk.read(0, 100_000)
        assert len(service.sent("GET", "/chunks/")) < chunks
        await disk.read(0, disk.info.size)
        assert len(service.sent("GET", "/chunks/")) == chunks
    async with await there.open_disk("work", await opened()) as disk:
        assert await disk.read(0, disk.info.size) == expected
    assert len(service.sent("GET", "/chunks/")) == chunks


async def test_a_damaged_chunk_is_fetched_again_or_an_error(
    opened, there, expected, service, tmp_path
):
    async with await there.open_disk("work", await opened()) as disk:
        await disk.read(0, disk.info.size)
    kept = [p for p in tmp_path.rglob("*") if p.is_file() and p.name in service.only.chunks]
    assert len(kept) == len(service.only.chunks)
    for path in kept:
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    async with await there.open_disk("work", await opened()) as disk:
        assert await disk.read(0, disk.info.size) == expected
    for path in kept:
        path.unlink()
        service.only.chunks[path.name] = b"?" * len(service.only.chunks[path.name])
    async with await there.open_disk("work", await opened()) as disk:
        with pytest.raises(DamagedSaveError):
            await disk.read(0, disk.info.size)


async def test_an_overlay_over_a_save_takes_writes(opened, there, expected, service):
    async with await there.open_disk("work", await opened(), overlay="mine") as disk:
        await disk.write(5000, b"mine")
    async with await there.open_disk("work", await opened(), overlay="mine") as disk:
        assert await disk.read(4990, 20) == expected[4990:5000] + b"mine" + expected[5004:5010]
    async with await opened("work") as disk:
        await disk.write(0, b"a later generation")
        await there.push(disk)
    with pytest.raises(BaseChangedError):
        await there.open_disk("work", await opened(), overlay="mine")
    async with await there.open_disk("work", await opened(), overlay="mine", generation=1) as disk:
        assert await disk.read(5000, 4) == b"mine"


async def test_another_version_of_the_image_is_refused(server, opened, there, expected):
    server.image("disk.img").replace(SyntheticImage(IMAGE.size, seed=2))
    with pytest.raises(SaveBaseError):
        await there.open_disk("work", await opened())
