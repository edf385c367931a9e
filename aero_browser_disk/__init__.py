"""Disk images of any size for emulators that run in a browser: see `open_disk`."""

from __future__ import annotations

from . import errors
from .disk import Disk, DiskInfo, DiskStats
from .errors import DiskError
from .library import Library
from .open_disk import open_disk
from .url_doctor import diagnose

__all__ = [
    "Disk",
    "DiskError",
    "DiskInfo",
    "DiskStats",
    "Library",
    "diagnose",
    "errors",
    "open_disk",
]
