"""Whether a PC with a BIOS would find something to boot on a disk."""

from __future__ import annotations

from ..disk import CD_SECTOR_SIZE, Disk
from .volume import Volume

_SECTOR = 512
_SIGNATURE = b"\x55\xaa"
_CODE_END = 440  # the partition table's disk signature follows
# What mkfs.fat writes in place of a loader prints this.
_NO_LOADER = b"This is not a bootable disk"
# The boot record of a CD (El Torito 1.0, §2.0) is in its 17th sector.
_BOOT_RECORD = 17 * 2048
_EL_TORITO = b"\x00CD001\x01EL TORITO SPECIFICATION"


async def has_boot_code(disk: Disk) -> bool:
    """Whether the first sector has code, or a CD has a boot record; raises as the disk does.

    Code that starts nothing, as an empty boot loader's, counts all the same: only running it would
    tell.
    """
    volume = Volume(disk)
    if disk.info.sector_size != CD_SECTOR_SIZE and await _has_first_sector(volume):
        return True
    return await _has_boot_record(volume)


async def boots_as_cd(disk: Disk) -> bool:
    """Whether a PC boots this from its CD drive and not as a hard disk; raises as the disk does.

    The image of a CD at an address has sectors of 512 bytes, as any raw image there. For one that
    is a disk as well, see `boots_either_way`: here it counts as a disk.
    """
    if disk.info.sector_size == CD_SECTOR_SIZE:
        return True
    volume = Volume(disk)
    return not await _has_first_sector(volume) and await _has_boot_record(volume)


async def boots_either_way(disk: Disk) -> bool:
    """Whether a PC boots this from its CD drive, and as a hard disk too; raises as the disk does.

    It has boot code of both kinds, and sectors of 512 bytes, so nobody has chosen yet.
    """
    if disk.info.sector_size == CD_SECTOR_SIZE:
        return False
    volume = Volume(disk)
    return await _has_first_sector(volume) and await _has_boot_record(volume)


async def _has_first_sector(volume: Volume) -> bool:
    """Whether there is a master boot record, or a boot sector, with code."""
    first = await volume.read_up_to(0, _SECTOR)
    return first[-2:] == _SIGNATURE and any(first[:_CODE_END]) and _NO_LOADER not in first


async def _has_boot_record(volume: Volume) -> bool:
    """Whether there is the boot record of a CD."""
    if volume.length < _BOOT_RECORD:
        return False
    return await volume.read_up_to(_BOOT_RECORD, len(_EL_TORITO)) == _EL_TORITO
