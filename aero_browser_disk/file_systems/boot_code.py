"""Whether a PC with a BIOS would find something to boot on a disk."""

from __future__ import annotations

from ..disk import Disk
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
    if disk.info.sector_size == 2048:
        return await volume.read_up_to(_BOOT_RECORD, len(_EL_TORITO)) == _EL_TORITO
    first = await volume.read_up_to(0, _SECTOR)
    return first[-2:] == _SIGNATURE and any(first[:_CODE_END]) and _NO_LOADER not in first
