"""The platform of a disk: protocols for storage, HTTP, locks and clock, and their implementations.

- `base`: the protocols: files, HTTP, locks, channels, clock, shared memory. A `Platform` has one of
  each.
- `browser`: a browser's, in Pyodide (the only package that imports `js`); `cpython`: a folder and
  sockets; `memory`: for tests.
- `byte_source`: a file to read from, whatever it is; `byte_range`, `chunks`: parts of one;
  `file_position`: seeking; `whole_file`: a file written completely or not at all.
- `user_folders`: where CPython keeps a user's files.
- `waiting`, `background_loop`, `event_loop`, `stall_limit`: how code waits, and for how long;
  `single_flight`: work that several wait for.
- `concurrent_tasks`: several tasks at once, of which some may fail.
- `opening`: calls that can be awaited or entered with `async with`.
- `web_url`: addresses as the URL Standard reads them; `redaction`: those without secrets;
  `credential_headers`: the headers that stay with their origin.
- `signatures`: Ed25519, and `encryption` and `cipher`: AES-GCM, by WebCrypto or `cryptography`.
- `failures`: errors as plain values. `printable`: untrusted text, without control characters;
  `json_objects`: untrusted JSON without duplicate names.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from .base import (
    Channel,
    Channels,
    Clock,
    File,
    FileFacts,
    HttpClient,
    HttpResponse,
    Lock,
    Locks,
    Platform,
    Sharing,
    Storage,
    StorageEstimate,
)
from .memory import MemoryChannels, MemoryLocks, MemoryStorage
from .user_folders import (
    cache_folder,
    data_folder,
    former_folders,
    has_lasting_files,
    move_lasting_files,
)

if TYPE_CHECKING:
    from .byte_source import ByteSource, SourceIdentity

__all__ = [
    "Channel",
    "Channels",
    "Clock",
    "File",
    "FileFacts",
    "HttpClient",
    "HttpResponse",
    "Lock",
    "Locks",
    "MemoryChannels",
    "MemoryLocks",
    "MemoryStorage",
    "Platform",
    "Storage",
    "StorageEstimate",
    "cache_folder",
    "cpython_platform",
    "current_platform",
    "data_folder",
]

_IN_BROWSER = sys.platform == "emscripten"


async def current_platform() -> Platform:
    """The platform that this interpreter runs on: a browser's, or CPython's with a user's folders.

    In CPython blocks are in `cache_folder()`, images and overlays in `data_folder()`. Those that an
    earlier version kept in the cache folder move there.
    """
    if _IN_BROWSER:
        from .browser import browser_platform

        return await browser_platform()
    data = data_folder()
    for folder in former_folders():
        if folder != data and has_lasting_files(folder):
            old = cpython_platform(folder)
            try:
                await move_lasting_files(folder, data, old.storage, old.locks)
            finally:
                await old.http.close()
    return cpython_platform(cache_folder(), data)


def cpython_platform(
    folder: str | os.PathLike[str], data: str | os.PathLike[str] | None = None
) -> Platform:
    """CPython's platform: files below `folder`, an HTTP client, locks, and a clock.

    Images and overlays are below `data` if it is given. Folders are created when something is
    stored. Close the platform's `http` when you are done with all disks on it.
    """
    from .cpython import cpython_platform as made  # not in a browser: it needs sockets and `fcntl`

    return made(folder, data)


def file_of_user(value: Any) -> tuple[ByteSource, SourceIdentity] | None:
    """A source over a `File` or `Blob` of the page; None when `value` is neither."""
    is_blob = hasattr(value, "arrayBuffer") and hasattr(value, "slice")
    if not _IN_BROWSER or not is_blob:
        return None
    from .browser.blobs import BlobSource

    source = BlobSource(value)
    return source, source.identity


def memory_sharing() -> Sharing | None:
    """How memory is shared with other threads; None where it cannot be, as in CPython.

    A browser shares it with isolated pages only: those sent with `Cross-Origin-Opener-Policy:
    same-origin` and `Cross-Origin-Embedder-Policy: require-corp`.
    """
    if not _IN_BROWSER:
        return None
    from .browser.shared_memory import BrowserSharedMemory, can_share
    from .browser.tabs import WebLocks

    return Sharing(BrowserSharedMemory, WebLocks()) if can_share() else None
