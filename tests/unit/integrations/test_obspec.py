"""Ranges of the files of an image by obspec's protocols."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from aero_browser_disk import sync
from aero_browser_disk.errors import InvalidOptionError, NoSuchFileError, OutOfRangeError
from aero_browser_disk.formats.raw_file import RawFileDisk
from aero_browser_disk.integrations.obspec import AsyncFileRanges, FileRanges
from support import file_images as images

if TYPE_CHECKING:
    from obspec import GetRange, GetRangeAsync, GetRanges, GetRangesAsync

SIZE = len(images.BIG)


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    folder = tmp_path_factory.mktemp("obspec")
    (folder / "tree").mkdir()
    (folder / "tree" / "big").write_bytes(images.BIG)
    return images.make_ext(folder / "image", folder / "tree", "ext4")


@pytest.fixture
def ranges(image, sync_session):
    with sync.open_disk(path=image) as disk:
        yield FileRanges(disk)


def by_protocol(one: GetRange, many: GetRanges) -> tuple[bytes, list[bytes]]:
    """As a reader that knows the protocols only; mypy checks that it may be given ours."""
    several = many.get_ranges("1/big", starts=[0, 1000], ends=[10, 1010])
    return bytes(one.get_range("1/big", start=5, length=20)), [bytes(part) for part in several]


async def by_async_protocol(one: GetRangeAsync, many: GetRangesAsync) -> tuple[bytes, list[bytes]]:
    several = await many.get_ranges_async("1/big", starts=[0, 1000], lengths=[10, 10])
    part = await one.get_range_async("1/big", start=5, end=25)
    return bytes(part), [bytes(part) for part in several]


EXPECTED = images.BIG[5:25], [images.BIG[:10], images.BIG[1000:1010]]


def test_ranges_are_had_without_awaiting(ranges, image):
    assert by_protocol(ranges, ranges) == EXPECTED
    assert ranges.get_range("1/big", start=SIZE - 5, length=100) == images.BIG[-5:]
    assert ranges.get_range("", start=1080, length=2) == image.read_bytes()[1080:1082]


async def test_ranges_are_awaited(image):
    async with RawFileDisk.open(image) as disk:
        ranges = AsyncFileRanges(disk)
        assert await by_async_protocol(ranges, ranges) == EXPECTED


def test_ranges_that_are_none_are_errors(ranges):
    for start, length in ((SIZE, 1), (0, 0), (-1, 5)):
        with pytest.raises(OutOfRangeError):
            ranges.get_range("1/big", start=start, length=length)
    for options in ({}, {"end": 5, "length": 5}):
        with pytest.raises(InvalidOptionError):
            ranges.get_range("1/big", start=0, **options)
    with pytest.raises(InvalidOptionError):
        ranges.get_ranges("1/big", starts=[0])
    with pytest.raises(NoSuchFileError):
        ranges.get_range("1/none", start=0, length=1)
