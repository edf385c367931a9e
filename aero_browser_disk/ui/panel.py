"""The image panel: its state, and every text and decision that the page shows.

The page sends events and renders `view()`; it decides nothing. This module touches neither the
network nor JavaScript, so the panel is the same in every page and its tests need no browser.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal
from urllib.parse import unquote

from ..disk import DiskInfo, DiskStats
from ..errors import BaseChangedError, DiskError, InvalidOptionError, InvalidUrlError
from ..platform.printable import printable
from ..platform.redaction import HIDDEN, has_secrets, may_be_kept, redact_url
from ..remote.image_catalog import CatalogImage
from ..units import format_bytes, parse_byte_count
from . import page_texts, page_view
from . import panel_texts as texts
from .panel_figures import activity_rows, cache_figures, image_rows
from .panel_settings import PanelSettings

Phase = Literal["closed", "opening", "open"]
View = dict[str, object]

LARGEST_READ = 128 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class PanelState:
    """What the panel knows. `url` is the whole address: it may be secret, so no repr shows it.

    `local` names the image of the library that is open, "" when it is the one at `url`; `overlay`
    names what takes the writes, "" when nothing does; `save` names the save that is looked at.
    """

    remote: bool = False
    url: str = field(default="", repr=False)
    opened_url: str = field(default="", repr=False)
    kept_url: str = ""
    catalog: str = field(default="", repr=False)
    samples: tuple[CatalogImage, ...] | None = None
    samples_failed: bool = False
    examining: bool = False
    phase: Phase = "closed"
    local: str = ""
    overlay: str = ""
    save: str = ""
    keeping: bool = False
    reading: bool = False
    last_read: tuple[int, int] | None = None
    cache_cleared: bool = False
    info: DiskInfo | None = None
    packed: bool = False
    stats: DiskStats | None = None
    error: DiskError | None = None


class Panel:
    """The panel of one disk. Every method but `view` and the properties is an event."""

    def __init__(self) -> None:
        self.state = PanelState()
        self.settings = PanelSettings()

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
        """Restores what an earlier visit stored; anything else is ignored.

        Remote images stay off: turning them on belongs to this visit.
        """
        url = remembered.get("url")
        if isinstance(url, str) and may_be_kept(url) and not self.state.url:
            self._change(url=url, kept_url=url)
        self.settings.restore(remembered.get("settings"))

    def set_catalog(self, url: str) -> None:
        """Sets the address of a service that has samples. It is asked only when the user does."""
        self._change(catalog=url, samples=None, samples_failed=False)

    def catalog_shown(self, images: tuple[CatalogImage, ...]) -> None:
        """The service has sent its list."""
        self._change(samples=images, samples_failed=False, error=None)

    def catalog_failed(self, error: DiskError) -> None:
        """The service has not sent its list."""
        self.failed(error)
        self._change(samples_failed=True)

    def examining(self, is_under_way: bool) -> None:
        """The doctor's examination of the address has begun, or is over."""
        self._change(examining=is_under_way)

    # ── what happens to the image ─────────────────────────────────────────────────────────────────

    def opening(self, local: str = "", overlay: str = "", save: str = "") -> None:
        """The image at `url`, or one of the library, is being opened, maybe under an overlay or a
        save."""
        self._change(phase="opening", local=local, overlay=overlay, save=save, error=None)
        self._change(info=None, stats=None, last_read=None, cache_cleared=False)

    def opened(self, info: DiskInfo, stats: DiskStats, *, packed: bool = False) -> None:
        """The image is open; its address is kept for the next visit if nothing in it is secret.

        `packed` is whether it is downloaded compressed.
        """
        self._change(phase="open", info=info, stats=stats, packed=packed, error=None)
        if self.state.local:
            return
        url = self.state.url
        self._change(opened_url=url)
        if may_be_kept(url):
            self._change(kept_url=url)

    def reading(self, offset: int, length: int) -> None:
        """A read that the user asked for has begun; both are in bytes."""
        self._change(reading=True, last_read=(offset, length), error=None, cache_cleared=False)

    def read(self, stats: DiskStats) -> None:
        """That read has ended well."""
        self._change(reading=False, stats=stats)

    def progress(self, stats: DiskStats) -> None:
        """The counters changed."""
        if self.state.phase == "open":
            self._change(stats=stats)

    def keeping(self, is_kept: bool) -> None:
        """The download of the whole image has begun, or is paused."""
        self._change(keeping=is_kept, error=None)

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
            catalog=self.state.catalog,
            samples=self.state.samples,
            samples_failed=self.state.samples_failed,
            examining=self.state.examining,
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
        return self.state.phase != "closed" and not self.state.remote and not self.state.local

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

    def remembered(self) -> dict[str, object]:
        """What the page may store: an address in which nothing is secret, and the settings."""
        kept: dict[str, object] = {}
        if self.state.kept_url:
            kept["url"] = self.state.kept_url
        if settings := self.settings.remembered():
            kept["settings"] = settings
        return kept

    # ── what the page shows ───────────────────────────────────────────────────────────────────────

    def view(self) -> View:
        """The whole panel as plain JSON values, every text ready to show."""
        state = self.state
        is_open = state.phase == "open"
        return {
            "phase": state.phase,
            "busy": self._is_busy() or _in_flight(state.stats),
            "remote": {
                "checked": state.remote,
                "disabled": False,
                "closes": state.phase != "closed" and not state.local,
                "hint": self._remote_hint(),
            },
            "url": {
                "value": self._shown_url(),
                "readOnly": state.phase != "closed",
                "invalid": isinstance(state.error, InvalidUrlError),
                "secret": has_secrets(state.url),
                "hint": self._url_hint(),
            },
            "open": {"disabled": self._why_not_open() is not None},
            "close": {"disabled": state.phase == "closed"},
            "diagnose": page_view.diagnose_part(
                is_possible=state.remote and bool(state.url) and HIDDEN not in state.url,
                has_failed=self._failed(),
                is_under_way=state.examining,
            ),
            "clearCache": {"disabled": not self._is_cached() or state.reading},
            "saveProfile": {"disabled": not self._is_cached()},
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
            "image": image_rows(state.info),
            "cache": cache_figures(state.stats, state.info, is_local=self._is_local()),
            "activity": activity_rows(state.stats, state.info, packed=state.packed),
            "keepAll": page_view.keeping_part(state.info, state.stats, is_kept=state.keeping),
            "map": page_view.map_part(
                self._name(), state.info if is_open else None, is_local=self._is_local()
            ),
            "files": page_view.files_part(is_open=is_open),
            "boot": page_view.boot_part(self._name(), state.info if is_open else None),
            "share": page_view.share_part(
                self._name(),
                state.url if self._is_cached() and not state.save else "",
                state.overlay,
            ),
            "saves": page_view.saves_part(
                state.overlay,
                state.local,
                is_open=is_open and not (state.info and state.info.read_only),
                is_outdated=self._is_outdated(),
            ),
            "samples": page_view.samples_part(
                state.catalog,
                state.samples,
                remote=state.remote,
                has_failed=state.samples_failed,
            ),
            "settings": self.settings.view(),
            "remembered": self.remembered(),
            "texts": texts.FIXED | page_texts.FIXED,
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

    def _is_local(self) -> bool:
        """Whether the open disk is all here."""
        return self.state.phase == "open" and bool(self.state.local)

    def _is_outdated(self) -> bool:
        """Whether the overlay is over an older version of the remote image."""
        state = self.state
        if state.local:
            return False
        notices = state.stats.notices if state.stats else ()
        return "older-version" in notices or isinstance(state.error, BaseChangedError)

    def _is_cached(self) -> bool:
        """Whether a remote image is open, whose blocks are cached."""
        return self.state.phase == "open" and not self.state.local

    def _failed(self) -> bool:
        """Whether the image at the address did not open."""
        return self.state.phase == "closed" and self.state.error is not None

    def _remote_hint(self) -> str:
        return texts.REMOTE_ON_HINT if self.state.remote else texts.REMOTE_OFF_HINT

    def _url_hint(self) -> str:
        url = self.state.url
        if HIDDEN in url:
            return texts.URL_PARTLY_HIDDEN
        if has_secrets(url):
            return texts.URL_SECRET
        return texts.URL_HINT

    def _read_hint(self) -> str:
        return texts.READ_HINT if self.state.phase == "open" else texts.READ_CLOSED_HINT

    def _read_range(self) -> dict[str, int] | None:
        """The range that was read last; None once it is no longer shown."""
        if self.state.last_read is None:
            return None
        offset, length = self.state.last_read
        return {"offset": offset, "length": length}

    def _name(self) -> str:
        state = self.state
        image = state.local or _image_name(state.url)
        return texts.SAVE.format(save=state.save, image=image) if state.save else image

    def _status(self) -> str:
        state = self.state
        name = self._name()
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
        return self._status_of_closed()

    def _status_of_closed(self) -> str:
        if self.state.examining:
            return texts.EXAMINING
        if self.state.error:
            return texts.NOT_OPEN
        return self._why_not_open() or texts.READY

    def _is_busy(self) -> bool:
        state = self.state
        is_examining = state.examining and state.phase != "open"
        return state.phase == "opening" or state.reading or is_examining

    def _tone(self) -> str:
        state = self.state
        if self._is_busy():
            return "busy"
        if state.error:
            return "bad"
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
    """What to call the image in a sentence: its file name, else its host.

    The image service has an image at `disks/{id}/bytes`: there it is the id.
    """
    shown = redact_url(url).partition("?")[0].partition("#")[0]
    host, _, path = shown.rpartition("://")[2].partition("/")
    *folders, last = path.rstrip("/").split("/")
    if last == "bytes" and folders[-2:-1] == ["disks"]:
        last = folders[-1]
    name = unquote(last) or host.rpartition("@")[2]
    return printable(name)


def _in_flight(stats: DiskStats | None) -> bool:
    return stats is not None and stats.requests_in_flight > 0
