"""CDs as BIN files, with sectors of 2,352 bytes."""

from __future__ import annotations

import random


def cd_sector(number: int, data: bytes, mode: int = 1) -> bytes:
    """A sector of a data track, with the address that it has; its error correction is left out."""
    minute, rest = divmod(number + 150, 60 * 75)
    address = bytes((n // 10 << 4) + n % 10 for n in (minute, *divmod(rest, 75)))
    head = b"\0" + b"\xff" * 10 + b"\0" + address + bytes([mode])
    if mode == 2:
        head += bytes([0, 0, 8, 0]) * 2
    return (head + data).ljust(2352, b"\0")


def bin_file(iso: bytes, mode: int = 1, audio: int = 0) -> bytes:
    """A data track, and sectors of audio after it."""
    chance = random.Random(2)
    parts = [iso[at : at + 2048] for at in range(0, len(iso), 2048)]
    track = b"".join(cd_sector(number, data, mode) for number, data in enumerate(parts))
    return track + b"".join(chance.randbytes(2352) for _ in range(audio))
