"""Starts Chromium and Firefox: Playwright's own if installed, else the system's."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from playwright.sync_api import (
    Browser,
    BrowserContext,
    BrowserType,
    ConsoleMessage,
    Playwright,
    WebError,
)
from playwright.sync_api import Error as PlaywrightError

CHROMIUM_FLAGS = (
    "--no-sandbox",  # required for root; the browser only loads our own pages
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
SYSTEM_NAMES = {
    "chromium": ("chromium", "chromium-browser", "google-chrome"),
    "firefox": ("firefox-esr", "firefox"),
}
# Messages that Playwright itself writes to a page's console.
_OF_PLAYWRIGHT = {"Service Worker registration blocked by Playwright"}


class NoBrowserError(Exception):
    """Neither Playwright nor the system has the browser."""


def launch_options(kind: BrowserType, flags: tuple[str, ...] = ()) -> dict[str, Any]:
    """The options for `launch` and `launch_persistent_context` of this kind of browser.

    The environment variables CHROMIUM and FIREFOX name a program to use instead. Raises
    `NoBrowserError`.
    """
    options: dict[str, Any] = {"args": [*flags]}
    if kind.name == "chromium":
        options["args"] += CHROMIUM_FLAGS
    named = os.environ.get(kind.name.upper())
    if not named and Path(kind.executable_path).exists():
        return options
    found = named or next(filter(None, map(shutil.which, SYSTEM_NAMES[kind.name])), None)
    if not found:
        raise NoBrowserError(
            f"there is no {kind.name}: run scripts/setup, or `playwright install {kind.name}`"
        )
    options["executable_path"] = found
    if kind.name == "firefox":
        options["channel"] = "moz-firefox"  # a Firefox without Playwright's patches
    return options


def launch(playwright: Playwright, name: str, flags: tuple[str, ...] = ()) -> Browser:
    """Starts a headless browser, "chromium" or "firefox"."""
    kind: BrowserType = getattr(playwright, name)
    return kind.launch(**launch_options(kind, flags))


def watch_console(context: BrowserContext, complaints: list[str]) -> Callable[[], None]:
    """Collects the warnings, errors and exceptions of the context's pages and workers.

    The returned function stops that.
    """

    def listen(message: ConsoleMessage) -> None:
        if message.type in {"assert", "error", "warning"} and message.text not in _OF_PLAYWRIGHT:
            complaints.append(f"{message.type}: {message.text}")

    def hear(error: WebError) -> None:
        complaints.append(f"uncaught: {error.error}")

    context.on("console", listen)
    context.on("weberror", hear)

    def unwatch() -> None:
        context.remove_listener("console", listen)
        context.remove_listener("weberror", hear)

    return unwatch


def processes(profile: Path) -> list[int]:
    """The processes of the browser that uses this profile, those that started the others first."""
    children: dict[int, list[int]] = {}
    ours = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes()
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended meanwhile
        children.setdefault(parent, []).append(int(folder.name))
        if f"--user-data-dir={profile}".encode() in command.split(b"\0"):
            ours.append(int(folder.name))
    assert ours, "the browser runs"
    for process in ours:  # which grows meanwhile
        ours += children.get(process, ())
    return ours


def kill(numbers: Iterable[int]) -> None:
    """Sends SIGKILL to processes, unless they have ended."""
    for process in numbers:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)


def close_killed(context: BrowserContext) -> None:
    """Notifies Playwright that the browser of a context has ended."""
    with contextlib.suppress(PlaywrightError):
        context.close()
