"""The image panel: its state, and every text and decision that the page shows.

The page sends events and renders `view()`; it decides nothing. This module touches neither the
network nor JavaScript, so the panel is the same in every page and its tests need no browser.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal
from urllib.parse import unquote

from . import panel_texts as texts
from .disk import DiskInfo, DiskStats
from .errors import DiskError, InvalidOptionError, InvalidUrlError
from .quantities import format_bytes, format_count, format_percent, parse_byte_count
from .redaction import HIDDEN, may_be_kept, redact_url

Phase = Literal["closed", "opening", "open"]
View = dict[str, object]

LARGEST_READ = 128 * 1024 * 1024
_UNKNOWN = "–"


@dataclass(frozen=True, slots=True)
class PanelState:
    """What the panel knows. `url` is the whole address: it may be secret, so no repr shows it."""

    remote: bool = False
    url: str = field(default="", repr=False)
    opened_url: str = field(default="", repr=False)
    kept_url: str = ""
    phase: Phase = "closed"
    reading: bool = False
    last_read: tuple[int, int] | None = None
    cache_cleared: bool = False
    info: DiskInfo | None = None
    stats: DiskStats | None = None
    error: DiskError | None = None


class Panel:
    """The panel of one remote image. Every method but `view` and the properties is an event."""

    def __init__(self) -> None:
        self.state = PanelState()

    # ── what the user does ────────────────────────────────────────────────────────────────────────

    def set_remote(self, enabled: bool) -> None:
        """The user turned remote images on or off. Close the image if `must_close` holds now."""
        self._change(remote=enabled, error=None)

    def set_url(self, text: str) -> None:
        """The user edited the address.

        Of an address that was open before, the field shows the redacted form: that text unchanged
        still means the whole address. Ignored while an image is open.
        """
        text = text.strip()
        if self.state.phase != "closed" or text == self._shown_url():
            return
        self._change(url=text, error=None)

    def restore(self, remembered: Mapping[str, object]) -> None:
        """Takes back what an earlier visit kept; whatever else is in there is ignored.

        Remote images stay off: turning them on belongs to this visit.
        """
        url = remembered.get("url")
        if isinstance(url, str) and may_be_kept(url) and not self.state.url:
            self._change(url=url, kept_url=url)

    # ── what happens to the image ─────────────────────────────────────────────────────────────────

    def opening(self) -> None:
        """The image at `url` is being opened."""
        self._change(phase="opening", info=None, stats=None, error=None, last_read=None)

    def opened(self, info: DiskInfo, stats: DiskStats) -> None:
        """The image is open; its address is kept for the next visit if nothing in it is secret."""
        url = self.state.url
        self._change(phase="open", info=info, stats=stats, opened_url=url, error=None)
        if may_be_kept(url):
            self._change(kept_url=url)

    def reading(self, offset: int, length: int) -> None:
        """A read that the user asked for has begun; both are in bytes."""
        self._change(reading=True, last_read=(offset, length), error=None, cache_cleared=False)

    def read(self, stats: DiskStats) -> None:
        """That read has ended well."""
        self._change(reading=False, stats=stats)

    def progress(self, stats: DiskStats) -> None:
        """The counters moved."""
        if self.state.phase == "open":
            self._change(stats=stats)

    def cleared(self, stats: DiskStats) -> None:
        """The image's cache was emptied."""
        self._change(stats=stats, cache_cleared=True, error=None)

    def failed(self, error: DiskError) -> None:
        """What was under way failed: opening leaves nothing open, a failed read leaves it open."""
        phase: Phase = "open" if self.state.phase == "open" else "closed"
        self._change(phase=phase, reading=False, last_read=None, cache_cleared=False, error=error)

    def closed(self) -> None:
        """The image is closed; its last counters go with it."""
        self.state = PanelState(
            remote=self.state.remote,
            url=self.state.url,
            opened_url=self.state.opened_url,
            kept_url=self.state.kept_url,
        )

    # ── what the worker asks ──────────────────────────────────────────────────────────────────────

    @property
    def remote(self) -> bool:
        """Whether the user allows remote images (`allow_remote`)."""
        return self.state.remote

    @property
    def url(self) -> str:
        """The whole address to open. It may hold secrets: it is for the network only."""
        return self.state.url

    @property
    def must_close(self) -> bool:
        """Whether remote images were turned off while one is open or being opened."""
        return self.state.phase != "closed" and not self.state.remote

    def read_range(self, offset: object, length: object) -> tuple[int, int]:
        """Offset and length in bytes from what was typed into the fields, or from whole numbers.

        Raises `InvalidOptionError` when either is no number of bytes, or `length` is zero or above
        `LARGEST_READ`. Whether the bytes lie inside the disk is the disk's to say.
        """
        start = _byte_count("offset", offset)
        count = _byte_count("length", length)
        if not 0 < count <= LARGEST_READ:
            expected = f"from 1 byte to {format_bytes(LARGEST_READ)}"
            raise InvalidOptionError("length", length, expected)
        return start, count

    def remembered(self) -> dict[str, str]:
        """What the page may store: at most an address in which nothing is secret."""
        return {"url": self.state.kept_url} if self.state.kept_url else {}

    # ── what the page shows ───────────────────────────────────────────────────────────────────────

    def view(self) -> View:
        """The whole panel as plain JSON values, every text ready to show."""
        state = self.state
        is_open = state.phase == "open"
        return {
            "phase": state.phase,
            "busy": state.phase == "opening" or state.reading or _in_flight(state.stats),
            "remote": {"checked": state.remote, "disabled": False, "hint": self._remote_hint()},
            "url": {
                "value": self._shown_url(),
                "readOnly": state.phase != "closed",
                "invalid": isinstance(state.error, InvalidUrlError),
                "secret": bool(state.url) and redact_url(state.url) != state.url,
                "hint": self._url_hint(),
            },
            "open": {"disabled": self._why_not_open() is not None},
            "close": {"disabled": state.phase == "closed"},
            "clearCache": {"disabled": not is_open or state.reading},
            "read": {
                "disabled": not is_open or state.reading,
                "hint": self._read_hint(),
                "range": self._read_range(),
            },
            "status": {"text": self._status(), "tone": self._tone()},
            "error": self._error(),
            "notices": [
                {"code": code, **texts.NOTICES[code]}
                for code in (state.stats.notices if state.stats else ())
            ],
            "image": _image_rows(state.info),
            "cache": _cache_view(state.stats),
            "activity": _activity_rows(state.stats),
            "remembered": self.remembered(),
            "texts": texts.FIXED,
        }

    def _change(self, **changes: object) -> None:
        self.state = replace(self.state, **changes)  # type: ignore[arg-type]

    def _shown_url(self) -> str:
        state = self.state
        was_opened = bool(state.url) and state.url == state.opened_url
        return redact_url(state.url) if was_opened or state.phase != "closed" else state.url

    def _why_not_open(self) -> str | None:
        state = self.state
        if state.phase != "closed":
            return ""
        if not state.remote:
            return texts.REMOTE_OFF
        if not state.url:
            return texts.NO_URL
        if HIDDEN in state.url:
            return texts.URL_PARTLY_HIDDEN
        return None

    def _remote_hint(self) -> str:
        return texts.REMOTE_ON_HINT if self.state.remote else texts.REMOTE_OFF_HINT

    def _url_hint(self) -> str:
        url = self.state.url
        if HIDDEN in url:
            return texts.URL_PARTLY_HIDDEN
        if url and redact_url(url) != url:
            return texts.URL_SECRET
        return texts.URL_HINT

    def _read_hint(self) -> str:
        return texts.READ_HINT if self.state.phase == "open" else texts.READ_CLOSED_HINT

    def _read_range(self) -> dict[str, int] | None:
        """Where the last bytes that were read lie; None once they are no longer to be shown."""
        if self.state.last_read is None:
            return None
        offset, length = self.state.last_read
        return {"offset": offset, "length": length}

    def _status(self) -> str:
        state = self.state
        name = _image_name(state.url)
        if state.phase == "opening":
            return texts.OPENING.format(name=name)
        if state.phase == "open" and state.info:
            if state.reading:
                return texts.READING.format(name=name)
            if state.error:
                return texts.READ_FAILED
            if state.cache_cleared:
                return texts.CACHE_CLEARED
            if state.last_read:
                return texts.READ.format(length=format_bytes(state.last_read[1]), name=name)
            return texts.OPEN.format(name=name, size=format_bytes(state.info.size))
        if state.error:
            return texts.NOT_OPEN
        return self._why_not_open() or texts.READY

    def _tone(self) -> str:
        state = self.state
        if state.error:
            return "bad"
        if state.phase == "opening" or state.reading:
            return "busy"
        return "good" if state.phase == "open" else "idle"

    def _error(self) -> dict[str, str] | None:
        error = self.state.error
        if error is None:
            return None
        return {"name": type(error).__name__, **texts.error_texts(error)}


def _byte_count(name: str, value: object) -> int:
    try:
        return value if type(value) is int else parse_byte_count(str(value))
    except ValueError:
        raise InvalidOptionError(name, value, texts.BYTE_COUNT_EXPECTED) from None


def _image_name(url: str) -> str:
    """What to call the image in a sentence: its file name, else its host."""
    shown = redact_url(url).partition("?")[0].partition("#")[0]
    host, _, path = shown.rpartition("://")[2].partition("/")
    name = unquote(path.rstrip("/").rpartition("/")[2]) or host.rpartition("@")[2]
    return "".join(character if character.isprintable() else "\ufffd" for character in name)


def _in_flight(stats: DiskStats | None) -> bool:
    return stats is not None and stats.requests_in_flight > 0


def _row(label: str, value: str, note: str = "") -> dict[str, str]:
    return {"label": label, "value": value, "note": note}


def _image_rows(info: DiskInfo | None) -> list[dict[str, str]]:
    if info is None:
        return [_row(label, _UNKNOWN) for label in texts.IMAGE_LABELS]
    size, block, version, access = texts.IMAGE_LABELS
    blocks = -(-info.size // info.block_size)
    return [
        _row(size, format_bytes(info.size), format_count(info.size, "byte")),
        _row(block, format_bytes(info.block_size), format_count(blocks, "block")),
        _row(version, info.version),
        _row(access, texts.READ_ONLY if info.read_only else texts.WRITABLE),
    ]


def _cache_view(stats: DiskStats | None) -> dict[str, object]:
    """The cache's meter; `value` and `max` are bytes."""
    if stats is None:
        return {"value": 0, "max": 1, "text": texts.NOTHING_OPEN, "limit": "", "note": ""}
    limit = max(stats.cache_limit_bytes, 1)
    return {
        "value": min(stats.cached_bytes, limit),
        "max": limit,
        "text": texts.CACHED.format(
            size=format_bytes(stats.cached_bytes), blocks=format_count(stats.cached_blocks, "block")
        ),
        "limit": texts.CACHE_LIMIT.format(
            percent=format_percent(stats.cached_bytes, stats.cache_limit_bytes),
            limit=format_bytes(stats.cache_limit_bytes),
        ),
        "note": texts.STORAGE[stats.storage],
    }


def _activity_rows(stats: DiskStats | None) -> list[dict[str, str]]:
    if stats is None:
        return [_row(label, _UNKNOWN) for label in texts.ACTIVITY_LABELS]
    downloaded, requests, hit_rate, read = texts.ACTIVITY_LABELS
    lookups = stats.hits + stats.misses
    return [
        _row(
            downloaded,
            format_bytes(stats.bytes_downloaded),
            format_count(stats.blocks_downloaded, "block"),
        ),
        _row(
            requests,
            f"{stats.requests:,}",
            texts.IN_FLIGHT.format(count=stats.requests_in_flight) if _in_flight(stats) else "",
        ),
        _row(
            hit_rate,
            format_percent(stats.hits, lookups) if lookups else _UNKNOWN,
            texts.HITS.format(hits=stats.hits, lookups=lookups) if lookups else "",
        ),
        _row(read, format_bytes(stats.bytes_read)),
    ]
