"""What the browser's platform needs of Pyodide's bridge to JavaScript."""

from __future__ import annotations

import functools
import importlib
from ctypes import addressof, c_char
from typing import Any, cast

ROOT = "aero-browser-disk"
"""The name of everything of ours in this origin: folder, locks, channels."""

first_byte = c_char.from_buffer
"""`addressof(first_byte(buffer))` is where the bytes of a writable buffer lie in Python's memory.

The address is valid until the buffer is freed or resized. A Pyodide buffer proxy takes as long as
reading 64 KiB.
"""

_PAGE = 4096


class TransferBuffer:
    """A buffer in Python's memory for data that is copied on within one call.

    It begins in the middle of a page, where it is quick to copy to: `web/lib/python-bridge.mjs`.
    """

    def __init__(self) -> None:
        self._bytes = memoryview(b"")
        self._address = 0

    def of(self, length: int) -> tuple[memoryview, int]:
        """So many bytes, and their address; the next call gives the same bytes."""
        if length > len(self._bytes):
            raw = bytearray(length + _PAGE)
            address = addressof(first_byte(raw))
            skipped = (_PAGE // 2 - address) % _PAGE
            self._bytes, self._address = memoryview(raw)[skipped:], address + skipped
        return self._bytes[:length], self._address


@functools.cache
def js_exception() -> type[Exception]:
    """Pyodide's class of JavaScript exceptions, cached for hot paths."""
    from pyodide.ffi import JsException

    return cast("type[Exception]", JsException)


@functools.cache
def bridge() -> Any | None:
    """`web/lib/python-bridge.mjs`, which our own worker provides; None in any other Pyodide."""
    try:
        found = importlib.import_module("aero_browser_disk_bridge")
    except ImportError:
        return None
    import pyodide_js

    # Not part of Pyodide's public interface, so another version may not have it.
    return found if found.useMemory(getattr(pyodide_js, "_module", None)) else None


class RejectionError(Exception):
    """Why a promise was rejected, with the reason's `name` and `message`."""

    def __init__(self, reason: Any) -> None:
        self.name = str(reason.name)
        self.message = str(reason.message)
        super().__init__(f"{self.name}: {self.message}")


async def call_async(target: Any, method: str, *values: object) -> Any:
    """Calls a method and awaits the promise that it returns; raises `RejectionError`.

    Pyodide wraps each promise in a future that never ends if the reason of a rejection is not an
    exception to it, such as Chromium's `QuotaExceededError`. So JavaScript calls the method and
    awaits its promise.
    """
    import js

    prepared = js.Reflect.get(target, method).bind(target, *values)
    call = js.Function.prototype.call
    promises = getattr(js.Array, "from")(js.Array.of(prepared), call.bind(call))
    outcome = (await js.Promise.allSettled(promises)).at(0)
    if outcome.status == "rejected":
        raise RejectionError(outcome.reason)
    return outcome.value


def js_object(**fields: object) -> Any:
    import js
    from pyodide.ffi import to_js

    return to_js(fields, dict_converter=js.Object.fromEntries)
