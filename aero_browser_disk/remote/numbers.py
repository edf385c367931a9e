"""Reads untrusted numbers, which may have any length, within bounds.

`int` raises for thousands of digits, and `float` makes them infinite; both led to errors elsewhere.
"""

from __future__ import annotations

import re
from typing import Final

MAX_IMAGE_SIZE: Final = 2**53 - 1
"""The largest size of an image: `Number.MAX_SAFE_INTEGER` of JavaScript."""
BEYOND_ANY_IMAGE: Final = 10**20
_DIGITS: Final = re.compile(r"[0-9]+")


def decimal_number(text: str, limit: int = BEYOND_ANY_IMAGE) -> int | None:
    """The number that ASCII digits stand for (RFC 9110 `1*DIGIT`), cut to `limit`.

    None when `text` is anything else; white space around it is left out.
    """
    digits = text.strip(" \t")
    if not _DIGITS.fullmatch(digits):
        return None
    significant = digits.lstrip("0")
    if len(significant) > len(str(limit)):
        return limit
    return min(int(significant or "0"), limit)
