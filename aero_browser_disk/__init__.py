"""Disk images of any size for emulators that run in a browser: see `open_disk`."""

from __future__ import annotations

from . import errors
from .disk import Disk, DiskInfo, DiskStats
from .disk_file import DiskFile
from .doctor.diagnosis import diagnose
from .errors import DiskError
from .library.library import Library
from .open_disk import open_disk
from .platform import host_platform

__all__ = [
    "Disk",
    "DiskError",
    "DiskFile",
    "DiskInfo",
    "DiskStats",
    "Library",
    "diagnose",
    "errors",
    "host_platform",
    "open_disk",
]
