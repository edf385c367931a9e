"""Reads small, untrusted JSON documents that belong to an image.

An invalid document is a `ValueError` that says what is wrong.
"""

from __future__ import annotations

import json
from collections.abc import Set as AbstractSet
from typing import Any, TypeGuard

from .numbers import MAX_IMAGE_SIZE


def read_document(
    encoded: bytes | str, form: str, version: int, fields: AbstractSet[str]
) -> dict[str, Any]:
    """The document, which must be of that `format` and `version` and have no other fields."""
    try:
        document = json.loads(encoded)
    except (ValueError, RecursionError):
        raise ValueError(f"not JSON, as {form} must be") from None
    if not isinstance(document, dict) or document.get("format") != form:
        raise ValueError(f"not {form}")
    if not is_whole(document.get("version")) or document["version"] != version:
        raise ValueError(f"{form} of a version that is not known here")
    if unknown := sorted(set(document) - fields - {"format", "version"}):
        raise ValueError(f"{form} has no field {unknown[0][:40]!r}")
    return document


def is_whole(value: object) -> TypeGuard[int]:
    """Whether it is an integer; True and 1.0 are not."""
    return isinstance(value, int) and not isinstance(value, bool)


def whole_number(document: dict[str, Any], field: str) -> int:
    """The integer in that field, of any sign, within JavaScript's exact range."""
    value = document.get(field)
    if not is_whole(value):
        raise ValueError(f"{field} must be a whole number")
    if abs(value) > MAX_IMAGE_SIZE:
        raise ValueError(f"{field} is beyond 2^53 - 1")
    return value
