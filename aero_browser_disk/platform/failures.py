"""Errors as plain values, which is how they reach JavaScript."""

from __future__ import annotations

import asyncio
import re
import traceback
from collections.abc import Mapping

from ..errors import DiskError

Value = object


def describe(error: BaseException) -> dict[str, Value]:
    """The name, message and fields of an error; a defect of ours with its traceback."""
    if isinstance(error, DiskError):
        return _described(type(error).__name__, str(error), error.fields())
    if isinstance(error, asyncio.CancelledError):
        return _described("AbortError", "The call was cancelled.", {})
    return _described("InternalError", "".join(traceback.format_exception(error)), {})


def _described(name: str, message: str, fields: Mapping[str, Value]) -> dict[str, Value]:
    return {"name": name, "message": message, "fields": camel_keys(fields)}


def camel_keys(values: Mapping[str, Value]) -> dict[str, Value]:
    """`values` with keys as JavaScript has them."""
    return {re.sub(r"_(\w)", lambda m: m[1].upper(), key): v for key, v in values.items()}
