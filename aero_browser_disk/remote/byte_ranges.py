"""Range, Content-Range and the validators that go with them: parse, format, compare.

The client and the service share this module, so that both read RFC 9110 the same way. Header values
are text as HTTP libraries give it: the field's bytes decoded as ISO-8859-1, without the white space
around them.
"""

from __future__ import annotations

import calendar
import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal

from ..platform.byte_range import ByteRange
from .numbers import decimal_number

# ── ranges ────────────────────────────────────────────────────────────────────────────────────────


class UnsatisfiableRangeError(ValueError):
    """A well-formed range that holds no byte of the image: 416 with `bytes */size`."""

    def __init__(self, size: int) -> None:
        super().__init__(f"the range holds no byte of an image of {size} bytes")
        self.size = size


class MultipleRangesError(ValueError):
    """More than one range in a Range header, each of them well formed."""

    def __init__(self) -> None:
        super().__init__("more than one range was asked for")


@dataclass(frozen=True, slots=True)
class ContentRange:
    """What a Content-Range header says (RFC 9110 §14.4).

    `range` is None when the range asked for was unsatisfiable, `size` (of the whole image, in
    bytes) is None when the sender does not know it. Raises `ValueError` when both are, or when the
    range reaches past the size.
    """

    range: ByteRange | None
    size: int | None

    def __post_init__(self) -> None:
        if self.range is None and self.size is None:
            raise ValueError("a Content-Range has a range, a size, or both")
        if self.size is not None and self.size < 0:
            raise ValueError(f"not a size: {self.size}")
        if self.range is not None and self.size is not None and self.range.stop > self.size:
            raise ValueError(f"{self.range} reaches past {self.size} bytes")

    def __str__(self) -> str:
        sent = "*" if self.range is None else f"{self.range.start}-{self.range.stop - 1}"
        return f"bytes {sent}/{'*' if self.size is None else self.size}"


_CONTENT_RANGE: Final = re.compile(r"(?:([0-9]+)-([0-9]+)|\*)/(?:([0-9]+)|\*)")
_RANGE_SPEC: Final = re.compile(r"([0-9]*)-([0-9]*)")
# What clients of this project and most others send, read by one expression.
_PLAIN_RANGE: Final = re.compile(r"bytes=([0-9]{1,18})-([0-9]{1,18})")
_OWS: Final = " \t"


def _number(digits: str) -> int:
    number = decimal_number(digits)
    assert number is not None, "the caller's expression lets digits pass"
    return number


def parse_content_range(value: str) -> ContentRange:
    """What a Content-Range header says; raises `ValueError` when it is malformed.

    A unit other than bytes counts as malformed: nothing here asks for one.
    """
    unit, _, rest = value.strip(_OWS).partition(" ")
    match = _CONTENT_RANGE.fullmatch(rest)
    if unit.lower() != "bytes" or match is None:
        raise ValueError(f"not a Content-Range of bytes: {value!r}")
    first, last, size = match.groups()
    return ContentRange(
        None if first is None else ByteRange(_number(first), _number(last) + 1),
        None if size is None else _number(size),
    )


def parse_range(value: str, size: int) -> ByteRange | None:
    """The bytes that a Range header asks for, of an image of `size` bytes (RFC 9110 §14.1.2).

    None when the header is to be ignored: another unit, malformed, or a suffix of an empty image,
    which is satisfiable but has no Content-Range. Raises `UnsatisfiableRangeError` and
    `MultipleRangesError`.
    """
    plain = _PLAIN_RANGE.fullmatch(value)
    if plain is not None:
        first, last = int(plain[1]), int(plain[2])
        return None if last < first else _clamp(first, last, size)
    unit, equals, range_set = value.strip(_OWS).partition("=")
    if unit.lower() != "bytes" or not equals:
        return None
    # A list may have empty elements (RFC 9110 §5.6.1.2).
    specs = [spec for element in range_set.split(",") if (spec := element.strip(_OWS))]
    parsed = [_parse_range_spec(spec) for spec in specs]
    if not parsed or None in parsed:
        return None
    if len(parsed) > 1:
        raise MultipleRangesError
    assert parsed[0] is not None
    return _clamp(*parsed[0], size)


def _parse_range_spec(spec: str) -> tuple[int | None, int | None] | None:
    """First and last position of `a-b` or `a-`, or (None, length) of `-n`; None: malformed."""
    match = _RANGE_SPEC.fullmatch(spec)
    if match is None:
        return None
    first = _number(match[1]) if match[1] else None
    last = _number(match[2]) if match[2] else None
    if first is None and last is None:
        return None
    if first is not None and last is not None and last < first:
        return None
    return first, last


def _clamp(first: int | None, last: int | None, size: int) -> ByteRange | None:
    if first is None:
        length = last or 0
        if length == 0:
            raise UnsatisfiableRangeError(size)
        return ByteRange(max(0, size - length), size) if size else None
    if first >= size:
        raise UnsatisfiableRangeError(size)
    return ByteRange(first, size if last is None else min(last + 1, size))


# ── entity tags ───────────────────────────────────────────────────────────────────────────────────

# RFC 9110 §8.8.3; `obs-text` is what bytes above 0x7F become in ISO-8859-1.
_ENTITY_TAG: Final = re.compile(r'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"')
_LIST_SEPARATORS: Final = re.compile(r"[ \t]*(?:,[ \t]*)+")


@dataclass(frozen=True, slots=True)
class EntityTag:
    """A validator (RFC 9110 §8.8.3). `opaque` is what is between its quotes."""

    opaque: str
    weak: bool = False

    def __str__(self) -> str:
        return f'{"W/" if self.weak else ""}"{self.opaque}"'

    @classmethod
    def parse(cls, value: str) -> EntityTag:
        """The tag in an ETag header; raises `ValueError` when it is malformed."""
        match = _ENTITY_TAG.fullmatch(value.strip(_OWS))
        if match is None:
            raise ValueError(f"not an entity tag: {value!r}")
        return cls(match[2], weak=match[1] is not None)

    def strong_match(self, other: EntityTag) -> bool:
        """Whether both name the same bytes (RFC 9110 §8.8.3.2)."""
        return not self.weak and not other.weak and self.opaque == other.opaque

    def weak_match(self, other: EntityTag) -> bool:
        """Whether both name versions that their server holds equivalent (RFC 9110 §8.8.3.2)."""
        return self.opaque == other.opaque


def parse_entity_tags(value: str) -> Literal["*"] | tuple[EntityTag, ...]:
    """What If-Match or If-None-Match lists; raises `ValueError` when it is malformed."""
    text = value.strip(_OWS)
    if text == "*":
        return "*"
    tags = []
    # Not split at commas: a tag may hold one.
    position = _skip_separators(text, 0)
    while position < len(text):
        match = _ENTITY_TAG.match(text, position)
        if match is None:
            raise ValueError(f"not a list of entity tags: {value!r}")
        tags.append(EntityTag(match[2], weak=match[1] is not None))
        position = _skip_separators(text, match.end())
        if position == match.end() and position < len(text):
            raise ValueError(f"no comma between entity tags: {value!r}")
    if not tags:
        raise ValueError("an empty list of entity tags")
    return tuple(tags)


def _skip_separators(text: str, position: int) -> int:
    match = _LIST_SEPARATORS.match(text, position)
    return match.end() if match else position


# ── dates ─────────────────────────────────────────────────────────────────────────────────────────

# Not `email.utils`: it accepts invalid dates, and importing it slows down Pyodide's start.
_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS: Final = (
    *("Jan", "Feb", "Mar", "Apr", "May", "Jun"),
    *("Jul", "Aug", "Sep", "Oct", "Nov", "Dec"),
)
_DAY: Final = f"(?:{'|'.join(_DAYS)})"
_LONG_DAY: Final = "(?:Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday)"
_MONTH: Final = f"(?P<month>{'|'.join(_MONTHS)})"
_TIME: Final = "(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})"
_HTTP_DATES: Final = (
    re.compile(rf"{_DAY}, (?P<day>[0-9]{{2}}) {_MONTH} (?P<year>[0-9]{{4}}) {_TIME} GMT"),
    re.compile(rf"{_LONG_DAY}, (?P<day>[0-9]{{2}})-{_MONTH}-(?P<year>[0-9]{{2}}) {_TIME} GMT"),
    re.compile(rf"{_DAY} {_MONTH} (?P<day>[0-9 ][0-9]) {_TIME} (?P<year>[0-9]{{4}})"),
)


def parse_http_date(value: str) -> int | None:
    """Seconds since the epoch, or None when it is no date of RFC 9110 §5.6.7.

    The name of the day is not checked.
    """
    text = value.strip(_OWS)
    match = next((found for form in _HTTP_DATES if (found := form.fullmatch(text))), None)
    if match is None:
        return None
    year, day = int(match["year"]), int(match["day"])
    if len(match["year"]) == 2:
        year = _full_year(year)
    month = _MONTHS.index(match["month"]) + 1
    hour, minute, second = int(match["hour"]), int(match["minute"]), int(match["second"])
    if second > 60:
        return None
    try:
        datetime(year, month, day, hour, minute, min(second, 59), tzinfo=UTC)
    except ValueError:
        return None
    return calendar.timegm((year, month, day, hour, minute, second))


def _full_year(two_digits: int) -> int:
    """The year that ends so and is at most 50 years ahead (RFC 9110 §5.6.7)."""
    this_year = time.gmtime().tm_year
    year = this_year - this_year % 100 + two_digits
    return year - 100 if year > this_year + 50 else year


def format_http_date(epoch_s: float) -> str:
    """An HTTP date (IMF-fixdate, RFC 9110 §5.6.7), cut to the second. Independent of the locale."""
    at = time.gmtime(epoch_s // 1)
    return (
        f"{_DAYS[at.tm_wday]}, {at.tm_mday:02} {_MONTHS[at.tm_mon - 1]} {at.tm_year:04} "
        f"{at.tm_hour:02}:{at.tm_min:02}:{at.tm_sec:02} GMT"
    )
