"""Imports a file of any known format: reads the disk in it, and writes that to a local image."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from ..disk import SECTOR_SIZE
from ..errors import (
    InvalidOptionError,
    OddSizeError,
    SourceChangedError,
    StorageFullError,
    UnsupportedImageError,
)
from ..formats.image_format import EMPTY, UNKNOWN, ImageFormat
from ..formats.layout import ImageLayout, LayoutReader, data_ranges
from ..formats.opening import FORMAT_NAMES, open_layout, recognise_source
from ..formats.recognition import HEAD_LENGTH, recognise
from ..formats.unpacking import unpacked
from ..formats.vhd import VhdFooter
from ..platform.base import Clock
from ..platform.byte_source import (
    CHUNK,
    ByteSource,
    ByteStream,
    Lookahead,
    SourceIdentity,
    in_order,
    stream_of,
)
from ..platform.chunks import CELL, BytesChunk, Chunk, ChunkSource
from ..writable.local_image import LocalImage

MIB = 1 << 20
_CHECKPOINT_EVERY_S = 1.0
_PROGRESS_EVERY_S = 0.1
_FOOTER = 512
_FILLED = 64 << 10  # chunks of at least this size are not gathered with others
_CHUNKS_AHEAD = 3  # chunks: a browser reads several of a file in half the time (measured)

Chunks = AsyncIterator[tuple[int, Chunk]]
"""Offsets on the disk and what is there, in order; what is left out is zeros."""


@dataclass(frozen=True, slots=True)
class CopyProgress:
    """How far a copy is. `done` counts bytes of the file, of which there are `total`, if known."""

    done: int
    total: int | None


Report = Callable[[CopyProgress], None]


class OpenedFile:
    """A file to import whose format was recognised, and the disk in it."""

    def __init__(
        self, identity: SourceIdentity, found: ImageFormat, disk: ImageFormat, size: int | None
    ) -> None:
        self.identity = identity
        self.format = found
        """What the file is."""
        self.disk = disk
        """The format of the disk in it, which differs if the file is compressed."""
        self.disk_size = size
        """The size of the disk; None if only the end of the file says it."""
        self.position = 0
        """Bytes of the file that were read, for the progress."""
        self.is_pinned = False
        """Whether what was imported before is known to match, and can be skipped."""
        self._chunks: Callable[[int], Chunks] | None = None

    def chunks(self, start: int = 0) -> Chunks:
        """The disk, from `start` on if the file is pinned; once."""
        assert self._chunks is not None
        return self._chunks(start // CELL * CELL if self.is_pinned else 0)

    @classmethod
    async def of_source(
        cls,
        source: ByteSource,
        identity: SourceIdentity,
        *,
        is_pinned: bool = False,
        format: str = "auto",  # noqa: A002
    ) -> OpenedFile:
        """Recognises the format of a file that can be read at any offset.

        `is_pinned` says that the identity is proof of the content. `format` is "auto", "raw", or
        the name of a format: see `open_layout`. Raises `UnsupportedImageError`,
        `DamagedImageError`, and what the source raises.
        """
        size = source.size
        found = await recognise_source(source) if format == "auto" else UNKNOWN
        _refuse(found)
        if format not in ("auto", "raw") or found.treatment == "convert":
            name = found.name if format == "auto" else format
            layout = await open_layout(source, format=name)
            found = layout.format
            opened = cls(identity, found, found, layout.size)
            opened._chunks = lambda start: opened._converted(layout, start)
        elif found.treatment == "unpack":
            return await cls.of_stream(stream_of(source), identity)
        else:
            opened = cls(identity, found, found, size)
            opened._chunks = lambda start: opened._raw(source, start)
        opened.is_pinned = is_pinned
        return opened

    @classmethod
    async def of_stream(
        cls,
        stream: ByteStream,
        identity: SourceIdentity,
        *,
        format: str = "auto",  # noqa: A002
    ) -> OpenedFile:
        """Recognises the format of a stream by its beginning; raises as `of_source`.

        Formats that are read out of order, such as qcow2, cannot be imported from a stream.
        `format` is as in `of_source`.
        """
        if format not in FORMAT_NAMES:
            raise InvalidOptionError("format", format, f"one of {', '.join(FORMAT_NAMES)}")
        counted = _Counter(stream)
        whole = Lookahead(counted)
        found = recognise(await whole.head(HEAD_LENGTH), size=identity.size)
        if format == "raw":
            found = UNKNOWN
        elif format not in ("auto", found.name):
            raise UnsupportedImageError(
                format,
                f"a stream, and {format} is not read from the beginning to the end",
                "Save it to a file, and import that.",
            )
        _refuse(found)
        disk, content = found, whole
        if found.treatment == "unpack":
            content = Lookahead(unpacked(whole, found))
            disk = recognise(await content.head(HEAD_LENGTH))
            _refuse(disk)
        if disk.treatment in ("convert", "unpack"):
            raise UnsupportedImageError(
                disk.name,
                f"{disk.title}, and it comes as a stream"
                if disk is found
                else f"{found.title}, and what is in it is {disk.title}",
                "Unpack it to a file, and import that.",
            )
        opened = cls(identity, found, disk, identity.size if disk is found else None)
        counted.file = opened
        opened._chunks = lambda _: _aligned(content)
        return opened

    async def _raw(self, source: ByteSource, start: int) -> Chunks:
        if isinstance(source, ChunkSource):
            chunks = in_order(source.read_chunk, source.size, start, _CHUNKS_AHEAD)
        else:
            chunks = in_order(_in_memory(source), source.size, start)
        self.position = offset = start
        async for chunk in chunks:
            self.position += len(chunk)
            yield offset, chunk
            offset += len(chunk)

    async def _converted(self, layout: ImageLayout, start: int) -> Chunks:
        total = self.identity.size or 1
        reader = LayoutReader(layout)
        async for found in data_ranges(layout):
            for offset in range(max(start, found.start), found.stop, CHUNK):
                data = await reader.read(offset, min(CHUNK, found.stop - offset))
                # The offset in the file is unknown: the progress is the disk's.
                self.position = total * (offset + len(data)) // layout.size
                yield offset, BytesChunk(data)
        self.position = total


class _Counter:
    """A stream that notes in the file how much was read of it, once there is one."""

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self._read = 0
        self.file: OpenedFile | None = None

    def __aiter__(self) -> _Counter:
        return self

    async def __anext__(self) -> bytes:
        chunk = await anext(self._stream)
        self._read += len(chunk)
        if self.file is not None:
            self.file.position = self._read
        return chunk


def _refuse(found: ImageFormat) -> None:
    if not found.is_importable:
        raise UnsupportedImageError(found.name, found.title, found.advice)


def _in_memory(source: ByteSource) -> Callable[[int, int], Coroutine[Any, Any, Chunk]]:
    async def read_chunk(offset: int, length: int) -> Chunk:
        return BytesChunk(await source.read(offset, length))

    return read_chunk


async def _aligned(stream: ByteStream) -> Chunks:
    """The stream in chunks of whole cells, but for the last; small ones are put together."""
    offset, rest = 0, b""
    async for chunk in stream:
        data = rest + chunk if rest else chunk
        whole = len(data) // CELL * CELL if len(data) >= MIB else 0
        rest = data[whole:]
        if whole:
            yield offset, BytesChunk(data[:whole] if rest else data)
            offset += whole
    if rest:
        yield offset, BytesChunk(rest)


class ImageImport:
    """Writes the disk of an opened file into a local image that was made for it.

    `done` bytes of it are in the image already: those are compared, and not written again.
    `checkpoint` is called now and then with how many bytes are safe.
    """

    def __init__(
        self,
        file: OpenedFile,
        image: LocalImage,
        name: str,
        clock: Clock,
        *,
        done: int = 0,
        pad: bool = False,
        report: Report | None = None,
        checkpoint: Callable[[int], Awaitable[None]],
    ) -> None:
        self._file = file
        self._image = image
        self._name = name
        self._clock = clock
        self._done = done
        self._end = 0
        self._pad = pad
        self._report = report
        self._checkpoint = checkpoint
        self._reported_at = self._checkpointed_at = clock.now()

    async def run(self) -> None:
        """Imports; what is written is durable when it returns.

        Raises `OddSizeError`, `SourceChangedError`, `StorageFullError`, and what the file raises.
        What was written until then stays in the image; `save` has it counted when it broke off.
        """
        async for offset, chunk in self._file.chunks(self._done):
            end = offset + len(chunk)
            if end > self._image.info.size:
                await self._image.resize(2 * end)
            await self._write_chunk(offset, chunk)
            self._end = end
            await self._report_progress()
        size = self._file.disk_size
        await self._finish(self._end if size is None else size)

    async def save(self) -> None:
        """Makes durable what was written, and calls `checkpoint`; raises `StorageError`."""
        if self._end > self._done:
            await self._image.flush()
            await self._checkpoint(self._end)
            self._done = self._end

    async def _write_chunk(self, offset: int, chunk: Chunk) -> None:
        known = 0 if self._file.is_pinned else max(0, min(len(chunk), self._done - offset))
        if known and await self._image.read(offset, known) != chunk.copy(0, known):
            raise SourceChangedError(
                self._name, f"content up to byte {offset + known:,}", "another", "not the same"
            )
        # Written again from where the crash was: some of it may be there already.
        for start, stop in chunk.data_runs(known // CELL * CELL):
            await _write_run(self._image, offset, chunk, start, stop)

    async def _report_progress(self) -> None:
        now = self._clock.now()
        if self._report is not None and now - self._reported_at >= _PROGRESS_EVERY_S:
            self._report(CopyProgress(self._file.position, self._file.identity.size))
            self._reported_at = now
        if now - self._checkpointed_at >= _CHECKPOINT_EVERY_S:
            await self.save()
            self._checkpointed_at = self._clock.now()

    async def _finish(self, size: int) -> None:
        size = await self._without_footer(size)
        if not size:
            raise UnsupportedImageError(EMPTY.name, EMPTY.title, EMPTY.advice)
        if size % SECTOR_SIZE and not self._pad:
            raise OddSizeError(size)
        if self._image.info.size != _sectors(size):
            await self._image.resize(_sectors(size), cut=True)
        await self._image.flush()
        if self._report is not None:
            self._report(CopyProgress(self._file.position, self._file.identity.size))

    async def _without_footer(self, size: int) -> int:
        """The size without the end of a fixed VHD, which only the end of a stream shows."""
        if self._file.disk_size is not None and self._file.format is self._file.disk:
            return size  # its end was looked at before
        if size <= _FOOTER:
            return size
        footer = VhdFooter.parse(await self._image.read(size - _FOOTER, _FOOTER))
        if footer is None or footer.size + _FOOTER != size:
            return size
        return footer.size


def check_size(size: int | None, *, pad: bool) -> int:
    """The size that an image gets, 0 for one that is not known yet; raises `OddSizeError`."""
    if size is None:
        return 0
    if size % SECTOR_SIZE and not pad:
        raise OddSizeError(size)
    return _sectors(size)


def _sectors(size: int) -> int:
    return -(-size // SECTOR_SIZE) * SECTOR_SIZE


async def _write_run(image: LocalImage, offset: int, chunk: Chunk, start: int, stop: int) -> None:
    """Writes a run of a chunk that begins at `offset` of the image; raises as `LocalImage.write`.

    Long ones go from their memory straight into the image's file.
    """
    whole = start + (stop - start) // CELL * CELL
    if whole - start >= _FILLED and not (offset + start) % CELL:
        try:
            image.fill(
                offset + start,
                whole - start,
                lambda begin, end, file, offset: chunk.put(
                    start + begin, start + end, file, offset
                ),
            )
            start = whole
        except StorageFullError:
            pass  # smaller writes may still fit over existing data
    if stop > start:
        await image.write(offset + start, chunk.copy(start, stop))
