"""Where CPython keeps a user's files: images and overlays among their data, blocks among caches.

The rules are those of the XDG Base Directory Specification, of macOS, and of Windows, as
`platformdirs` has them: on macOS XDG's variables count too where somebody set them.
"""

from __future__ import annotations

import logging
import os
import shutil
import sys
from pathlib import Path

from .base import Locks, Storage

LASTING = ("images", "overlays")
"""Folders of a storage that hold what cannot be downloaded again."""

_NAME = "aero-browser-disk"
_LOCK_WITHIN_S = 30.0
_log = logging.getLogger("aero_browser_disk")


def cache_folder() -> Path:
    """Where blocks are cached unless a caller says otherwise."""
    if sys.platform == "darwin":
        return _xdg_folder("XDG_CACHE_HOME", "Library/Caches")
    if sys.platform == "win32":
        return _windows_folder() / "Cache"
    return _xdg_folder("XDG_CACHE_HOME", ".cache")


def data_folder() -> Path:
    """Where local images and overlays are kept unless a caller says otherwise."""
    if sys.platform == "darwin":
        return _xdg_folder("XDG_DATA_HOME", "Library/Application Support")
    if sys.platform == "win32":
        return _windows_folder()
    return _xdg_folder("XDG_DATA_HOME", ".local/share")


def former_folders() -> list[Path]:
    """Where earlier versions kept everything: version 0.1.0 in one folder on every system."""
    former = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / _NAME
    return list(dict.fromkeys([former, cache_folder()]))


def has_lasting_files(folder: Path) -> bool:
    """Whether there are images or overlays in a folder."""
    return any((folder / kind).is_dir() for kind in LASTING)


async def move_lasting_files(old: Path, new: Path, storage: Storage, locks: Locks) -> list[str]:
    """Moves the images and overlays that version 0.1.0 kept in the cache folder `old` to `new`.

    `storage` and `locks` are of `old`. Each image is moved completely or not at all; an open one
    stays and moves next time. Returns the folders that moved, as "images/…".
    """
    if not has_lasting_files(old):
        return []
    lock = await locks.acquire("library", _LOCK_WITHIN_S)
    if lock is None:
        return []
    try:
        moved = []
        for kind in LASTING:
            for name in await storage.list(kind):
                folder = f"{kind}/{name}"
                if (new / folder).exists() or not (old / folder).is_dir():
                    continue
                held = await locks.acquire(folder, 0.0)
                if held is None:
                    continue
                try:
                    _move_whole(old / folder, new / folder)
                finally:
                    held.release()
                moved.append(folder)
            if not await storage.list(kind) and (old / kind).is_dir():
                (old / kind).rmdir()
    finally:
        lock.release()
    if moved:
        _log.warning("%d local images and overlays moved from %s to %s", len(moved), old, new)
    return moved


def _move_whole(source: Path, target: Path) -> None:
    """Moves a folder, also to another file system; a crash leaves at least one complete copy."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        source.rename(target)
    except OSError:
        partial = target.with_name(f"{target.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(source, partial)
        for file in partial.iterdir():
            with file.open("rb") as copied:
                os.fsync(copied.fileno())
        partial.rename(target)
        shutil.rmtree(source)


def _xdg_folder(variable: str, default: str) -> Path:
    """A variable that is not an absolute path is ignored, as the specification requires."""
    given = os.environ.get(variable, "")
    base = Path(given) if Path(given).is_absolute() else Path.home() / default
    return base / _NAME


def _windows_folder() -> Path:
    given = os.environ.get("LOCALAPPDATA")
    return (Path(given) if given else Path.home() / "AppData" / "Local") / _NAME
