"""An image file of this machine as a disk, read where it is (CPython)."""

from __future__ import annotations

import os

from ..errors import SourceError, UnreadableImageError
from ..platform.byte_source import PathSource
from .layout_disk import LayoutDisk
from .opening import RawLayout, open_layout
from .raw_file import RawFileDisk

LocalFileDisk = RawFileDisk | LayoutDisk


async def open_file_disk(path: str | os.PathLike[str], format: str = "auto") -> LocalFileDisk:  # noqa: A002
    """Opens the disk in an image file of any format, read-only.

    `format` as for `open_layout`, which says what is raised; also `UnreadableImageError` and
    `EmptyImageError`.
    """
    raw = RawFileDisk.open(path)
    try:
        source = PathSource(path)
    except SourceError as error:
        await raw.close()
        raise UnreadableImageError(os.fspath(path), str(error)) from error
    try:
        layout = await open_layout(source, format=format)
    except BaseException:
        source.close()
        await raw.close()
        raise
    if isinstance(layout, RawLayout):
        source.close()
        return raw
    version = f"{raw.info.version}-{layout.format.name}"
    await raw.close()
    return LayoutDisk(layout, version, on_close=source.close)
