"""Which file system a volume has, by its first sectors."""

from __future__ import annotations

from ..errors import UnknownFileSystemError
from .exfat import ExFatFileSystem
from .ext import ExtFileSystem
from .fat import FatFileSystem
from .iso9660 import Iso9660FileSystem
from .ntfs import NtfsFileSystem
from .tree import FileSystem
from .volume import Volume

_START = 4096
_FIRST_DESCRIPTOR = 32769
# Offset, signature, and what it is the signature of.
_OTHERS = (
    (0, b"XFSB", "XFS"),
    (0, b"LUKS\xba\xbe", "an encrypted volume (LUKS)"),
    (0, b"hsqs", "SquashFS"),
    (3, b"-FVE-FS-", "an encrypted volume (BitLocker)"),
    (3, b"ReFS", "ReFS"),
    (32, b"NXSB", "APFS"),
    (512, b"LABELONE", "a part of a volume group (LVM)"),
    (1024, b"H+", "HFS+"),
    (1024, b"HX", "HFS+"),
    (1024, b"\x10\x20\xf5\xf2", "F2FS"),
    (4086, b"SWAPSPACE2", "swap space"),
    (_FIRST_DESCRIPTOR, b"BEA01", "UDF"),
    (65536 + 64, b"_BHRfS_M", "Btrfs"),
)


async def open_file_system(volume: Volume) -> FileSystem:
    """The file system of a volume.

    Raises `UnknownFileSystemError` that names what is there instead, `DamagedFileSystemError`.
    """
    start = await volume.read_up_to(0, _START)
    for kind in (NtfsFileSystem, ExFatFileSystem, FatFileSystem, ExtFileSystem):
        found: FileSystem | None = await kind.open(volume, start)
        if found is not None:
            return found
    disc = await Iso9660FileSystem.open(volume)
    if disc is not None:
        return disc
    raise UnknownFileSystemError(await _name_of_other(volume, start))


async def is_disc(volume: Volume) -> bool:
    """Whether it is an ISO 9660 image, which may also have a partition table."""
    return await volume.read_up_to(_FIRST_DESCRIPTOR, 5) == b"CD001"


def begins_file_system(start: bytes) -> bool:
    """Whether a disk's first sector is a file system's, so that what looks like a table is none."""
    return start[3:11] in (b"NTFS    ", b"EXFAT   ") or _is_fat(start)


def _is_fat(start: bytes) -> bool:
    return start[54:57] == b"FAT" or start[82:87] == b"FAT32"


async def _name_of_other(volume: Volume, start: bytes) -> str:
    for offset, signature, name in _OTHERS:
        if offset + len(signature) <= len(start):
            found = start[offset : offset + len(signature)]
        else:
            found = await volume.read_up_to(offset, len(signature))
        if found == signature:
            return name
    return "nothing but zeros where it begins" if not any(start) else "no file system known here"
