"""Reads the disk of a virtual appliance (OVA) where it is: a tar archive with a VMDK in it.

DMTF, "Open Virtualization Format" (DSP0243) §5.3: the description, `.ovf`, is the first file of the
archive, whose format is USTAR (POSIX.1-1988).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace

from ..errors import DamagedImageError, UnsupportedImageError
from ..platform.byte_source import ByteSource
from .image_format import OVA
from .layout import Segment
from .pages import PageCache
from .vmdk import VmdkLayout

HEADER_LENGTH = 512
_HEADER = struct.Struct("<100s24x12s12x8s1s100x6s")
_CHECKSUM = slice(148, 156)
_FILES = (b"0", b"\0", b"7")  # types of a member that has content
_MAX_MEMBERS = 64
_UNPACK = "Unpack it (tar -xf FILE), and take the disk that is inside."


@dataclass(frozen=True, slots=True)
class _Member:
    """A file of the archive. Sizes are in bytes."""

    name: str
    is_file: bool
    size: int

    @classmethod
    def parse(cls, head: bytes) -> _Member | None:
        """What a header says; None when it is none."""
        if len(head) < HEADER_LENGTH:
            return None
        name, size, checksum, kind, magic = _HEADER.unpack_from(head)
        header = bytearray(head[:HEADER_LENGTH])
        header[_CHECKSUM] = b" " * 8
        found = _number(size)
        if not magic.startswith(b"ustar") or _number(checksum) != sum(header) or found is None:
            return None
        return cls(name.partition(b"\0")[0].decode("latin-1").lower(), kind in _FILES, found)


class _Part:
    """A part of a file as a `ByteSource`."""

    def __init__(self, source: ByteSource, offset: int, size: int) -> None:
        self.size = size
        self._source = source
        self._offset = offset

    async def read(self, offset: int, length: int) -> bytes:
        length = max(0, min(length, self.size - offset))
        return await self._source.read(self._offset + offset, length) if length else b""


class OvaLayout:
    """The layout of the only disk in an archive."""

    format = OVA

    def __init__(self, source: ByteSource, offset: int, disk: VmdkLayout) -> None:
        self.size = disk.size
        self._source = source
        self._offset = offset
        self._disk = disk

    @classmethod
    async def open(cls, source: ByteSource) -> OvaLayout:
        """Finds the disk.

        Raises `DamagedImageError`, `UnsupportedImageError` when there is not exactly one VMDK, and
        what `VmdkLayout.open` does.
        """
        disks = [
            (offset, member.size)
            for offset, member in await _members(source)
            if member.is_file and member.name.endswith(".vmdk")
        ]
        if len(disks) != 1:
            count = f"It has {len(disks)} disks" if disks else "It has no VMDK disk"
            raise UnsupportedImageError(OVA.name, OVA.title, f"{count}. {_UNPACK}")
        ((offset, size),) = disks
        return cls(source, offset, await VmdkLayout.open(_Part(source, offset, size)))

    async def segment(self, offset: int, stop: int) -> Segment:
        found = await self._disk.segment(offset, stop)
        if found.is_zeros:
            return found
        return replace(found, source=self._source, offset=self._offset + found.offset)

    async def check_tables(self) -> None:
        await self._disk.check_tables()


def begins_ova(head: bytes) -> bool:
    """Whether a file begins like a virtual appliance."""
    first = _Member.parse(head)
    return first is not None and first.is_file and first.name.endswith(".ovf")


async def _members(source: ByteSource) -> list[tuple[int, _Member]]:
    """Where the content of each member begins, and the member; raises `DamagedImageError`."""
    pages = PageCache(source, OVA)
    found: list[tuple[int, _Member]] = []
    at = 0
    while at + HEADER_LENGTH <= source.size:
        head = await pages.read(at, HEADER_LENGTH, "a header")
        if head == bytes(HEADER_LENGTH):
            return found
        member = _Member.parse(head)
        if member is None:
            raise _damaged(f"no file begins at byte {at:,}")
        begin = at + HEADER_LENGTH
        if begin + member.size > source.size:
            raise _damaged(f"{member.name} ends behind the archive")
        found.append((begin, member))
        if len(found) > _MAX_MEMBERS:
            raise UnsupportedImageError(OVA.name, OVA.title, f"It has too many files. {_UNPACK}")
        at = begin + -(-member.size // HEADER_LENGTH) * HEADER_LENGTH
    return found


def _number(field: bytes) -> int | None:
    """A number in octal digits, or, as GNU tar has long ones, in binary; None when it is none."""
    if field[:1] == b"\x80":
        return int.from_bytes(field[1:], "big")
    digits = field.strip(b" \0")
    try:
        return int(digits, 8) if digits.isdigit() else None
    except ValueError:
        return None


def _damaged(reason: str) -> DamagedImageError:
    return DamagedImageError(OVA.title, reason)
