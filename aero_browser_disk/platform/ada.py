"""Web addresses in CPython, by `ada-url`."""

from __future__ import annotations

from ada_url import URL


def parse(text: str, base: str) -> URL | None:
    """A `URL` as the standard has it; None when the address is not well-formed."""
    try:
        return URL(text, base) if base else URL(text)
    except ValueError:
        return None
