"""Disk images of any size for emulators that run in a browser: see `open_disk`.

Everything that programs use is imported from here, or from one of these:

- `errors`: every error, all of them `DiskError`s.
- `file_systems`: partitions and files on a disk.
- `formats`: what kind of image a file is.
- `notebook`: progress bars and downloads in notebooks and terminals.
- `platform`: the protocols of storage, HTTP, locks and clock that a disk needs, and their
  implementations.
- `saves`: overlays on a server, pushed from one device and pulled on another.
- `sync`: the same disks for code without asyncio.
- `testing`: servers, images and test suites for tests of your own.

All other modules may change in any version.
"""

from __future__ import annotations

from . import errors
from .disk import Disk, DiskInfo, DiskStats, Notice
from .disk_file import DiskFile
from .doctor.diagnosis import Diagnosis, Finding, diagnose
from .errors import DiskError
from .library.catalog import LibraryEntry, LibraryUsage
from .library.library import ExportFile, Library
from .library.open_image import LibraryDisk
from .library.recovery import Recovery
from .open_disk import open_disk
from .platform import Platform, cpython_platform, current_platform
from .remote.access import RenewedAccess
from .remote.retry import RetryPolicy
from .streaming.boot_profile import BootProfile
from .streaming.digest_list import DigestList
from .streaming.remote_options import RemoteOptions
from .streaming.streaming_disk import StreamingDisk

__all__ = [
    "BootProfile",
    "Diagnosis",
    "DigestList",
    "Disk",
    "DiskError",
    "DiskFile",
    "DiskInfo",
    "DiskStats",
    "ExportFile",
    "Finding",
    "Library",
    "LibraryDisk",
    "LibraryEntry",
    "LibraryUsage",
    "Notice",
    "Platform",
    "Recovery",
    "RemoteOptions",
    "RenewedAccess",
    "RetryPolicy",
    "StreamingDisk",
    "__version__",
    "cpython_platform",
    "current_platform",
    "diagnose",
    "errors",
    "open_disk",
]

__version__ = "0.1.0"
