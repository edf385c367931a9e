"""The Range of a request to the relay, which is passed on before the image's size is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from aero_browser_disk.platform.byte_range import ByteRange
from aero_browser_disk.remote.byte_ranges import (
    ContentRange,
    MultipleRangesError,
    UnsatisfiableRangeError,
    parse_range,
)

from ..http.response import Fields, HttpError
from ..options import BytesOptions

# Stands for an unknown size; larger than any image.
_ANY_SIZE: Final = 1 << 62
_ACCEPTED: Final = {"Accept-Ranges": "bytes"}


@dataclass(frozen=True, slots=True)
class RequestedRange:
    """`header` is the Range sent to the server. `start` is None for the last `length` bytes.

    `length` is None for a range up to the end of the image.
    """

    header: str
    start: int | None
    length: int | None
    may_be_shortened: bool = False

    @classmethod
    def parse(cls, value: str | None, options: BytesOptions) -> RequestedRange | None:
        """Parses a Range; None without one. Raises the 416s that need no size as `HttpError`."""
        try:
            found = None if value is None else parse_range(value, _ANY_SIZE)
        except MultipleRangesError:
            message = "Request one range at a time."
            raise HttpError(416, "multiple_ranges", message, _ACCEPTED) from None
        except UnsatisfiableRangeError:
            raise range_not_satisfiable(None) from None
        if value is None or found is None:
            return None
        limit, spec = options.max_range_bytes, value.partition("=")[2].strip(" \t,")
        if spec.startswith("-"):
            return cls(f"bytes=-{found.length}", None, found.length)
        if not spec.endswith("-"):
            return cls(f"bytes={found.start}-{found.stop - 1}", found.start, found.length)
        if options.shorten_open_ranges:
            # An open range gets at most one response's worth (RFC 9110 §15.3.7).
            last = found.start + limit - 1
            return cls(f"bytes={found.start}-{last}", found.start, limit, may_be_shortened=True)
        return cls(f"bytes={found.start}-", found.start, None)

    def of_size(self, size: int) -> ByteRange | None:
        """The range in an image of `size` bytes; None if it is outside the image."""
        if self.start is None:
            return ByteRange(max(0, size - (self.length or 0)), size) if size else None
        stop = size if self.length is None else min(size, self.start + self.length)
        return ByteRange(self.start, stop) if self.start < size else None

    def matches(self, part: ContentRange) -> bool:
        """Whether a response's part is what was requested, or the beginning of it."""
        if part.range is None or part.size is None:
            return False
        if self.length is not None and part.range.length > self.length:
            return False
        if self.start is None:
            return part.range.stop == part.size
        return part.range.start == self.start


def range_not_satisfiable(size: int | None, fields: Fields | None = None) -> HttpError:
    """The 416 for a range outside the image, with the image's `size` if that is known."""
    said = {} if size is None else {"Content-Range": str(ContentRange(None, size))}
    message = "The range holds no byte of the image."
    all_fields = {**said, **(fields or {}), **_ACCEPTED}
    return HttpError(416, "range_not_satisfiable", message, all_fields)
