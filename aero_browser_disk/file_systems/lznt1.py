"""LZNT1, NTFS's compression ([MS-XCA] §2.5)."""

from __future__ import annotations

import struct

from ..errors import DamagedFileSystemError

_CHUNK = 4096


def decompress(data: bytes, length: int) -> bytes:
    """The `length` bytes that `data` holds, zeros where it ends before.

    Raises `DamagedFileSystemError` when it is not LZNT1.
    """
    out = bytearray()
    at = 0
    while at + 2 <= len(data) and len(out) < length:
        head = struct.unpack_from("<H", data, at)[0]
        if not head:
            break
        stop = at + 3 + (head & 0xFFF)
        if stop > len(data):
            raise DamagedFileSystemError("a compressed file breaks off")
        chunk = data[at + 2 : stop]
        plain = _decompress_chunk(chunk) if head & 0x8000 else chunk
        out += plain
        if len(out) < length:
            out += bytes(-len(out) % _CHUNK)
        at = stop
    return bytes(out[:length]).ljust(length, b"\0")


def _decompress_chunk(chunk: bytes) -> bytes:
    out = bytearray()
    at = 0
    while at < len(chunk):
        flags = chunk[at]
        at += 1
        for bit in range(8):
            if at >= len(chunk):
                break
            if not flags >> bit & 1:
                out.append(chunk[at])
                at += 1
                continue
            if at + 2 > len(chunk) or not out:
                raise DamagedFileSystemError("a compressed file refers to nothing")
            pair = struct.unpack_from("<H", chunk, at)[0]
            at += 2
            # As the chunk grows, fewer bits say how much is copied and more say from where.
            length_bits = 12 - max(0, (len(out) - 1).bit_length() - 4)
            back, length = (pair >> length_bits) + 1, (pair & (1 << length_bits) - 1) + 3
            if back > len(out) or len(out) + length > _CHUNK:
                raise DamagedFileSystemError("a compressed file refers to nothing")
            for _ in range(length):
                out.append(out[-back])
    return bytes(out)
