"""How a chunk of a disk is stored: raw, or as one Zstandard frame."""

from __future__ import annotations

from typing import Final

from ..image_format import PREPARED
from ..zstandard import unpack_frame, zstd_module

RAW: Final = 1
ZSTD: Final = 2
KINDS: Final = {RAW: "raw", ZSTD: "zstd"}
"""How the bytes of a chunk or of a part of a boot bundle may be stored."""
DEFAULT_LEVEL: Final = 19


def pack_chunk(data: bytes, level: int | None) -> tuple[int, bytes]:
    """How a chunk is best stored, and the bytes to store; deterministic.

    `level` is Zstandard's; None stores every chunk raw. Raises `UnsupportedImageError` where
    this Python has no Zstandard.
    """
    if level is None:
        return RAW, data
    packed: bytes = zstd_module(PREPARED).compress(data, level)
    # A frame costs a reader more than raw bytes do, so it has to save at least a 32nd.
    return (ZSTD, packed) if len(packed) < len(data) - len(data) // 32 else (RAW, data)


def unpack_chunk(kind: int, stored: bytes | memoryview, length: int) -> bytes:
    """The `length` bytes of a chunk; raises `ValueError` when it has another length.

    Unpacks at most `length` + 1 bytes. Raises `UnsupportedImageError` as `pack_chunk`.
    """
    data = unpack_frame(stored, length, PREPARED) if kind == ZSTD else bytes(stored)
    if len(data) != length:
        raise ValueError(f"it has {len(data):,} bytes instead of {length:,}")
    return data
