"""What must hold of every layout of an image."""

from __future__ import annotations

import random

from aero_browser_disk.formats.layout import ImageLayout, LayoutReader, Segment, data_ranges
from aero_browser_disk.platform.byte_source import ByteSource


async def whole(layout: ImageLayout, step: int = 777_777) -> bytes:
    """All of the disk, in reads of an odd length."""
    reader, size = LayoutReader(layout), layout.size
    parts = [await reader.read(at, min(step, size - at)) for at in range(0, size, step)]
    return b"".join(parts)


async def by_ranges(layout: ImageLayout) -> bytes:
    """All of the disk, only what the ranges of data name being read."""
    data, reader = bytearray(layout.size), LayoutReader(layout)
    end = -1
    async for found in data_ranges(layout):
        assert end < found.start, "in order, and never two that touch"
        end = found.stop
        data[found.start : found.stop] = await reader.read(found.start, found.length)
    return bytes(data)


async def check(layout: ImageLayout, raw: bytes) -> None:
    """The layout is that of the disk `raw`: in one go, by its ranges, and read anywhere."""
    assert layout.size == len(raw)
    assert await whole(layout) == raw
    assert await by_ranges(layout) == raw
    chance, reader = random.Random(3), LayoutReader(layout)
    for _ in range(50):
        offset = chance.randrange(layout.size)
        length = min(chance.choice([1, 512, 5000, 200_000]), layout.size - offset)
        assert await reader.read(offset, length) == raw[offset : offset + length]


def check_segments(found: list[Segment], start: int, stop: int, size: int) -> None:
    """They follow one another, and what is unpacked of each is inside its unit."""
    assert [s.start for s in found] == [start, *(s.stop for s in found[:-1])]
    assert found[-1].stop == stop <= size
    for segment in found:
        assert segment.start < segment.stop
        if segment.unpack is not None:
            assert segment.skip >= 0
            assert segment.skip + segment.stop - segment.start <= segment.unit_length


class CountingSource:
    """A source that counts what is read of it."""

    def __init__(self, source: ByteSource) -> None:
        self.size = source.size
        self.bytes_read = 0
        self._source = source

    async def read(self, offset: int, length: int) -> bytes:
        data = await self._source.read(offset, length)
        self.bytes_read += len(data)
        return data
