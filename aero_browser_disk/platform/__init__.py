"""The outside, behind protocols: see `base`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from .base import Platform

_IN_BROWSER = sys.platform == "emscripten"


async def current_platform() -> Platform:
    """The platform that this interpreter runs on: a browser's, or CPython's with a cache folder.

    The folder is `$XDG_CACHE_HOME/aero-browser-disk`, by default in `~/.cache`.
    """
    if _IN_BROWSER:
        from .browser import browser_platform

        return await browser_platform()
    from .host import host_platform

    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return host_platform(Path(caches) / "aero-browser-disk")
