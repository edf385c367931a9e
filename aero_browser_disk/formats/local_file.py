"""An image file of this machine, or one that a page was given, as a disk read where it is."""

from __future__ import annotations

import os
from pathlib import Path

from ..disk import CD_SECTOR_SIZE, SECTOR_SIZE
from ..errors import EmptyImageError, SourceError, UnreadableImageError
from ..platform.byte_source import ByteSource, PathSource, SourceIdentity
from .cue_sheet import MAX_CUE_SHEET, data_track
from .image_format import PREPARED
from .layout import ImageLayout
from .layout_disk import LayoutDisk
from .opening import RawLayout, open_layout, recognise_source
from .prepared.layout import PreparedLayout
from .prepared.manifest import MAX_MANIFEST, Manifest, disk_validator
from .prepared.stored_files import FolderFiles
from .raw_file import RawFileDisk

LocalFileDisk = RawFileDisk | LayoutDisk

_BLOB_BLOCK = 64 * 1024  # a read takes a browser about as long whatever its length, up to there


async def open_file_disk(path: str | os.PathLike[str], format: str = "auto") -> LocalFileDisk:  # noqa: A002
    """Opens the disk in an image file of any format, read-only.

    `format` as for `open_layout`, which says what is raised; also `UnreadableImageError` and
    `EmptyImageError`.
    """
    if format == "auto" and os.fspath(path).lower().endswith(".cue"):
        path, format = _track_of(Path(path))  # noqa: A001
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


async def open_source_disk(
    source: ByteSource,
    identity: SourceIdentity,
    format: str = "auto",  # noqa: A002
) -> LayoutDisk:
    """Opens the disk in a file that a page was given, read-only.

    Its version is the size of the file and the time of its last change. `format` as for
    `open_layout`, which says what is raised; also `EmptyImageError`.
    """
    if not source.size:
        raise EmptyImageError(identity.name or "The file")
    layout = await open_layout(source, format=format)
    version = f"{identity.modified}-{source.size:x}"
    if not isinstance(layout, RawLayout):
        version = f"{version}-{layout.format.name}"
    sector_size = CD_SECTOR_SIZE if layout.format.is_cd else SECTOR_SIZE
    return LayoutDisk(layout, version, sector_size=sector_size, block_size=_BLOB_BLOCK)


def _track_of(sheet: Path) -> tuple[Path, str]:
    """The file of the data track that a cue sheet names, next to it, and its format."""
    try:
        with sheet.open("rb") as file:
            track = data_track(file.read(MAX_CUE_SHEET + 1))
    except OSError as error:
        raise UnreadableImageError(os.fspath(sheet), error.strerror or str(error)) from error
    return sheet.parent / track.file, track.format


async def _layout(source: PathSource, name: str) -> ImageLayout:
    """As `open_layout`; the files of a prepared image are in the folder of its manifest."""
    if name == "auto" and (await recognise_source(source)) is PREPARED:
        name = PREPARED.name
    if name != PREPARED.name:
        return await open_layout(source, format=name)
    manifest = Manifest.decode(await source.read(0, MAX_MANIFEST + 1))
    return PreparedLayout(manifest, FolderFiles(source.path.parent))
