"""The partitions of a disk and the files on them, read block by block as they are asked for.

    files = DiskFiles(disk)
    for entry in (await files.list("/")).entries:          # the partitions
        print(entry.name, entry.description)
    data = await files.read("/1/etc/hostname", 0, 4096)

These parsers are this project's own: `web/guide/decisions/file-system-readers.md` says why. Other
parsers read a `DiskFile`, for formats that are not here.

`partitions`, `volume` and `recognition` say what is where on a disk.

`waiting_files` has files and paths for code without asyncio, which imports them from
`aero_browser_disk.sync`; `boot_code` whether a PC would find something to boot.
"""

from __future__ import annotations

from .async_path import AsyncFilePath
from .disk_files import NOT_A_FILE, DiskFiles
from .file_io import BUFFER_SIZE, AsyncImageFile, ImageFile
from .pure_path import PureFilePath
from .tree import Entry, Extent, Listing

__all__ = [
    "BUFFER_SIZE",
    "NOT_A_FILE",
    "AsyncFilePath",
    "AsyncImageFile",
    "DiskFiles",
    "Entry",
    "Extent",
    "ImageFile",
    "Listing",
    "PureFilePath",
]
