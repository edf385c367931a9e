"""Reads CDs as BIN files: sectors of 2,352 bytes, of which 2,048 are the disc's (ECMA-130 §14)."""

from __future__ import annotations

from ..errors import DamagedImageError, UnsupportedImageError
from ..platform.byte_source import ByteSource
from .image_format import CD_SECTORS
from .layout import Buffer, Segment, Unpack, read_exactly

STORED: int = 2352
DATA: int = 2048
SYNC = b"\0" + b"\xff" * 10 + b"\0"
_MODE_AT = 15
# Of the data, by mode; in mode 2 it follows the sub-header of CD-ROM XA.
_DATA_AT = {1: 16, 2: 24}
_SECTORS_AT_ONCE = 2048  # of one segment: 4 MiB
_LEAD_IN = 150  # sectors before the first one that has data, which the addresses count too


class CdSectorsLayout:
    """The layout of a data track in a BIN file."""

    format = CD_SECTORS

    def __init__(self, source: ByteSource, first: int, sectors: int, mode: int) -> None:
        self.size = sectors * DATA
        self._source = source
        self._first = first
        self._mode = mode
        self._unpack = _unpack_sectors(mode)

    @classmethod
    async def open(cls, source: ByteSource) -> CdSectorsLayout:
        """Finds the data track at the beginning of the file: audio tracks may follow.

        Raises `DamagedImageError`, `UnsupportedImageError` for another mode than 1 and 2, and what
        the source raises.
        """
        if source.size < STORED:
            raise _damaged(f"it has {source.size:,} bytes, and one sector has {STORED:,}")
        head = await read_exactly(source, 0, _MODE_AT + 1, CD_SECTORS)
        mode = head[_MODE_AT]
        if not head.startswith(SYNC):
            raise _damaged("it does not begin with a sector")
        if mode not in _DATA_AT:
            raise UnsupportedImageError(
                CD_SECTORS.name, CD_SECTORS.title, f"Its sectors are of mode {mode}, not 1 or 2."
            )
        first, sectors = _address(head), source.size // STORED
        if not await _is_of_track(source, sectors - 1, first, mode):
            sectors = await _end_of_track(source, sectors, first, mode)
        return cls(source, 0, sectors, mode)

    async def segment(self, offset: int, stop: int) -> Segment:
        sector, skip = divmod(offset, DATA)
        count = min(-(-stop // DATA) - sector, _SECTORS_AT_ONCE)
        return Segment(
            offset,
            min(stop, (sector + count) * DATA),
            self._source,
            (self._first + sector) * STORED,
            count * STORED,
            self._unpack,
            skip,
            count * DATA,
        )

    async def check_tables(self) -> None:
        """Does nothing: a BIN file has no tables."""


async def _end_of_track(source: ByteSource, sectors: int, first: int, mode: int) -> int:
    """How many sectors belong to the track: audio sectors have no sync pattern."""
    low, high = 0, sectors - 1  # sector `low` is of the track, and `high` is not
    while high - low > 1:
        middle = (low + high) // 2
        if await _is_of_track(source, middle, first, mode):
            low = middle
        else:
            high = middle
    return high


async def _is_of_track(source: ByteSource, sector: int, first: int, mode: int) -> bool:
    head = await read_exactly(source, sector * STORED, _MODE_AT + 1, CD_SECTORS)
    return head.startswith(SYNC) and head[_MODE_AT] == mode and _address(head) == first + sector


def _address(head: bytes) -> int:
    """The number in a sector's header: minutes, seconds and 75ths, in BCD."""
    minute, second, frame = ((byte >> 4) * 10 + (byte & 15) for byte in head[12:15])
    return (minute * 60 + second) * 75 + frame - _LEAD_IN


def _unpack_sectors(mode: int) -> Unpack:
    begin = _DATA_AT[mode]

    def unpack(packed: Buffer) -> bytes:
        stored = bytes(packed)
        data = bytearray(len(stored) // STORED * DATA)
        for number, at in enumerate(range(0, len(stored), STORED)):
            if not stored.startswith(SYNC, at) or stored[at + _MODE_AT] != mode:
                raise ValueError(f"sector {number} of them is not of mode {mode}")
            data[number * DATA : (number + 1) * DATA] = stored[at + begin : at + begin + DATA]
        return bytes(data)

    return unpack


def _damaged(reason: str) -> DamagedImageError:
    return DamagedImageError(CD_SECTORS.title, reason)
