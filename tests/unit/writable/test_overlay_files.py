"""An overlay goes out as a file and comes in again, over the version that it fits."""

from __future__ import annotations

import random

import pytest

from aero_browser_disk.errors import (
    BaseChangedError,
    ImageBusyError,
    InvalidDocumentError,
    NameTakenError,
    NoSuchImageError,
)
from aero_browser_disk.library.library import Library
from aero_browser_disk.platform.byte_source import BytesSource, stream_of

MIB = 1 << 20
BASE = random.Random(1).randbytes(4 * MIB)


@pytest.fixture
async def library(platform) -> Library:
    made = Library(platform)
    await made.import_bytes(BASE, "base")
    disk = await made.open_image("base", ["work"])
    await disk.write(100, b"mine")
    await disk.write(MIB, bytes(range(256)) * 8192)
    await disk.discard(3 * MIB, 65536)
    await disk.close()
    return made


async def the_overlay(library, name="work"):
    return next(entry for entry in await library.list() if entry.name == name)


async def file_of(library) -> bytes:
    async with library.exporting((await the_overlay(library)).id) as file:
        assert file.name == "work.overlay"
        return b"".join([bytes(part) async for part in file.parts])


async def come_in(library, data, name="again"):
    base = await library.overlays.base_of("base")
    return await library.import_overlay(stream_of(BytesSource(data)), base, name)


async def content(library, overlay):
    disk = await library.open_image("base", [overlay])
    data = await disk.read(0, disk.info.size)
    await disk.close()
    return data


async def test_it_comes_back_as_it_was(library):
    data = await file_of(library)
    assert len(data) < 2.1 * MIB, "nothing of the base is in it"
    made = await come_in(library, data)
    assert (made.state, made.size, made.base_name) == ("ready", 4 * MIB, "base")
    assert await content(library, "again") == await content(library, "work")


async def test_over_another_version_it_is_refused(library):
    data = await file_of(library)
    disk = await library.open_image("base", write_base=True)
    await disk.write(0, b"changed")
    await disk.close()
    await come_in(library, data)
    with pytest.raises(BaseChangedError):
        await content(library, "again")


async def test_what_is_open_or_missing_does_not_go_out(library):
    disk = await library.open_image("base", ["work"])
    with pytest.raises(ImageBusyError):
        await file_of(library)
    await disk.close()
    await library.overlays.reset((await the_overlay(library)).id)
    with pytest.raises(NoSuchImageError):
        await file_of(library)


async def test_names_are_taken_once(library):
    with pytest.raises(NameTakenError):
        await come_in(library, await file_of(library), "work")


@pytest.mark.parametrize("length", [0, 7, 8, 12, 50, 200, 5000, -1, -24])
async def test_a_part_of_a_file_is_none_and_leaves_nothing(library, length):
    data = await file_of(library)
    with pytest.raises(InvalidDocumentError):
        await come_in(library, data[:length])
    assert len(await library.list()) == 2


async def test_damage_is_an_error(library):
    whole = await file_of(library)
    places = [0, 9, 14, 40, 170, 200, MIB, len(whole) - 20]
    for place in places:
        data = bytearray(whole)
        data[place] ^= 0x55
        with pytest.raises(InvalidDocumentError):
            await come_in(library, bytes(data))
    assert len(await library.list()) == 2
