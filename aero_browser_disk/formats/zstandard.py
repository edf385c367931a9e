"""Zstandard, where this Python has it: from 3.14 on, Pyodide's included, or by `backports.zstd`."""

from __future__ import annotations

import importlib
from types import ModuleType

from ..errors import UnsupportedImageError
from .recognition import ImageFormat

_MODULES = ("compression.zstd", "backports.zstd")


def zstd_module(needed_for: ImageFormat) -> ModuleType:
    """The module; raises `UnsupportedImageError` when there is none to be had."""
    for name in _MODULES:
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    raise UnsupportedImageError(
        needed_for.name,
        needed_for.title,
        "This Python has no Zstandard, which it is compressed by: use Python 3.14 or newer, or "
        "pip install backports.zstd, or unpack it first.",
    )
