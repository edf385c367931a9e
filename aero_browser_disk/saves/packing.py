"""How the content of a chunk and the map of a save are packed: a byte, and the rest.

The byte says how the rest is packed, so writers with and without Zstandard share a save.
"""

from __future__ import annotations

import zlib
from typing import Final

from ..formats.image_format import ImageFormat, refused_format
from ..formats.zstandard import has_zstd, unpack_frame, zstd_module

RAW: Final = 0
ZSTD: Final = 1
ZLIB: Final = 2

_LEVEL: Final = 3
_SAVE: Final[ImageFormat] = refused_format("save", "a save", "")


def pack(content: bytes) -> bytes:
    """The content as short as it gets: by Zstandard, by zlib where there is none, or as it is."""
    kind, packed = ZLIB, b""
    if has_zstd():
        kind, packed = ZSTD, zstd_module(_SAVE).compress(content, _LEVEL)
    else:
        packed = zlib.compress(content, _LEVEL)
    if len(packed) >= len(content):
        kind, packed = RAW, content
    return bytes((kind,)) + packed


def unpack(stored: bytes, max_length: int) -> bytes:
    """What `pack` was given; never unpacks more than one byte beyond `max_length`.

    Raises `ValueError` when it is longer, or is nothing that `pack` returns, and
    `UnsupportedImageError` where this Python has no Zstandard.
    """
    if not stored:
        raise ValueError("it is empty")
    kind, packed = stored[0], stored[1:]
    if kind == RAW:
        content = packed
    elif kind == ZSTD:
        content = unpack_frame(packed, max_length, _SAVE)
    elif kind == ZLIB:
        content = _inflate(packed, max_length)
    else:
        raise ValueError(f"it is packed in an unknown way ({kind})")
    if len(content) > max_length:
        raise ValueError(f"it has more than {max_length:,} bytes")
    return content


def _inflate(packed: bytes, max_length: int) -> bytes:
    stream = zlib.decompressobj()
    try:
        content = stream.decompress(packed, max_length + 1)
    except zlib.error as error:
        raise ValueError(str(error)) from error
    if not stream.eof:
        raise ValueError("it breaks off, or is longer than it should be")
    return content
