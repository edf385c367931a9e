"""The layout of an image: where the bytes of each part of the disk are stored, and how to unpack
them.

A raw image is the simplest layout; a qcow2 or VMDK file is another. Imports, local files and
streamed disks read through this interface and do not know the format.

    layout = await open_layout(source)
    segment = await layout.segment(offset, stop)      # where the bytes from `offset` on are
    data = await LayoutReader(layout).read(offset, length)
"""

from __future__ import annotations

import asyncio
import zlib
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from ..errors import DamagedImageError
from ..platform.byte_range import ByteRange
from ..platform.byte_source import ByteSource
from ..platform.single_flight import SingleFlight
from .image_format import ImageFormat

LARGEST_DISK = 1 << 53
"""Bytes. No real disk is larger, and JavaScript's numbers are exact up to here."""
LARGEST_UNIT = 64 << 20
"""Bytes that are unpacked as one: a file that needs more is refused."""

_GAP = 64 << 10  # bytes between two segments of a file that are read along with them
_LONGEST_READ = 8 << 20
_UNITS_CACHED = 16 << 20  # bytes

Buffer = bytes | memoryview
Unpack = Callable[[Buffer], bytes]
"""Unpacks stored bytes into bytes of the disk; raises `ValueError` or `zlib.error`."""


@dataclass(frozen=True, slots=True)
class Segment:
    """The bytes of a disk from `start` up to `stop`, and where they are stored.

    - Without a `source` they are zeros.
    - Without `unpack` they are in the source as they are, from `offset` on.
    - With `unpack` they are the part from `skip` on of a unit: the `length` bytes at `offset` of
      the source become its `unit_length` bytes.
    """

    start: int
    stop: int
    source: ByteSource | None = None
    offset: int = 0
    length: int = 0
    """Bytes that are read from the source."""
    unpack: Unpack | None = None
    skip: int = 0
    unit_length: int = 0
    own_length: int | None = None
    """Bytes of `length` that are of no other unit, where that is not all of them."""

    @property
    def is_zeros(self) -> bool:
        """Whether nothing is stored."""
        return self.source is None


def raw_segment(start: int, stop: int, source: ByteSource, offset: int) -> Segment:
    """Bytes that are stored as they are."""
    return Segment(start, stop, source, offset, stop - start)


class ImageLayout(Protocol):
    """Where the bytes of a disk are.

    Everything in a file is checked before it is used. Tables are read when needed, in bounded
    memory.
    """

    @property
    def format(self) -> ImageFormat:
        """The kind of the file."""

    @property
    def size(self) -> int:
        """Bytes of the disk."""

    async def segment(self, offset: int, stop: int) -> Segment:
        """The segment that begins at `offset` of the disk and ends at `stop` or before.

        It is as long as can be found without much work. `offset` < `stop` <= `size`. Raises
        `DamagedImageError` and what the source raises.
        """

    async def check_tables(self) -> None:
        """Raises `DamagedImageError` when a first table names more second ones than can be."""


async def segments(layout: ImageLayout, start: int, stop: int) -> AsyncIterator[Segment]:
    """All segments of a part of the disk, in order and without gaps; raises as `segment`."""
    while start < stop:
        found = await layout.segment(start, stop)
        yield found
        start = found.stop


async def data_ranges(layout: ImageLayout) -> AsyncIterator[ByteRange]:
    """Where the disk may hold anything but zeros, in order, adjacent ranges as one.

    Raises `DamagedImageError` also when the ranges need more bytes than the file has: its tables
    then lead to the same bytes more than once.
    """
    await layout.check_tables()
    stored: dict[int, int] = {}  # bytes of each source that segments were found for
    start = stop = 0
    turns = 0
    async for found in segments(layout, 0, layout.size):
        turns += 1
        if not turns % 1024:
            await asyncio.sleep(0)  # tables in memory must not block other tasks
        if found.source is None:
            continue
        if found.own_length != 0:
            count = stored.get(id(found.source), 0)
            if not found.skip:
                count += found.length if found.own_length is None else found.own_length
            stored[id(found.source)] = count
            if count > found.source.size:
                raise DamagedImageError(
                    layout.format.title, "its tables lead to the same bytes more than once"
                )
        if found.start != stop:
            if stop > start:
                yield ByteRange(start, stop)
            start = found.start
        stop = found.stop
    if stop > start:
        yield ByteRange(start, stop)


class LayoutReader:
    """Reads the bytes of a disk through its layout. Units that were read in part are cached."""

    def __init__(self, layout: ImageLayout) -> None:
        self.layout = layout
        self._units: OrderedDict[_UnitKey, bytes] = OrderedDict()
        self._cached = 0
        self._flights = SingleFlight[bytes]()

    async def read(self, offset: int, length: int) -> bytes:
        """The `length` bytes at `offset`, which lie inside the disk.

        Raises `DamagedImageError` and what the source raises.
        """
        parts: list[Buffer] = []
        run: list[tuple[int, Segment]] = []  # that are read together, and their indices in `parts`
        async for found in segments(self.layout, offset, offset + length):
            cached = self._cached_part(found)
            parts.append(cached)
            if cached or found.is_zeros:
                continue
            if run and not _goes_on(run[-1][1], run[0][1], found):
                await self._read_run(run, parts)
                run = []
            run.append((len(parts) - 1, found))
        if run:
            await self._read_run(run, parts)
        if len(parts) == 1 and isinstance(parts[0], bytes):
            return parts[0]
        return b"".join(parts)

    async def _read_run(self, run: Sequence[tuple[int, Segment]], parts: list[Buffer]) -> None:
        """Reads segments that lie near one another in one go."""
        first = run[0][1]
        assert first.source is not None
        if len(run) == 1 and first.unpack is not None:
            unit = await self._flights.run(_unit_key(first), partial(self._unit, first))
            parts[run[0][0]] = _part_of(first, unit)
            return
        stop = max(found.offset + found.length for _, found in run)
        length = stop - first.offset
        stored = await read_exactly(first.source, first.offset, length, self.layout.format)
        view = memoryview(stored)
        for index, found in run:
            begin = found.offset - first.offset
            part = view[begin : begin + found.length]
            if found.unpack is None:
                parts[index] = stored if len(part) == len(stored) else part
            else:
                parts[index] = _part_of(found, self._unpacked(found, part))

    async def _unit(self, found: Segment) -> bytes:
        """The unit that a segment is part of; reads that come meanwhile wait for the same."""
        assert found.source is not None
        stored = await read_exactly(found.source, found.offset, found.length, self.layout.format)
        return self._unpacked(found, stored)

    def _unpacked(self, found: Segment, stored: Buffer) -> bytes:
        unit = unpack_unit(found, stored, self.layout.format)
        if found.stop - found.start < len(unit):  # the rest of the unit may be read next
            self._keep(found, unit)
        return unit

    def _cached_part(self, found: Segment) -> Buffer:
        """The bytes of a segment that need no read; None if it has to be read."""
        if found.is_zeros:
            return bytes(found.stop - found.start)
        if found.unpack is None:
            return b""
        unit = self._units.get(_unit_key(found))
        if unit is None:
            return b""
        self._units.move_to_end(_unit_key(found))
        return _part_of(found, unit)

    def _keep(self, found: Segment, unit: bytes) -> None:
        key = _unit_key(found)
        if key in self._units:
            return
        self._units[key] = unit
        self._cached += len(unit)
        while self._cached > _UNITS_CACHED:
            self._cached -= len(self._units.popitem(last=False)[1])


async def read_exactly(
    source: ByteSource, offset: int, length: int, image_format: ImageFormat, what: str = "its data"
) -> bytes:
    """The `length` bytes at `offset` of a source.

    Raises `DamagedImageError`, which names `what` they are, when the source ends before.
    """
    if offset + length <= source.size:
        data = await source.read(offset, length)
        if len(data) == length:
            return data
    raise DamagedImageError(
        image_format.title,
        f"{what} should be {length:,} bytes at byte {offset:,}, but the file has "
        f"{source.size:,} bytes",
    )


def unpack_unit(found: Segment, stored: Buffer, image_format: ImageFormat) -> bytes:
    """The unit that a segment is part of; raises `DamagedImageError`."""
    assert found.unpack is not None
    try:
        unit = found.unpack(stored)
    except (ValueError, EOFError, zlib.error) as error:
        raise DamagedImageError(
            image_format.title, f"what is stored at byte {found.offset:,} does not unpack: {error}"
        ) from error
    if len(unit) != found.unit_length:
        raise DamagedImageError(
            image_format.title,
            f"what is stored at byte {found.offset:,} unpacks to {len(unit):,} bytes instead of "
            f"{found.unit_length:,}",
        )
    return unit


_UnitKey = tuple[ByteSource | None, int, int]


def _unit_key(found: Segment) -> _UnitKey:
    return found.source, found.offset, found.length


def _part_of(found: Segment, unit: bytes) -> Buffer:
    length = found.stop - found.start
    return unit if length == len(unit) else memoryview(unit)[found.skip : found.skip + length]


def _goes_on(last: Segment, first: Segment, found: Segment) -> bool:
    """Whether a segment is read along with those from `first` to `last`."""
    return (
        found.source is first.source
        and first.offset <= found.offset <= last.offset + last.length + _GAP
        and found.offset + found.length - first.offset <= _LONGEST_READ
    )
