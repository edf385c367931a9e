"""Amounts as people write and read them: bytes, percentages, counts."""

from __future__ import annotations

import re
from fractions import Fraction

_BINARY = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB")
_UNITS: dict[str, int] = {
    "": 1,
    "b": 1,
    "byte": 1,
    "bytes": 1,
    # A bare letter is binary, as it is in the tools that people use on disks (qemu-img, dd).
    **{letter: 2 ** (10 * power) for power, letter in enumerate("kmgt", 1)},
    **{f"{letter}ib": 2 ** (10 * power) for power, letter in enumerate("kmgt", 1)},
    **{f"{letter}b": 10 ** (3 * power) for power, letter in enumerate("kmgt", 1)},
}
_HEXADECIMAL = re.compile(r"(?i)0x([0-9a-f_]+)")
_DECIMAL = re.compile(r"(?i)([0-9][0-9_, ]*)(\.[0-9]+)?\s*([a-z]*)", re.ASCII)


def parse_byte_count(text: str) -> int:
    """The number of bytes that `text` names: `512`, `65,536`, `0x200`, `64 KiB`, `64K`, `1.5 MB`.

    Raises `ValueError` when it names none, or a fraction of a byte.
    """
    text = text.strip()
    if hexadecimal := _HEXADECIMAL.fullmatch(text):
        return int(hexadecimal[1].replace("_", ""), 16)
    decimal = _DECIMAL.fullmatch(text)
    if decimal is None or decimal[3].lower() not in _UNITS:
        raise ValueError(f"{text!r} is not a number of bytes")
    count = Fraction(re.sub(r"[_, ]", "", decimal[1]) + (decimal[2] or ""))
    count *= _UNITS[decimal[3].lower()]
    if count.denominator != 1:
        raise ValueError(f"{text!r} is not a whole number of bytes")
    return count.numerator


def format_bytes(count: int) -> str:
    """`count` bytes with three significant digits and a binary unit: `0 bytes`, `1.5 MiB`.

    Rounds down, so that what is nearly full never reads as full.
    """
    power = min(max(count.bit_length() - 1, 0) // 10, len(_BINARY) - 1)
    if power == 0:
        return "1 byte" if count == 1 else f"{count} bytes"
    whole = count >> (10 * power)
    places = max(0, 3 - len(str(whole)))
    scaled = count * 10**places >> (10 * power)
    number = f"{scaled // 10**places:,}"
    if fraction := f"{scaled % 10**places:0{places}d}".rstrip("0") if places else "":
        number += f".{fraction}"
    return f"{number} {_BINARY[power]}"


def format_percent(part: int, whole: int) -> str:
    """`part` of `whole`, rounded down to a tenth: `99.9 %`; only all of it is `100 %`."""
    if whole <= 0:
        return "0 %"
    tenths = min(part, whole) * 1000 // whole
    if part > 0 and tenths == 0:
        return "< 0.1 %"
    return f"{tenths // 10}.{tenths % 10} %".replace(".0 %", " %")


def format_count(count: int, noun: str) -> str:
    """`count` with the noun in its number: `1 block`, `1,250 blocks`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
