"""Exports a disk as a raw or compressed file: a stream in which holes cost almost nothing."""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO, Literal, Protocol, runtime_checkable

from ..disk import Disk, data_ranges, locate
from ..errors import InvalidOptionError, StorageError
from ..formats.image_format import ZSTD
from ..formats.zstandard import zstd_module
from ..platform.whole_file import whole_file

MIB = 1 << 20
Compression = Literal["gzip", "zstd"]
SUFFIXES: dict[str | None, str] = {None: "", "gzip": ".gz", "zstd": ".zst"}

_CHUNK = 4 * MIB
_FOREIGN = 32 * MIB  # at once from a file to the page: each transfer has a fixed cost (measured)
_HOLE = 16 * MIB  # zeros that are packed once, and then repeated
_SMALL_ZEROS = 64 << 10
_GZIP_LEVEL = 1  # 6 takes three times as long for a tenth less (measured on a Debian image)
_ZSTD_LEVEL = 3


@dataclass(frozen=True, slots=True)
class Hole:
    """A run of zeros, which a sink may skip if its file can have holes."""

    length: int

    def zeros(self) -> Iterator[memoryview]:
        """The zeros themselves, for a sink without holes."""
        for done in range(0, self.length, len(_ZEROS)):
            yield memoryview(_ZEROS)[: self.length - done]


_ZEROS = bytes(1 << 20)
Part = bytes | bytearray | Hole


class ForeignPart(Protocol):
    """Bytes in JavaScript's memory, for the page."""

    def __len__(self) -> int:
        """How many there are."""


@runtime_checkable
class ForeignReadableFile(Protocol):
    """A file that can be read into memory that is not Python's."""

    def read_foreign(self, offset: int, length: int) -> ForeignPart | None:
        """Some of its bytes, None if that is impossible; raises as `File.read_into`."""


class Packer(Protocol):
    """Packs data and zeros into a file."""

    def data(self, chunk: bytearray) -> bytes | bytearray:
        """The output for a chunk; may be empty for now."""

    def zeros(self, length: int) -> Iterator[Part]:
        """The output for so many zeros."""

    def end(self) -> bytes:
        """The rest of the output."""


async def exported(
    disk: Disk,
    compression: Compression | None = None,
    reached: Callable[[int], None] = lambda _: None,
) -> AsyncGenerator[Part, None]:
    """The bytes of a disk as a file, in order; raw ones have holes in them.

    `reached` is called with the offset on the disk before the part for it is yielded.

    gzip and Zstandard files are made of several members or frames, which their own tools read as
    one. Raises `InvalidOptionError`, `UnsupportedImageError` where this Python has no Zstandard,
    and what reading the disk does.
    """
    packer = packer_for(compression)
    for start, stop, is_data in _runs(disk):
        if is_data:
            for offset in range(start, stop, _CHUNK):
                chunk = await _read(disk, offset, min(_CHUNK, stop - offset))
                reached(offset + len(chunk))
                if packed := packer.data(chunk):
                    yield packed
        else:
            reached(stop)
            for part in packer.zeros(stop - start):
                if part:
                    yield part
    if rest := packer.end():
        yield rest


async def with_holes(parts: AsyncGenerator[Part, None]) -> AsyncGenerator[Part, None]:
    """The same parts, with holes in place of zeros that were read; closes `parts` at the end."""
    async with contextlib.aclosing(parts):
        async for part in parts:
            if isinstance(part, Hole):
                yield part
                continue
            for at in range(0, len(part), _SMALL_ZEROS):
                piece = part[at : at + _SMALL_ZEROS]
                yield Hole(len(piece)) if piece == bytes(len(piece)) else piece


async def exported_foreign(
    disk: Disk, reached: Callable[[int], None] = lambda _: None
) -> AsyncGenerator[Part | ForeignPart, None]:
    """As `exported`, raw; runs of bytes in a browser's file bypass Python's memory."""
    for start, stop, is_data in _runs(disk):
        if not is_data:
            reached(stop)
            yield Hole(stop - start)
        offset = start if is_data else stop
        while offset < stop:
            part = _read_foreign(disk, offset, min(_FOREIGN, stop - offset))
            if part is None:
                part = _read_foreign(disk, offset, min(_CHUNK, stop - offset))
            if part is None:
                part = await _read(disk, offset, min(_CHUNK, stop - offset))
            offset += len(part)
            reached(offset)
            yield part


def _read_foreign(disk: Disk, offset: int, length: int) -> ForeignPart | None:
    located = locate(disk, offset, length)
    if located is None:
        return None
    file, start = located
    if not isinstance(file, ForeignReadableFile):
        return None
    return file.read_foreign(start, length)


async def _read(disk: Disk, offset: int, length: int) -> bytearray:
    chunk = bytearray(length)
    await disk.read_into(offset, chunk)
    return chunk


def _runs(disk: Disk) -> Iterator[tuple[int, int, bool]]:
    """All of a disk in order: from start to stop, and whether it is data; if not, it is zeros."""
    at = end = 0
    for start, length in data_ranges(disk):
        if start - end >= _SMALL_ZEROS:  # fewer are written out
            if end > at:
                yield at, end, True
            yield end, start, False
            at = start
        end = start + length
    if end > at:
        yield at, end, True
    if disk.info.size > end:
        yield end, disk.info.size, False


def packer_for(compression: object) -> Packer:
    """The packer of that name; raises `InvalidOptionError` and `UnsupportedImageError`."""
    if compression is None:
        return RawPacker()
    if compression == "gzip":
        return MemberPacker(partial(_GzipMember, _GZIP_LEVEL), partial(_GzipMember, 9))
    if compression == "zstd":
        module = zstd_module(ZSTD)
        begin = partial(module.ZstdCompressor, level=_ZSTD_LEVEL)
        return MemberPacker(begin, begin)
    raise InvalidOptionError("compress", compression, '"gzip" or "zstd", or not given')


class RawPacker:
    """The bytes as they are."""

    def data(self, chunk: bytearray) -> bytearray:
        return chunk

    def zeros(self, length: int) -> Iterator[Part]:
        yield Hole(length)

    def end(self) -> bytes:
        return b""


class Compressor(Protocol):
    """One member or frame, as the compressors of `zlib` and `compression.zstd` have it."""

    def compress(self, data: bytes | bytearray, /) -> bytes:
        """Takes more."""

    def flush(self) -> bytes:
        """Ends it."""


class MakeCompressor(Protocol):
    """Begins a member or frame."""

    def __call__(self) -> Compressor:
        """A new one."""


class _GzipMember:
    """A `Compressor` of a member of a gzip file."""

    def __init__(self, level: int) -> None:
        raw = zlib.compressobj(level, zlib.DEFLATED, zlib.MAX_WBITS | 16)
        self.compress = raw.compress
        self.flush = raw.flush


class MemberPacker:
    """Packs data and long runs of zeros into consecutive members or frames."""

    def __init__(self, begin: MakeCompressor, begin_zeros: MakeCompressor) -> None:
        self._begin = begin
        self._begin_zeros = begin_zeros
        self._member: Compressor | None = None
        self._hole = b""  # the member for `_HOLE` zeros, made when first needed

    def data(self, chunk: bytes | bytearray) -> bytes:
        if self._member is None:
            self._member = self._begin()
        return self._member.compress(chunk)

    def zeros(self, length: int) -> Iterator[Part]:
        holes, rest = divmod(length, _HOLE)
        if holes:
            yield self._end_member()
            self._hole = self._hole or self._packed_hole()
            for _ in range(holes):
                yield self._hole
        if rest:
            yield self.data(bytes(rest))

    def end(self) -> bytes:
        # A file without any member would be invalid.
        return self._end_member() if self._member or self._hole else self.data(b"") + self.end()

    def _end_member(self) -> bytes:
        member, self._member = self._member, None
        return member.flush() if member is not None else b""

    def _packed_hole(self) -> bytes:
        member = self._begin_zeros()
        return member.compress(bytes(_HOLE)) + member.flush()


async def write_to_path(parts: AsyncIterator[Part], path: Path) -> int:
    """Writes an export to a file of this machine, with holes where the file system has them.

    The file appears under its name when it is whole; a device or a pipe is written from its
    beginning. Returns the number of bytes; raises `StorageError`.
    """
    try:
        with whole_file(path) as file:
            return await write_parts(parts, file)
    except OSError as error:
        raise StorageError(str(path), error.strerror or str(error)) from error


async def write_parts(parts: AsyncIterator[Part], file: BinaryIO) -> int:
    """Writes an export to an open file, with holes if it is a regular one; returns its size.

    Raises `OSError`.
    """
    size = 0
    has_holes = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
    async for part in parts:
        if not isinstance(part, Hole):
            size += file.write(part)
        elif has_holes:
            size = file.seek(part.length, 1)
        else:
            for data in part.zeros():
                size += file.write(data)
        await asyncio.sleep(0)  # a disk in memory must not keep others from their turn
    if has_holes:
        file.truncate(size)
    return size
