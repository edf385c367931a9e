"""A disk as HTML, for notebooks: its size, its version and what is cached."""

from __future__ import annotations

import html
from typing import Final

from .disk import Disk
from .platform.printable import printable
from .units import format_bytes, format_percent

_LONGEST_TEXT: Final = 100


def disk_html(disk: Disk) -> str:
    """A disk as a small table. Text from the image's server is escaped and shortened; the address
    is left out."""
    info, stats = disk.info, disk.stats()
    rows = [
        ("size", f"{text_html(format_bytes(info.size))} ({info.size:,} bytes)"),
        ("version", f"<code>{text_html(info.version) or '–'}</code>"),
        ("writes", "read-only" if info.read_only else "yes"),
    ]
    if stats.cache_limit_bytes:
        rows.append(("cached", meter_html(stats.cached_bytes, info.size)))
        rows.append(("downloaded", text_html(format_bytes(stats.bytes_downloaded))))
    if stats.notices:
        rows.append(("notices", text_html(", ".join(stats.notices))))
    body = "".join(
        f'<tr><th scope="row" style="text-align: left">{name}</th>'
        f'<td style="text-align: left">{value}</td></tr>'
        for name, value in rows
    )
    return f"<table><caption>Disk</caption><tbody>{body}</tbody></table>"


def meter_html(part: int, whole: int) -> str:
    """How much of `whole` bytes `part` is: a bar, and the same in words."""
    text = f"{format_bytes(part)} of {format_bytes(whole)}, {format_percent(part, whole)}"
    return f'<progress value="{part}" max="{max(whole, 1)}">{text}</progress> {text_html(text)}'


def text_html(text: str) -> str:
    """Text from a server or an image: shortened, unprintable characters replaced, escaped."""
    cut = text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}…"
    return html.escape(printable(cut))
