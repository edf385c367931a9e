"""The partitions of a disk and the files on them, read block by block as they are asked for.

    files = DiskFiles(disk)
    for entry in (await files.list("/")).entries:          # the partitions
        print(entry.name, entry.description)
    data = await files.read("/1/etc/hostname", 0, 4096)

These parsers are this project's own. Those that PyPI has were looked at and tried: they read
synchronously, which takes stack switching that not every browser has, and one block after the
other; they trust an image with their memory and time; pycdlib 1.22 reads every folder of a disc
when it opens it (233 reads for 111 folders); dissect.* are AGPL-3.0, and dissect.fat 3.13 returns
other bytes for a file whose cluster chain steps back by one. They do work on a `DiskFile`, for
formats that are not here.
"""

from __future__ import annotations

from .async_path import AsyncFilePath
from .disk_files import DiskFiles
from .file_io import BUFFER_SIZE, AsyncImageFile, ImageFile
from .pure_path import PureFilePath
from .tree import Entry, Extent, Listing

__all__ = [
    "BUFFER_SIZE",
    "AsyncFilePath",
    "AsyncImageFile",
    "DiskFiles",
    "Entry",
    "Extent",
    "ImageFile",
    "Listing",
    "PureFilePath",
]
