"""The platform in a browser worker: fetch, OPFS, Web Locks, Broadcast Channel.

The only package that imports `js` and `pyodide`, and only inside functions: a memory snapshot of
Pyodide cannot hold a JavaScript object.
"""

from __future__ import annotations

from ...errors import StorageUnavailableError
from ..base import Platform, Storage
from ..memory import MemoryStorage
from .fetch import FetchHttp
from .interop import ROOT
from .opfs import OpfsStorage
from .page import page_facts
from .tabs import BroadcastChannels, BrowserClock, WebLocks

__all__ = ["ROOT", "FetchHttp", "OpfsStorage", "browser_platform"]


async def browser_platform() -> Platform:
    """The platform of this worker. Without OPFS its storage is memory."""
    storage: Storage
    try:
        storage = await OpfsStorage.connect()
    except StorageUnavailableError:
        storage = MemoryStorage()
    return Platform(
        FetchHttp(), storage, WebLocks(), BrowserClock(), BroadcastChannels(), page_facts()
    )
