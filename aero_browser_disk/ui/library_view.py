"""The library as the page lists it: rows with their actions, and what each action asks first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from ..errors import DataCutError, HasOverlaysError, HybridImageError, OddSizeError
from ..library.catalog import LibraryEntry, LibraryUsage
from ..library.file_commit import FILES
from ..platform.redaction import HIDDEN
from ..records.record import CACHES
from ..units import format_bytes, format_percent
from . import library_texts as texts

View = dict[str, object]

# Folders of bases that the library cannot open: remote images, and files of the user.
_ELSEWHERE = (f"{CACHES}/", FILES)

# Errors that the user may agree to go on after, and the option that says so.
_CONSENTS = {
    OddSizeError.__name__: "pad",
    HybridImageError.__name__: "media",
    DataCutError.__name__: "cut",
    HasOverlaysError.__name__: "dropOverlays",
}


def library_view(entries: Sequence[LibraryEntry], usage: LibraryUsage | None) -> View:
    """Everything that is stored: images and addresses, each with its overlays."""
    known = {entry.id for entry in entries}
    tops = [entry for entry in entries if entry.kind != "overlay" or entry.base not in known]
    return {
        "rows": [_row(entry, entries) for entry in tops],
        "overlays": sorted({entry.name for entry in entries if entry.kind == "overlay"}),
        "usage": _usage_text(usage) if usage else "",
        "create": _ask("create", fields=[_name_field(""), _SIZE_FIELD]),
        "consents": {
            error: {"flag": flag, "ask": _consent(flag)} for error, flag in _CONSENTS.items()
        },
        "progress": texts.PROGRESS,
        "saved": texts.SAVED,
        "removeMachine": _ask("removeMachine", danger=True),
        "recovered": texts.RECOVERED,
        "commitCut": texts.COMMIT_CUT,
    }


def _consent(flag: str) -> View:
    fields = [_MEDIA_FIELD] if flag == "media" else []
    return _ask(flag, fields=fields, danger=flag not in ("pad", "media"))


def prune_view(going: Sequence[LibraryEntry]) -> View:
    """Asks the user to confirm what pruning would remove; empty if there is nothing."""
    if not going:
        return {"ask": None, "text": texts.PRUNE_NOTHING}
    size = format_bytes(sum(entry.used_bytes for entry in going))
    names = ", ".join(entry.name for entry in going)
    return {"ask": _ask("prune", size=size, names=names, danger=True), "text": ""}


def _row(entry: LibraryEntry, entries: Sequence[LibraryEntry]) -> View:
    over = [other for other in entries if other.base == entry.id]
    return {
        "id": entry.id,
        "kind": entry.kind,
        "base": entry.base_name or "",
        "name": entry.name,
        "facts": " · ".join(_facts(entry)),
        "used": {
            "value": min(entry.used_bytes, entry.size or entry.used_bytes),
            "max": max(entry.size or entry.used_bytes, 1),
            "text": _used_text(entry),
        },
        "actions": list(_actions(entry, [other.name for other in over])),
        "overlays": [_row(other, entries) for other in over],
    }


def _facts(entry: LibraryEntry) -> Iterable[str]:
    kind = "cd" if entry.media == "cd" else entry.kind
    yield texts.KINDS[kind]
    if entry.size:
        yield format_bytes(entry.size)
    if entry.format not in {"", "raw"}:
        yield texts.FROM_FORMAT.format(format=entry.format)
    if entry.state != "ready":
        yield texts.STATES[entry.state]
    if entry.damage:
        yield texts.DAMAGED.format(reason=entry.damage)
    if entry.is_open:
        yield texts.IS_OPEN
    elif entry.used_at:
        used = datetime.fromtimestamp(entry.used_at, UTC)
        yield texts.USED_AT.format(date=used.strftime("%Y-%m-%d"))


def _used_text(entry: LibraryEntry) -> str:
    if entry.state == "importing" and entry.done is not None and entry.size:
        return texts.IMPORTED.format(percent=format_percent(entry.done, entry.size))
    return texts.USED.format(size=format_bytes(entry.used_bytes))


def _actions(entry: LibraryEntry, overlays: Sequence[str]) -> Iterable[View]:
    def action(name: str, ask: View | None = None, *, disabled: bool = False) -> View:
        return {
            "name": name,
            "label": texts.ACTIONS[name],
            "spoken": f"{texts.ACTIONS[name]} {entry.name}",
            "disabled": disabled or (entry.is_open and not name.startswith("export")),
            "ask": ask,
        }

    loss = texts.LOSES_OVERLAYS.format(names=", ".join(overlays)) if overlays else ""
    size = format_bytes(entry.used_bytes)
    if entry.kind == "cache":
        if _is_whole_address(entry.name):
            yield action("use")
            yield action("importChanges")
        yield action("forget", _ask("forget", name=entry.name, size=size, danger=True))
        return
    for name, ask in _repairs(entry):
        yield action(name, ask)
    if entry.state != "ready":
        yield action("remove", _ask("remove", name=entry.name, size=size, loss="", danger=True))
        return
    if entry.kind == "overlay":
        base = entry.base_name or ""
        if entry.base and not entry.base.startswith(_ELSEWHERE):
            yield action("openOverlay")
            yield action("exportOverlay", _ask("export", name=entry.name, fields=[_COMPRESS_FIELD]))
            yield action("commit", _ask("commit", name=entry.name, base=base, danger=True))
        elif _is_whole_address(base):
            yield action("useOverlay")
        yield action("exportChanges")
        yield action("reset", _ask("reset", name=entry.name, size=size, danger=True))
        yield action(
            "remove", _ask("removeOverlay", name=entry.name, size=size, loss=loss, danger=True)
        )
        return
    yield action("open")
    yield action("overlay", _ask("overlay", name=entry.name, fields=[_name_field("")]))
    yield action("importChanges")
    yield action("export", _ask("export", name=entry.name, fields=[_COMPRESS_FIELD]))
    yield action("rename", _ask("rename", name=entry.name, fields=[_name_field(entry.name)]))
    yield action(
        "duplicate", _ask("duplicate", name=entry.name, fields=[_name_field(f"{entry.name} 2")])
    )
    if entry.media != "cd":
        field = {**_SIZE_FIELD, "value": format_bytes(entry.size or 0)}
        yield action("resize", _ask("resize", name=entry.name, loss=loss, fields=[field]))
    yield action("remove", _ask("remove", name=entry.name, size=size, loss=loss, danger=True))


def _repairs(entry: LibraryEntry) -> Iterable[tuple[str, View | None]]:
    """The actions that repair an image or overlay."""
    if entry.state == "importing":
        yield "continue", None
    if entry.state == "recovered":
        yield "rename", _ask("rename", name=entry.name, fields=[_name_field("")])
    if entry.damage:
        field = _name_field(texts.RECOVERED_NAME.format(name=entry.name))
        yield "recover", _ask("recover", name=entry.name, fields=[field])


def _is_whole_address(name: str) -> bool:
    """Whether an image's name is an address of which nothing was hidden."""
    return "://" in name and HIDDEN not in name


def _ask(
    kind: str, /, *, fields: Sequence[View] = (), danger: bool = False, **values: object
) -> View:
    return texts.ASKS[kind].view(fields=fields, danger=danger, **values)


def _name_field(value: str) -> View:
    return {"name": "name", "label": texts.NAME_FIELD, "hint": "", "value": value, "choices": []}


def _usage_text(usage: LibraryUsage) -> str:
    """What takes storage here, by kind, and how much there is."""
    # What else the browser counts as used is this page: Python, ready to start.
    kinds = {"images": usage.images, "overlays": usage.overlays, "caches": usage.caches}
    sizes = {**kinds, "free": max(0, usage.quota - usage.used)}
    return " · ".join(
        texts.USAGE[kind].format(size=format_bytes(size))
        for kind, size in sizes.items()
        if size or kind == "free"
    )


_SIZE_FIELD: View = {
    "name": "size",
    "label": texts.SIZE_FIELD,
    "hint": texts.SIZE_HINT,
    "value": "1 GiB",
    "choices": [],
}
_MEDIA_FIELD: View = {
    "name": "media",
    "label": texts.MEDIA_FIELD,
    "hint": "",
    "value": "",
    "choices": [{"value": value, "label": label} for value, label in texts.MEDIA.items()],
}
_COMPRESS_FIELD: View = {
    "name": "compress",
    "label": texts.COMPRESS_FIELD,
    "hint": "",
    "value": "",
    "choices": [{"value": value, "label": label} for value, label in texts.COMPRESSIONS.items()],
}
