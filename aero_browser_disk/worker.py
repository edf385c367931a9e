"""What the page and the emulator ask of the worker: operations by name, plain values in and out.

`worker.mjs` passes each message on to `Worker.call` and the answer back. An answer is
`{"value": …}` or `{"error": {"name", "message", "fields"}}`, its keys in camel case.
"""

from __future__ import annotations

import asyncio
import itertools
import re
import traceback
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from typing import Any, cast

from .access import Grant, Renew
from .errors import DiskClosedError, DiskError, InvalidOptionError, RenewalError
from .open_disk import open_disk
from .panel_session import OpenDisk, PanelSession
from .retry import RetryPolicy
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
    "expiresAt": ("expires_at", (int, float), "seconds since the epoch"),
    "timeoutS": ("timeout_s", (int, float), "a number of seconds"),
    "concurrency": ("concurrency", (int,), "a whole number"),
    "maxRequestBytes": ("max_request_bytes", (int,), "a whole number of bytes"),
    "readAhead": ("read_ahead", (bool,), "true or false"),
    "digestsSha256": ("digests_sha256", (str,), "64 hexadecimal digits"),
}
_DOCUMENTS = {"bootProfile": "boot_profile", "digests": "digests"}
_RETRY = {"tries": "tries", "baseS": "base_s", "capS": "cap_s", "totalS": "total_s"}


class Worker:
    """The disks that a page has open, and its panel."""

    def __init__(self, opener: OpenDisk = open_disk) -> None:
        self._open_disk = opener
        self._disks: dict[int, StreamingDisk] = {}
        self._numbers = itertools.count(1)
        self._under_way: dict[int, asyncio.Future[Value]] = {}
        panel = PanelSession(opener)
        self._operations: dict[str, Operation] = {
            "disk.open": self._open,
            "disk.read": self._read,
            "disk.stats": self._stats,
            "disk.clearCache": self._clear_cache,
            "disk.close": self._close,
            "disk.keepWholeImage": self._keep_whole_image,
            "disk.pauseKeeping": self._pause_keeping,
            "disk.bootProfile": self._boot_profile,
            "panel.view": panel.view,
            "panel.restore": panel.restore,
            "panel.setRemote": panel.set_remote,
            "panel.setUrl": panel.set_url,
            "panel.open": panel.open,
            "panel.close": panel.close,
            "panel.clearCache": panel.clear_cache,
            "panel.read": panel.read,
        }

    async def call(
        self, operation: str, values: Mapping[str, Value], call_id: int = 0
    ) -> dict[str, Value]:
        """Does an operation. Never raises: a failure is an answer too."""
        try:
            work = asyncio.ensure_future(self._operations[operation](**values))
            self._under_way[call_id] = work
            return {"value": await work}
        except DiskError as error:
            return {"error": _describe(error)}
        except asyncio.CancelledError:
            return {"error": _described("AbortError", "The call was cancelled.", {})}
        except Exception:  # noqa: BLE001 - a defect of ours: the page must hear of it, in full
            return {"error": _described("InternalError", traceback.format_exc(), {})}
        finally:
            self._under_way.pop(call_id, None)

    def cancel(self, call_id: int) -> None:
        """Gives up the call of that number, if it is still under way."""
        work = self._under_way.get(call_id)
        if work is not None:
            work.cancel()

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

    async def _keep_whole_image(self, disk: int) -> None:
        self._disk(disk).keep_whole_image()

    async def _pause_keeping(self, disk: int) -> None:
        self._disk(disk).pause_keeping()

    async def _boot_profile(self, disk: int) -> bytes:
        return self._disk(disk).boot_profile().encode()

    def _disk(self, number: int) -> StreamingDisk:
        if number not in self._disks:
            raise DiskClosedError
        return self._disks[number]


def _read_options(options: Mapping[str, Value]) -> dict[str, Value]:
    """`openDisk`'s options as `open_disk` takes them; raises `InvalidOptionError`."""
    read: dict[str, Value] = {}
    for name, value in options.items():
        if name in _OPTIONS:
            ours, types, expected = _OPTIONS[name]
            read[ours] = _checked(name, value, types, expected)
        elif name in _DOCUMENTS:
            read[_DOCUMENTS[name]] = _document(name, value)
        elif name == "retry":
            read["retry"] = _retry(value)
        elif name == "renew":
            read["renew"] = _renewal(value)
        else:
            known = ", ".join([*_OPTIONS, *_DOCUMENTS, "retry", "renew"])
            raise InvalidOptionError(name, value, f"one of {known}")
    return read


def _checked(name: str, value: Value, types: tuple[type, ...], expected: str) -> Value:
    if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
        raise InvalidOptionError(name, value, expected)
    return value


def _document(name: str, value: Value) -> Value:
    """Bytes; for a boot profile also "auto" and "none"."""
    if name == "bootProfile" and isinstance(value, str) and value in ("auto", "none"):
        return value if value == "auto" else None
    if not isinstance(value, bytes | bytearray | memoryview):
        raise InvalidOptionError(name, type(value).__name__, "a Uint8Array")
    return bytes(value)


def _retry(value: Value) -> RetryPolicy:
    try:
        fields = {_RETRY[name]: number for name, number in cast("dict[str, Any]", value).items()}
        return RetryPolicy(**fields)
    except (AttributeError, KeyError, TypeError):
        raise InvalidOptionError("retry", value, f"an object of {', '.join(_RETRY)}") from None


def _renewal(ask: Any) -> Renew:
    """The page's function, which answers with the fields of a `Grant` or with an `error`."""

    async def renew() -> Grant:
        answer = await ask()
        if "error" in answer:
            raise RenewalError(str(answer["error"]))
        expires_at = answer.get("expiresAt")
        return Grant(str(answer["url"]), answer.get("headers"), expires_at)

    return renew


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
