"""Finds the layout of the disk in a file."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from ..errors import InvalidOptionError, UnsupportedImageError
from ..platform.byte_source import ByteSource
from .cd_sectors import CdSectorsLayout
from .image_format import (
    BGZF,
    CD_SECTORS,
    OVA,
    PREPARED,
    QCOW2,
    UNKNOWN,
    VDI,
    VHD_DYNAMIC,
    VHD_FIXED,
    VHDX,
    VMDK,
    ZSTD_SEEKABLE,
    ImageFormat,
)
from .layout import ImageLayout, Segment, raw_segment
from .ova import OvaLayout
from .qcow2 import Qcow2Layout
from .recognition import HEAD_LENGTH, TAIL_LENGTH, recognise
from .seekable_gzip import BgzfLayout
from .seekable_zstd import SeekableZstdLayout
from .vdi import VdiLayout
from .vhd import open_vhd
from .vhdx import VhdxLayout
from .vmdk import VmdkLayout

_OPENERS: Final[dict[str, Callable[[ByteSource], Awaitable[ImageLayout]]]] = {
    VHD_FIXED.name: open_vhd,
    VHD_DYNAMIC.name: open_vhd,
    "vhd": open_vhd,
    VHDX.name: VhdxLayout.open,
    VMDK.name: VmdkLayout.open,
    OVA.name: OvaLayout.open,
    VDI.name: VdiLayout.open,
    CD_SECTORS.name: CdSectorsLayout.open,
    ZSTD_SEEKABLE.name: SeekableZstdLayout.open,
}
FORMAT_NAMES: Final = ("auto", "raw", QCOW2.name, BGZF.name, *_OPENERS, PREPARED.name)
"""What `open_layout` takes as a format."""


class RawLayout:
    """The simplest layout: the bytes of the file are those of the disk."""

    is_raw = True

    def __init__(self, source: ByteSource, found: ImageFormat = UNKNOWN) -> None:
        self.format = found
        self.size = source.size
        self._source = source

    async def segment(self, offset: int, stop: int) -> Segment:
        return raw_segment(offset, stop, self._source, offset)

    async def check_tables(self) -> None:
        """Does nothing: a raw image has no tables."""


async def recognise_source(source: ByteSource) -> ImageFormat:
    """What a file is, by its first and last bytes; raises what the source raises."""
    size = source.size
    head = await source.read(0, min(HEAD_LENGTH, size))
    tail = await source.read(max(0, size - TAIL_LENGTH), min(TAIL_LENGTH, size))
    return recognise(head, tail, size)


async def open_layout(
    source: ByteSource,
    *,
    format: str = "auto",  # noqa: A002
    backing: ImageLayout | None = None,
    index: ByteSource | None = None,
) -> ImageLayout:
    """The layout of the disk in a file.

    `format` is "auto", "raw", or the name of a format: then nothing is guessed. A guest can write a
    header of another format to a raw disk, so pass "raw" if you know that it is raw. `backing` is
    the disk of a qcow2's backing file, `index` the `.gzi` file of a BGZF.

    Raises `UnsupportedImageError` for a file that is no disk or that cannot be read in place,
    `DamagedImageError`, `InvalidOptionError`, and what the sources raise.
    """
    if format not in FORMAT_NAMES:
        raise InvalidOptionError("format", format, f"one of {', '.join(FORMAT_NAMES)}")
    if format == "raw":
        return RawLayout(source)
    name = format
    if format == "auto":
        found = await recognise_source(source)
        if found.treatment in ("raw", "cd"):
            return RawLayout(source, found)
        name = found.name
        if name not in FORMAT_NAMES:
            raise UnsupportedImageError(found.name, found.title, found.advice)
    if name == PREPARED.name:
        raise UnsupportedImageError(
            PREPARED.name,
            PREPARED.title,
            "Its chunks are in files next to its manifest: open its address or its path.",
        )
    if name == QCOW2.name:
        return await Qcow2Layout.open(source, backing)
    if name == BGZF.name:
        return await BgzfLayout.open(source, index)
    return await _OPENERS[name](source)
