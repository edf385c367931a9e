"""`openDisk`'s options, as they come from the page, read into those of `open_disk`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import InvalidOptionError, RenewalError
from ..platform.failures import Value
from ..remote.access import Renew, RenewedAccess
from ..remote.retry import RetryPolicy
from .operations import checked, function

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
    "format": ("format", (str,), '"auto", "raw" or the name of a format'),
    "readAhead": ("read_ahead", (bool,), "true or false"),
    "writeBase": ("write_base", (bool,), "true or false"),
    "digestsSha256": ("digests_sha256", (str,), "64 hexadecimal digits"),
    "digestsKey": ("digests_key", (str,), "64 hexadecimal digits"),
}
ACCESS_OPTIONS = ("allowRemote", "headers", "credentials", "renew", "expiresAt", "timeoutS")
"""Those for any address: an image's, a file's or a server's."""
_DOCUMENTS = {"bootProfile": "boot_profile", "digests": "digests"}
_RETRY = {"tries": "tries", "baseS": "base_s", "capS": "cap_s", "totalS": "total_s"}


def read_options(options: Mapping[str, Value]) -> dict[str, Value]:
    """`openDisk`'s options as `open_disk` takes them; raises `InvalidOptionError`."""
    read: dict[str, Value] = {}
    for name, value in options.items():
        if name in _OPTIONS:
            ours, types, expected = _OPTIONS[name]
            read[ours] = checked(name, value, types, expected)
        elif name == "image":
            read["image"] = checked(name, value, (str,), "the name of a local image")
        elif name == "file":
            read["file"] = value
        elif name == "overlay":
            read["overlay"] = names(name, value)
        elif name in _DOCUMENTS:
            read[_DOCUMENTS[name]] = _document(name, value)
        elif name == "retry":
            read["retry"] = _retry(value)
        elif name == "renew":
            read["renew"] = _renewal(value)
        else:
            known = ", ".join(
                [*_OPTIONS, *_DOCUMENTS, "image", "file", "overlay", "retry", "renew"]
            )
            raise InvalidOptionError(name, value, f"one of {known}")
    return read


def names(option: str, value: Value) -> list[str]:
    """One name or several; raises `InvalidOptionError`."""
    found = [value] if isinstance(value, str) else value
    if not isinstance(found, list | tuple) or not all(isinstance(name, str) for name in found):
        raise InvalidOptionError(option, value, "a name, or a list of names")
    return list(found)


def _document(name: str, value: Value) -> Value:
    """Bytes; for a boot profile also "auto" and "none"."""
    if name == "bootProfile" and isinstance(value, str) and value in ("auto", "none"):
        return value if value == "auto" else None
    if not isinstance(value, bytes | bytearray | memoryview):
        raise InvalidOptionError(name, type(value).__name__, "a Uint8Array")
    return bytes(value)


def _retry(value: Value) -> RetryPolicy:
    expected = f"an object of {', '.join(_RETRY)}, which are numbers"
    if not isinstance(value, dict) or not value.keys() <= _RETRY.keys():
        raise InvalidOptionError("retry", value, expected)
    for name, number in value.items():
        types = (int,) if name == "tries" else (int, float)
        if isinstance(number, bool) or not isinstance(number, types):
            raise InvalidOptionError("retry", value, expected)
    return RetryPolicy(**{_RETRY[name]: number for name, number in value.items()})


def _renewal(ask: Any) -> Renew:
    """The page's function. It returns the fields of a `RenewedAccess`, or an `error`."""

    called = function("renew", ask)

    async def renew() -> RenewedAccess:
        given = await called()
        if "error" in given:
            raise RenewalError(str(given["error"]))
        expires_at = given.get("expiresAt")
        return RenewedAccess(str(given["url"]), given.get("headers"), expires_at)

    return renew
