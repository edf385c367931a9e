"""Web addresses by the browser's own `URL`."""

from __future__ import annotations

from typing import Any

from .interop import js_exception


def parse(text: str, base: str) -> Any | None:
    """A `URL` as the standard has it; None when the address is not well-formed."""
    import js

    try:
        return js.URL.new(text, base) if base else js.URL.new(text)
    except js_exception():
        return None
