"""What the browser's platform needs of Pyodide's bridge to JavaScript."""

from __future__ import annotations

import functools
import importlib
from typing import Any, cast

ROOT = "aero-browser-disk"
"""What all of ours in this origin is called: a folder, locks, channels."""


@functools.cache
def js_exception() -> type[Exception]:
    """What a JavaScript exception is in Python; asked for on hot paths, so found only once."""
    from pyodide.ffi import JsException

    return cast("type[Exception]", JsException)


@functools.cache
def bridge() -> Any | None:
    """`web/python-bridge.mjs`, which our own worker provides; None in any other Pyodide."""
    try:
        return importlib.import_module("aero_browser_disk_bridge")
    except ImportError:
        return None


def js_object(**fields: object) -> Any:
    import js
    from pyodide.ffi import to_js

    return to_js(fields, dict_converter=js.Object.fromEntries)
