"""Finds the one bit that was flipped in data whose CRC-32 is known."""

from __future__ import annotations

import zlib
from typing import Final

_POLYNOMIAL: Final = 0xEDB88320


def with_bit_flipped_back(data: bytes, checksum: int) -> bytes | None:
    """`data` as it was when it had that CRC-32, if one bit of it differs now; else None."""
    wanted = zlib.crc32(data) ^ checksum
    # What each bit contributes, from the last one that the CRC takes up to the first.
    effect = _POLYNOMIAL
    for index in range(8 * len(data)):
        if effect == wanted:
            repaired = bytearray(data)
            repaired[len(data) - 1 - index // 8] ^= 0x80 >> index % 8
            return bytes(repaired)
        effect = effect >> 1 ^ (_POLYNOMIAL if effect & 1 else 0)
    return None
