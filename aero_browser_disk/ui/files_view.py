"""A folder of an open disk as the page shows it: its path, and a row for each entry."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from ..file_systems import Entry, Listing
from ..platform.printable import printable
from ..units import format_bytes
from . import page_texts as texts

View = dict[str, object]

MOST_ROWS = 2000


def files_view(path: str, listing: Listing) -> View:
    """The folder at `path`; its folders first, then by name, at most `MOST_ROWS` of them."""
    inside = path.strip("/").split("/") if path.strip("/") else []
    entries = sorted(listing.entries, key=_order)
    shown = entries[:MOST_ROWS]
    complete = listing.complete and len(shown) == len(entries)
    return {
        "path": path,
        "crumbs": list(_crumbs(inside)),
        "columns": list(texts.FILES_COLUMNS),
        "rows": [_row(path, entry) for entry in shown],
        "text": _text(inside, len(shown), complete=complete),
    }


def _order(entry: Entry) -> tuple[bool, bool, str, str]:
    is_volume = entry.kind == "volume"
    return not is_volume, entry.kind != "folder", "" if is_volume else entry.name.casefold(), ""


def _crumbs(inside: list[str]) -> Iterable[View]:
    yield {"name": texts.FILES_TOP, "path": "/"}
    for depth, name in enumerate(inside, 1):
        shown = texts.FILES_VOLUME.format(name=name) if depth == 1 else printable(name)
        yield {"name": shown, "path": "/" + "/".join(inside[:depth]) + "/"}


def _row(path: str, entry: Entry) -> View:
    name = printable(entry.name)
    opens = entry.kind in {"volume", "folder"} and entry.cannot is None
    if entry.kind == "volume":
        name = texts.FILES_VOLUME.format(name=name)
    return {
        "name": name,
        "path": f"{path.rstrip('/')}/{entry.name}" + ("/" if opens else ""),
        "fileName": entry.name.rpartition("/")[2],
        "kind": entry.kind,
        "note": printable(_note(entry)),
        "size": format_bytes(entry.size) if entry.size is not None else "",
        "changed": _date(entry.modified),
        "opens": opens,
        "saves": entry.kind == "file",
        "spoken": texts.DOWNLOAD.format(name=name),
    }


def _note(entry: Entry) -> str:
    if entry.cannot is not None:
        return f"{entry.description}: {entry.cannot}" if entry.description else entry.cannot
    if entry.kind == "volume":
        return ", ".join(filter(None, (entry.description, entry.label)))
    return f"→ {entry.target}" if entry.target is not None else ""


def _date(seconds: float | None) -> str:
    if seconds is None:
        return ""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")
    except (ValueError, OverflowError, OSError):
        return ""  # the image says what cannot be


def _text(inside: list[str], count: int, *, complete: bool) -> str:
    if not count:
        return texts.FILES_EMPTY if inside else texts.FILES_NONE
    if not complete:
        return texts.FILES_MORE.format(entries=_count(count, "entry"))
    noun = "entry" if inside else "volume"
    return texts.FILES_COUNT.format(entries=_count(count, noun))


def _count(count: int, noun: str) -> str:
    plural = {"entry": "entries", "volume": "volumes"}[noun]
    return f"{count:,} {noun if count == 1 else plural}"
