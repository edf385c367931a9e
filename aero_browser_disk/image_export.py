"""A disk as a raw file, or compressed: a stream in which holes cost next to nothing."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, Protocol

from .disk import Disk, data_ranges
from .errors import InvalidOptionError, StorageError
from .image_formats import ZSTD
from .zstandard import zstd_module

MIB = 1 << 20
Compression = Literal["gzip", "zstd"]
SUFFIXES: dict[str | None, str] = {None: "", "gzip": ".gz", "zstd": ".zst"}

_PIECE = 4 * MIB
_HOLE = 16 * MIB  # zeros that are packed once, and then repeated
_SMALL_ZEROS = 64 << 10  # fewer are written out
_GZIP_LEVEL = 1  # 6 takes three times as long for a tenth less (measured on a Debian image)
_ZSTD_LEVEL = 3


@dataclass(frozen=True, slots=True)
class Hole:
    """So many zeros, which a sink may leave out where its file can have holes."""

    length: int


Part = bytes | bytearray | Hole


class Packer(Protocol):
    """Makes a file of data and of zeros."""

    def data(self, piece: bytearray) -> bytes | bytearray:
        """What goes out for a piece; may be nothing for now."""

    def zeros(self, length: int) -> Iterator[Part]:
        """What goes out for so many zeros."""

    def end(self) -> bytes:
        """What is still to go out."""


async def exported(
    disk: Disk,
    compression: Compression | None = None,
    reached: Callable[[int], None] = lambda _: None,
) -> AsyncGenerator[Part, None]:
    """The bytes of a disk as a file, in order; raw ones have holes in them.

    `reached` is told where on the disk it is, before what goes out for that.

    gzip and Zstandard files are made of several members or frames, which their own tools read as
    one. Raises `InvalidOptionError`, `UnsupportedImageError` where this Python has no Zstandard,
    and what reading the disk does.
    """
    packer = packer_for(compression)
    at = 0
    for start, length in [*data_ranges(disk), (disk.info.size, 0)]:
        if start > at:
            reached(start)
            for part in packer.zeros(start - at):
                if part:
                    yield part
        for offset in range(start, start + length, _PIECE):
            piece = bytearray(min(_PIECE, start + length - offset))
            await disk.read_into(offset, piece)
            reached(offset + len(piece))
            if packed := packer.data(piece):
                yield packed
        at = start + length
    if rest := packer.end():
        yield rest


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

    def data(self, piece: bytearray) -> bytearray:
        return piece

    def zeros(self, length: int) -> Iterator[Part]:
        yield bytes(length) if length < _SMALL_ZEROS else Hole(length)

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
    """Members or frames one behind the other: of data, and of long runs of zeros."""

    def __init__(self, begin: MakeCompressor, begin_zeros: MakeCompressor) -> None:
        self._begin = begin
        self._begin_zeros = begin_zeros
        self._member: Compressor | None = None
        self._hole = b""  # the member for `_HOLE` zeros, once there was need of it

    def data(self, piece: bytes | bytearray) -> bytes:
        if self._member is None:
            self._member = self._begin()
        return self._member.compress(piece)

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
        # A file without any member would be none.
        return self._end_member() if self._member or self._hole else self.data(b"") + self.end()

    def _end_member(self) -> bytes:
        member, self._member = self._member, None
        return member.flush() if member is not None else b""

    def _packed_hole(self) -> bytes:
        member = self._begin_zeros()
        return member.compress(bytes(_HOLE)) + member.flush()


async def write_to_path(parts: AsyncIterator[Part], path: Path) -> int:
    """Writes an export to a file of the host, with holes where the file system has them.

    The file appears under its name when it is whole. Returns its size; raises `StorageError`.
    """
    unfinished = path.with_name(f"{path.name}.part")
    try:
        with unfinished.open("wb") as file:
            async for part in parts:
                if isinstance(part, Hole):
                    file.seek(part.length, 1)
                else:
                    file.write(part)
                await asyncio.sleep(0)  # a disk in memory must not keep others from their turn
            size = file.tell()
            file.truncate(size)
        unfinished.replace(path)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise StorageError(path.name, error.strerror or str(error)) from error
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    return size
