"""What the page and the emulator ask of the worker: operations by name, plain values in and out.

`worker.mjs` passes each message on to `Worker.call` and the answer back. An answer is
`{"value": …}` or `{"error": {"name", "message", "fields"}}`, its keys in camel case.
"""

from __future__ import annotations

import itertools
import re
import traceback
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict

from .errors import DiskClosedError, DiskError, InvalidOptionError
from .open_disk import open_disk
from .panel_session import OpenDisk, PanelSession
from .streaming_disk import StreamingDisk

Value = object
Operation = Callable[..., Awaitable[Value]]

_OPTIONS: Mapping[str, tuple[str, tuple[type, ...], str]] = {
    "allowRemote": ("allow_remote", (bool,), "true or false"),
    "cacheLimitBytes": ("cache_limit_bytes", (int,), "a whole number of bytes"),
    "blockSize": ("block_size", (int,), "a power of two from 4 KiB to 8 MiB"),
    "cacheKey": ("cache_key", (str,), "text"),
    "headers": ("headers", (dict,), "an object of header names and values"),
    "credentials": ("credentials", (str,), '"omit", "same-origin" or "include"'),
    "timeoutS": ("timeout_s", (int, float), "a number of seconds"),
}


class Worker:
    """The disks that a page has open, and its panel."""

    def __init__(self, opener: OpenDisk = open_disk) -> None:
        self._open_disk = opener
        self._disks: dict[int, StreamingDisk] = {}
        self._numbers = itertools.count(1)
        panel = PanelSession(opener)
        self._operations: dict[str, Operation] = {
            "disk.open": self._open,
            "disk.read": self._read,
            "disk.stats": self._stats,
            "disk.clearCache": self._clear_cache,
            "disk.close": self._close,
            "panel.view": panel.view,
            "panel.restore": panel.restore,
            "panel.setRemote": panel.set_remote,
            "panel.setUrl": panel.set_url,
            "panel.open": panel.open,
            "panel.close": panel.close,
            "panel.clearCache": panel.clear_cache,
            "panel.read": panel.read,
        }

    async def call(self, operation: str, values: Mapping[str, Value]) -> dict[str, Value]:
        """Does an operation. Never raises: a failure is an answer too."""
        try:
            return {"value": await self._operations[operation](**values)}
        except DiskError as error:
            return {"error": _describe(error)}
        except Exception:  # noqa: BLE001 - a defect of ours: the page must hear of it, in full
            return {"error": _described("InternalError", traceback.format_exc(), {})}

    async def _open(self, url: Value, **options: Value) -> dict[str, Value]:
        if not isinstance(url, str):
            raise InvalidOptionError("url", url, "text")
        disk = await self._open_disk(url, **_read_options(options))
        number = next(self._numbers)
        self._disks[number] = disk
        return {"disk": number, **_camel_keys(asdict(disk.info))}

    async def _read(self, disk: int, offset: Value, length: Value) -> bytes:
        found = self._disk(disk)
        return await found.read(_whole("offset", offset), _whole("length", length))

    async def _stats(self, disk: int) -> dict[str, Value]:
        return _camel_keys(asdict(self._disk(disk).stats()))

    async def _clear_cache(self, disk: int) -> None:
        await self._disk(disk).clear_cache()

    async def _close(self, disk: int) -> None:
        found = self._disks.pop(disk, None)
        if found is not None:
            await found.close()

    def _disk(self, number: int) -> StreamingDisk:
        if number not in self._disks:
            raise DiskClosedError
        return self._disks[number]


def _read_options(options: Mapping[str, Value]) -> dict[str, Value]:
    """`openDisk`'s options as `open_disk` takes them."""
    read: dict[str, Value] = {}
    for name, value in options.items():
        if name not in _OPTIONS:
            raise InvalidOptionError(name, value, f"one of {', '.join(_OPTIONS)}")
        ours, types, expected = _OPTIONS[name]
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            raise InvalidOptionError(name, value, expected)
        read[ours] = value
    return read


def _whole(name: str, value: Value) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidOptionError(name, value, "a whole number of bytes")
    return value


def _describe(error: DiskError) -> dict[str, Value]:
    return _described(type(error).__name__, str(error), error.fields())


def _described(name: str, message: str, fields: Mapping[str, Value]) -> dict[str, Value]:
    return {"name": name, "message": message, "fields": _camel_keys(fields)}


def _camel_keys(values: Mapping[str, Value]) -> dict[str, Value]:
    return {re.sub(r"_(\w)", lambda m: m[1].upper(), key): v for key, v in values.items()}
