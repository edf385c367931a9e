"""Streams the disk in a remote file of another format, such as qcow2.

It maps ranges of the disk to ranges of the file and unpacks them. The layers above see only the
disk: blocks are cached unpacked, and reads, read-ahead and profiles do not depend on the format.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable

from ..cache.block_store import StoredImage
from ..errors import DamagedImageError
from ..formats.layout import ImageLayout, LayoutReader, Segment, segments
from ..platform.byte_range import ByteRange
from ..remote.remote_image import ImageVersion
from .block_fetch import Arrived
from .fetch_queue import RangeSource

RAW = "raw"
_CHUNK = 256 << 10
_MAX_PACKED = 1 << 20  # bytes of the disk that are read and unpacked at once
_PACKED_UNIT = 256 << 10
_PACKED_WINDOW = 4 << 20  # bytes of the disk that `unit` is about
_OFTEN = 0.1  # a file that is compressed has data that does not shrink, stored as it is
_VALIDATOR = re.compile(r"([a-z0-9-]{1,32}) (\d{1,16}) (.+)", re.DOTALL)


def disk_version(format_name: str, size: int, file: ImageVersion) -> ImageVersion:
    """The version of the disk in a version of a file, read as this format; `size` is the disk's, in
    bytes.

    It includes the format, so that a cache or overlay is never used for another format.
    """
    if format_name == RAW:
        return file
    validator = f"{format_name} {file.size} {file.validator}" if file.validator else ""
    return ImageVersion(size, validator)


def file_version(stored: StoredImage) -> tuple[str, ImageVersion]:
    """The format and the version of the file whose disk is cached; the inverse of `disk_version`.

    A raw image's validator never looks like one: entity tags begin with a quotation mark, dates
    with a capital letter.
    """
    found = _VALIDATOR.fullmatch(stored.validator)
    if found is None:
        return RAW, ImageVersion(stored.size, stored.validator)
    return found[1], ImageVersion(int(found[2]), found[3])


def format_of(version: ImageVersion) -> str:
    """The format of the file whose disk has a version that `disk_version` made."""
    found = _VALIDATOR.fullmatch(version.validator)
    return RAW if found is None else found[1]


class FileSource:
    """A version of a remote file as a `ByteSource`. It does not retry."""

    def __init__(self, file: RangeSource, size: int) -> None:
        self.size = size
        self._file = file

    async def read(self, offset: int, length: int) -> bytes:
        stop = min(offset + length, self.size)
        data = bytearray()
        if offset < stop:
            await self._file.fetch(ByteRange(offset, stop), lambda _, part: data.extend(part))
        return bytes(data)


class LayoutSource:
    """A `RangeSource` of the disk in a file.

    `open_layout` is called at the first fetch, so that a disk whose blocks are all cached opens
    without its server. Zeros are not downloaded. Uncompressed data comes from ranges of
    `file`; without a `file`, everything comes from the sources that the layout names.
    """

    def __init__(
        self, file: RangeSource | None, size: int, open_layout: Callable[[], Awaitable[ImageLayout]]
    ) -> None:
        self._file = file
        self._size = size
        self._open_layout = open_layout
        self._opening = asyncio.Lock()
        self._reader: LayoutReader | None = None
        self._packed_share: float | None = None  # of the data that was fetched lately

    @property
    def unit(self) -> int:
        """Bytes of the disk that are best fetched together, apart from others; 0 for any number.

        Neighbours of compressed data cost little, and it is unpacked when all of a request is here.
        """
        return _PACKED_UNIT if (self._packed_share or 0) > _OFTEN else 0

    @property
    def format(self) -> str | None:
        """The name of the file's format, once the file was opened."""
        return None if self._reader is None else self._reader.layout.format.name

    async def fetch(self, byte_range: ByteRange, deliver: Arrived) -> None:
        """Hands the bytes of `byte_range` to `deliver`, in order.

        Raises the server's errors and `DamagedImageError`; bytes delivered before are valid.
        """
        reader = await self._opened()
        packed: list[Segment] = []
        async for found in segments(reader.layout, byte_range.start, byte_range.stop):
            self._note_kind(found)
            if found.unpack is not None:
                packed.append(found)
                if found.stop - packed[0].start < _MAX_PACKED:
                    continue
            await _deliver_packed(reader, packed, deliver)
            packed = []
            if found.is_zeros:
                _deliver_zeros(found, deliver)
            elif found.unpack is None and self._file is not None:
                await self._deliver_stored(self._file, found, deliver)
            elif found.unpack is None:
                await _deliver_packed(reader, [found], deliver)
        await _deliver_packed(reader, packed, deliver)

    def _note_kind(self, found: Segment) -> None:
        if not found.is_zeros:
            is_packed = float(found.unpack is not None)
            before = is_packed if self._packed_share is None else self._packed_share
            part = min(1.0, (found.stop - found.start) / _PACKED_WINDOW)
            self._packed_share = before + (is_packed - before) * part

    async def _opened(self) -> LayoutReader:
        async with self._opening:
            if self._reader is None:
                layout = await self._open_layout()
                if layout.size != self._size:
                    raise DamagedImageError(
                        layout.format.title,
                        f"its disk has {layout.size:,} bytes, and had {self._size:,} before",
                    )
                self._reader = LayoutReader(layout)
            return self._reader

    async def _deliver_stored(self, file: RangeSource, found: Segment, deliver: Arrived) -> None:
        shift = found.start - found.offset
        stored = ByteRange(found.offset, found.offset + found.length)
        await file.fetch(stored, lambda offset, data: deliver(offset + shift, data))


async def _deliver_packed(reader: LayoutReader, packed: list[Segment], deliver: Arrived) -> None:
    """Delivers adjacent segments, read and unpacked together."""
    if packed:
        start = packed[0].start
        data = await reader.read(start, packed[-1].stop - start)
        deliver(start, memoryview(data))


def _deliver_zeros(found: Segment, deliver: Arrived) -> None:
    zeros = memoryview(bytes(min(_CHUNK, found.stop - found.start)))
    for start in range(found.start, found.stop, _CHUNK):
        deliver(start, zeros[: min(_CHUNK, found.stop - start)])
