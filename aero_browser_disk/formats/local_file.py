"""An image file of this machine as a disk, read where it is (CPython)."""

from __future__ import annotations

import os

from ..disk import SECTOR_SIZE
from ..errors import SourceError, UnreadableImageError
from ..platform.byte_source import PathSource
from .image_format import PREPARED
from .layout import ImageLayout
from .layout_disk import LayoutDisk
from .opening import RawLayout, open_layout, recognise_source
from .prepared.layout import PreparedLayout
from .prepared.manifest import MAX_MANIFEST, Manifest, disk_validator
from .prepared.stored_files import FolderFiles
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
        raise UnreadableImageError(os.fspath(path), error.reason) from error
    try:
        layout = await _layout(source, format)
    except BaseException:
        source.close()
        await raw.close()
        raise
    if isinstance(layout, RawLayout):
        source.close()
        return raw
    version, sector_size = f"{raw.info.version}-{layout.format.name}", SECTOR_SIZE
    if isinstance(layout, PreparedLayout):
        version, sector_size = disk_validator(layout.manifest), layout.manifest.sector_size
    await raw.close()
    return LayoutDisk(layout, version, on_close=source.close, sector_size=sector_size)


async def _layout(source: PathSource, name: str) -> ImageLayout:
    """As `open_layout`; the files of a prepared image are in the folder of its manifest."""
    if name == "auto" and (await recognise_source(source)) is PREPARED:
        name = PREPARED.name
    if name != PREPARED.name:
        return await open_layout(source, format=name)
    manifest = Manifest.decode(await source.read(0, MAX_MANIFEST + 1))
    return PreparedLayout(manifest, FolderFiles(source.path.parent))
