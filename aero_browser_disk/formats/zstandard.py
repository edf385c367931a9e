"""Zstandard, where this Python has it: from 3.14 on, Pyodide's included, or by `backports.zstd`."""

from __future__ import annotations

import importlib
from functools import cache
from types import ModuleType

from ..errors import UnsupportedImageError
from .image_format import ImageFormat

_MODULES = ("compression.zstd", "backports.zstd")


def zstd_module(needed_for: ImageFormat) -> ModuleType:
    """The module; raises `UnsupportedImageError` when there is none to be had."""
    found = _first_module(_MODULES)
    if found is not None:
        return found
    raise UnsupportedImageError(
        needed_for.name,
        needed_for.title,
        "This Python has no Zstandard, which it is compressed by: use Python 3.14 or newer, or "
        "pip install backports.zstd, or unpack it first.",
    )


def has_zstd() -> bool:
    """Whether there is one to be had."""
    return _first_module(_MODULES) is not None


@cache
def _first_module(names: tuple[str, ...]) -> ModuleType | None:
    """The first of those modules that exists. Cached, as looking for a missing one takes time."""
    for name in names:
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    return None


def unpack_frame(stored: bytes | memoryview, length: int, needed_for: ImageFormat) -> bytes:
    """What the first frame of `stored` unpacks to.

    Raises `ValueError` when the frame is incomplete or has more than `length` bytes (no more are
    unpacked), and `UnsupportedImageError` as `zstd_module`.
    """
    module = zstd_module(needed_for)
    frame = module.ZstdDecompressor()
    try:
        data = bytes(frame.decompress(stored, length + 1))
    except module.ZstdError as error:
        raise ValueError(str(error)) from error
    if not frame.eof:
        raise ValueError("the frame breaks off, or is longer than it should be")
    return data
