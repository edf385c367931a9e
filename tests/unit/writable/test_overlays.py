"""Overlays, as whoever uses them sees them: bases, commits, digests, and files to take along."""

from __future__ import annotations

import asyncio
from random import Random
from typing import TYPE_CHECKING

import pytest

from aero_browser_disk import open_disk
from aero_browser_disk.disk import DiskInfo
from aero_browser_disk.errors import (
    BaseChangedError,
    InvalidDocumentError,
    ReadOnlyError,
    StorageError,
    StorageFullError,
)
from aero_browser_disk.testing.failing_files import FailingStorage
from aero_browser_disk.testing.image_server import ImageServer
from aero_browser_disk.testing.synthetic_image import SyntheticImage
from aero_browser_disk.writable.local_image import LocalImage
from aero_browser_disk.writable.overlay import Overlay
from support.local_images import blank
from support.samples import IMAGE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aero_browser_disk.disk import Disk

KIB, MIB = 1 << 10, 1 << 20
GRANULE = 4 * KIB


async def remote(server: ImageServer, platform, **options) -> Disk:
    url = server.url("disk.img")
    return await open_disk(
        url, allow_remote=True, platform=platform, read_ahead=False, block_size=4 * KIB, **options
    )


async def test_a_small_write_downloads_nothing_and_a_read_what_is_missing(server, platform) -> None:
    overlay = await Overlay.open(await remote(server, platform), platform.storage, "overlays/1")
    before = overlay.stats().bytes_downloaded
    await overlay.write(MIB, b"w" * GRANULE)
    await overlay.write(MIB + 2 * GRANULE + 512, b"s" * 512)
    await overlay.write(MIB + 8 * GRANULE, b"l" * 100 * KIB)
    assert overlay.try_write(MIB + 5 * GRANULE, b"t" * 512)
    await overlay.flush()
    assert await overlay.read(MIB, GRANULE) == b"w" * GRANULE
    assert await overlay.read(MIB + 5 * GRANULE, 512) == b"t" * 512
    assert overlay.stats().bytes_downloaded == before
    expected = bytearray(IMAGE.read(MIB, 8 * GRANULE))
    expected[:GRANULE] = b"w" * GRANULE
    expected[2 * GRANULE + 512 : 2 * GRANULE + 1024] = b"s" * 512
    expected[5 * GRANULE : 5 * GRANULE + 512] = b"t" * 512
    assert await overlay.read(MIB, 8 * GRANULE) == expected
    assert overlay.stats().bytes_downloaded - before == 7 * GRANULE
    await overlay.close()


async def test_several_overlays_on_one_image_know_nothing_of_each_other(server, platform) -> None:
    for name in ("one", "two"):
        overlay = await Overlay.open(await remote(server, platform), platform.storage, name)
        assert await overlay.read(0, 1000) == IMAGE.read(0, 1000)
        await overlay.write(0, name.encode() * 100)
        await overlay.close()
    for name in ("one", "two"):
        overlay = await Overlay.open(await remote(server, platform), platform.storage, name)
        assert await overlay.read(0, 300) == name.encode() * 100
        await overlay.close()


async def test_a_changed_base_is_refused_and_the_overlay_kept() -> None:
    storage = FailingStorage()
    overlay = await Overlay.open(FixedBase("1"), storage, "work")
    await overlay.write(0, b"mine")
    await overlay.close()
    before = storage.content("work/sectors")
    with pytest.raises(BaseChangedError) as caught:
        await Overlay.open(FixedBase("2"), storage, "work")
    assert (caught.value.pinned, caught.value.found) == ("1", "2")
    for choice in ("that version again", "export", "under a new name", "reset"):
        assert choice in str(caught.value)
    assert storage.content("work/sectors") == before
    overlay = await Overlay.open(FixedBase("1"), storage, "work")
    assert await overlay.read(0, 4) == b"mine"


async def test_an_image_that_changed_on_its_host_is_another_version(server, platform) -> None:
    overlay = await Overlay.open(await remote(server, platform), platform.storage, "work")
    await overlay.close()
    server.image("disk.img").replace(SyntheticImage(IMAGE.size, seed=99))
    base = await remote(server, platform)
    with pytest.raises(BaseChangedError):
        await Overlay.open(base, platform.storage, "work")
    assert len(await base.read(0, 100)) == 100, "the base is still the caller's"
    await base.close()


async def test_a_local_base_that_was_written_to_is_another_version() -> None:
    storage = FailingStorage()
    base = await blank(MIB, storage)
    await (await Overlay.open(base, storage, "work")).close()
    base = await LocalImage.open(storage, "images/1")
    await base.write(0, b"x")
    with pytest.raises(BaseChangedError):
        await Overlay.open(base, storage, "work")


async def overlay_over_random_bytes(storage, size: int = MIB + 700) -> tuple[Overlay, bytearray]:
    base = await blank(size, storage)
    model = bytearray(Random(3).randbytes(size))
    await base.write(0, model)
    return await Overlay.open(base, storage, "work"), model


async def test_reset_gives_up_what_was_written_and_its_room() -> None:
    storage = FailingStorage()
    overlay, model = await overlay_over_random_bytes(storage)
    before = storage.used
    await overlay.write(1000, b"x" * 500_000)
    await overlay.discard(600_000, 100_000)
    await overlay.flush()
    await overlay.reset()
    assert overlay.used_bytes == 0
    assert storage.used <= before + 400 * KIB
    assert await overlay.read(0, MIB + 700) == model
    await overlay.close()
    overlay = await Overlay.open(await LocalImage.open(storage, "images/1"), storage, "work")
    assert await overlay.read(0, MIB + 700) == model
    assert list(overlay.written_ranges()) == []


async def test_commit_writes_into_the_base_and_empties_the_overlay() -> None:
    storage = FailingStorage()
    overlay, model = await overlay_over_random_bytes(storage)
    for start, data in ((700, b"a" * 100), (50_000, b"b" * 100_000), (MIB + 690, b"end"), (9, b"")):
        await overlay.write(start, data)
        model[start : start + len(data)] = data
    await overlay.discard(300_000, 10_000)
    model[300_000:310_000] = bytes(10_000)
    await overlay.commit()
    assert list(overlay.written_ranges()) == []
    assert await overlay.read(0, MIB + 700) == model
    await overlay.close()
    base = await LocalImage.open(storage, "images/1")
    assert await base.read(0, MIB + 700) == model
    overlay = await Overlay.open(base, storage, "work")
    assert await overlay.read(0, MIB + 700) == model


async def test_a_read_only_base_takes_no_commit(server, platform) -> None:
    overlay = await Overlay.open(await remote(server, platform), platform.storage, "work")
    await overlay.write(0, b"mine")
    with pytest.raises(ReadOnlyError):
        await overlay.commit()
    assert await overlay.read(0, 4) == b"mine"
    await overlay.close()


@pytest.mark.parametrize("is_flushed", [False, True])
async def test_a_commit_for_which_there_is_no_room_leaves_the_base_as_it_was(is_flushed) -> None:
    storage = FailingStorage()
    overlay = await Overlay.open(await blank(MIB + 700, storage), storage, "work")
    model = bytearray(MIB + 700)
    await overlay.write(0, b"1" * 9000)
    await overlay.write(100_000, b"x" * 900_000)
    model[:9000] = b"1" * 9000
    model[100_000:1_000_000] = b"x" * 900_000
    if is_flushed:
        await overlay.flush()
    version = overlay.base.info.version
    storage.quota = storage.used + 500 * KIB
    with pytest.raises(StorageFullError):
        await overlay.commit()
    assert await overlay.read(0, MIB + 700) == model
    assert overlay.base.info.version == version
    await overlay.close()
    overlay = await Overlay.open(await LocalImage.open(storage, "images/1"), storage, "work")
    assert await overlay.read(0, MIB + 700) == model
    assert await overlay.base.read(0, 9000) == bytes(9000)
    storage.quota *= 2
    await overlay.commit()
    assert await overlay.base.read(0, MIB + 700) == model


async def test_a_commit_whose_room_was_reserved_needs_no_more() -> None:
    """Others take all that is left as soon as it begins to write."""
    chance = Random(11)
    storage = FailingStorage()
    base = await blank(8 * MIB, storage)
    model = bytearray(8 * MIB)
    for _ in range(60):
        at = chance.randrange(7 * MIB)
        model[at : at + 30_000] = data = chance.randbytes(30_000)
        await base.write(at, data)
    overlay = await Overlay.open(base, storage, "work")
    for length in [700] * 300 + [90_000] * 40:
        at = chance.randrange(7 * MIB)
        model[at : at + length] = data = chance.randbytes(length)
        await overlay.write(at, data)
    await overlay.discard(5 * MIB, MIB)
    model[5 * MIB : 6 * MIB] = bytes(MIB)
    begin = base.begin_commit

    def begin_commit(mark: str) -> None:
        begin(mark)
        storage.device = storage.used_on_device
        storage.quota = storage.used

    base.begin_commit = begin_commit
    await overlay.commit()
    assert await base.read(0, 8 * MIB) == model


async def test_the_digest_names_content_and_base_and_nothing_else() -> None:
    digests = []
    for seed in range(3):
        storage = FailingStorage()
        overlay = await Overlay.open(FixedBase(), storage, "work")
        writes = [(at, bytes([at % 251 + 1]) * 3000) for at in range(0, 900_000, 7000)]
        Random(seed).shuffle(writes)
        await overlay.write(950_000, b"to be gone")
        for number, (at, data) in enumerate(writes):
            await overlay.write(at - at % 512, data[:2560])
            if number % 20 == seed:
                await overlay.flush()
                await overlay.compact()
        if seed == 1:
            await overlay.write(949_760, bytes(1024))
        else:
            await overlay.discard(949_760, 1024)
        digests.append(await overlay.digest())
    assert len(set(digests)) == 1
    await overlay.write(3, b"!")
    assert await overlay.digest() != digests[0]
    other = await Overlay.open(FixedBase("2"), FailingStorage(), "work")
    empty = await Overlay.open(FixedBase("1"), FailingStorage(), "work")
    assert await other.digest() != await empty.digest()


async def test_a_digest_taken_while_it_is_written_is_of_one_moment() -> None:
    overlay = await Overlay.open(FixedBase(), FailingStorage(), "work")
    for at in range(0, MIB, 8192):
        await overlay.write(at, b"x" * 512)
    taking = asyncio.ensure_future(overlay.digest())
    for at in range(0, 40_960, 4096):
        await asyncio.sleep(0)
        await overlay.write(at, b"y" * 512)
    assert await taking == await overlay.digest()


async def chunks_of(data: bytes, length: int = 1000) -> AsyncIterator[bytes]:
    for at in range(0, len(data), length):
        yield data[at : at + length]


async def exported_overlay() -> tuple[bytes, bytes, str]:
    """An overlay's file, what the disk reads as, and its digest."""
    overlay = await Overlay.open(FixedBase(), FailingStorage(), "work")
    await overlay.write(0, b"first")
    await overlay.write(70_000, Random(7).randbytes(300_000))
    await overlay.discard(500_000, 200_000)
    await overlay.write(MIB - 3, b"end")
    data = b"".join([chunk async for chunk in overlay.export()])
    return data, await overlay.read(0, MIB), await overlay.digest()


async def test_an_exported_overlay_is_the_same_where_it_is_imported() -> None:
    data, content, digest = await exported_overlay()
    assert len(data) < 400_000, "zeros take no storage"
    for length in (1, 7, 100_000, len(data)) if len(data) < 10_000 else (999, 100_000, len(data)):
        storage = FailingStorage()
        made = await Overlay.import_file(chunks_of(data, length), FixedBase(), storage, "copy")
        await made.close()
        made = await Overlay.open(FixedBase(), storage, "copy")
        assert await made.read(0, MIB) == content
        assert await made.digest() == digest


async def test_a_damaged_overlay_file_is_refused_and_nothing_left_of_it() -> None:
    data, _, _ = await exported_overlay()
    chance = Random(8)
    storage = FailingStorage()
    spoilt = [data[:cut] for cut in (0, 5, 30, 200_000, len(data) - 1)]
    places = [*range(90), *(chance.randrange(len(data)) for _ in range(60))]
    spoilt += [data[:at] + bytes([data[at] ^ 0x11]) + data[at + 1 :] for at in places]
    for file in spoilt:
        with pytest.raises((InvalidDocumentError, BaseChangedError)):
            await Overlay.import_file(chunks_of(file, 50_000), FixedBase(), storage, "copy")
        assert storage.paths == ()


async def test_an_import_never_takes_the_place_of_an_overlay() -> None:
    data, _, _ = await exported_overlay()
    storage = FailingStorage()
    overlay = await Overlay.open(FixedBase(), storage, "work")
    await overlay.write(0, b"mine")
    await overlay.close()
    for file in (data, b"junk"):
        with pytest.raises(StorageError):
            await Overlay.import_file(chunks_of(file), FixedBase(), storage, "work")
    assert await (await Overlay.open(FixedBase(), storage, "work")).read(0, 4) == b"mine"


async def test_an_overlay_file_of_another_version_is_refused() -> None:
    data, _, _ = await exported_overlay()
    with pytest.raises(BaseChangedError):
        await Overlay.import_file(chunks_of(data), FixedBase("2"), FailingStorage(), "copy")


class FixedBase:
    """A read-only disk of 1 MiB."""

    def __init__(self, version: str = "1") -> None:
        self.image = SyntheticImage(MIB, seed=4)
        self.info = DiskInfo(MIB, version, GRANULE, read_only=True)

    def try_read_into(self, offset, target) -> bool:
        target[:] = self.image.read(offset, len(target))
        return True

    async def read_into(self, offset, target) -> None:
        self.try_read_into(offset, target)

    async def flush(self) -> None:
        pass

    async def close(self) -> None:
        pass
