"""Unpacks compressed files as streams, in bounded memory whatever their content."""

from __future__ import annotations

import asyncio
import bz2
import lzma
import zlib
from collections.abc import Callable
from typing import Protocol

from ..errors import DamagedImageError
from ..platform.byte_source import ByteStream
from .image_format import BGZF, BZIP2, GZIP, XZ, ZSTD, ZSTD_SEEKABLE, ImageFormat
from .zstandard import zstd_module

_CHUNK = 1 << 20  # bytes unpacked at once, however much they were before
_FED = 64 << 10  # bytes given at once: zlib copies what it has not used yet each time
_LARGEST_XZ_MEMORY = 256 << 20  # xz -9 needs 65 MiB


class Decompressor(Protocol):
    """One run of compressed data, as the classes of `bz2` and `lzma` have it."""

    @property
    def eof(self) -> bool:
        """Whether its end was reached."""

    @property
    def needs_input(self) -> bool:
        """Whether it needs more input to go on."""

    @property
    def unused_data(self) -> bytes:
        """What followed its end."""

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        """Takes more of the run; returns at most `max_length` unpacked bytes."""


class GzipMember:
    """A `Decompressor` of one member of a gzip file (RFC 1952 §2.3)."""

    def __init__(self) -> None:
        self._raw = zlib.decompressobj(zlib.MAX_WBITS | 16)

    @property
    def eof(self) -> bool:
        return self._raw.eof

    @property
    def needs_input(self) -> bool:
        return not self._raw.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._raw.unused_data

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        return self._raw.decompress(self._raw.unconsumed_tail + data, max(0, max_length))


async def unpacked(stream: ByteStream, packed: ImageFormat) -> ByteStream:
    """What the compressed `stream` holds, in chunks of at most 1 MiB.

    Concatenated members, frames and streams are read as one, as the formats' own tools do. Raises
    `DamagedImageError` when the stream is truncated or not of that format, and
    `UnsupportedImageError` when this Python cannot unpack it.
    """
    make = decompressor_of(packed)
    run: Decompressor | None = None
    async for data in _in_chunks(stream):
        rest = data
        while rest or (run is not None and not run.needs_input):
            if run is None:
                rest = rest.lstrip(b"\0")  # padding of tapes and of xz streams
                if not rest:
                    break
                run = make()
            try:
                chunk = run.decompress(rest, _CHUNK)
            except _FAILURES as error:
                raise DamagedImageError(packed.title, str(error)) from error
            rest = run.unused_data if run.eof else b""
            if run.eof:
                run = None
            if chunk:
                yield chunk
                await asyncio.sleep(0)  # a stream in memory must not block other tasks
    if run is not None:
        raise DamagedImageError(packed.title, "it breaks off before its end")


async def _in_chunks(stream: ByteStream) -> ByteStream:
    async for data in stream:
        for start in range(0, len(data), _FED):
            yield data[start : start + _FED]


def decompressor_of(packed: ImageFormat) -> Callable[[], Decompressor]:
    """What makes a `Decompressor` for that format; raises `UnsupportedImageError`."""
    if packed in (ZSTD, ZSTD_SEEKABLE):
        module = zstd_module(packed)
        failure: type[Exception] = module.ZstdError
        return lambda: _Mapped(module.ZstdDecompressor(), failure)
    makers: dict[ImageFormat, Callable[[], Decompressor]] = {
        GZIP: GzipMember,
        BGZF: GzipMember,
        XZ: lambda: lzma.LZMADecompressor(memlimit=_LARGEST_XZ_MEMORY),
        BZIP2: bz2.BZ2Decompressor,
    }
    return makers[packed]


class _Mapped:
    """A `Decompressor` of Zstandard with its error mapped: the error's class exists only where the
    module does."""

    def __init__(self, raw: Decompressor, failure: type[Exception]) -> None:
        self._raw = raw
        self._failure = failure

    @property
    def eof(self) -> bool:
        return self._raw.eof

    @property
    def needs_input(self) -> bool:
        return self._raw.needs_input

    @property
    def unused_data(self) -> bytes:
        return self._raw.unused_data

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        try:
            return self._raw.decompress(data, max_length)
        except self._failure as error:
            raise ValueError(str(error)) from error


_FAILURES = (ValueError, EOFError, OSError, zlib.error, lzma.LZMAError)
