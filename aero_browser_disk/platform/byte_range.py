"""A run of bytes in a file or an image."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ByteRange:
    """The bytes from `start` up to, not including, `stop`; at least one.

    Raises `ValueError` when that holds no byte or starts before the first.
    """

    start: int
    stop: int

    def __post_init__(self) -> None:
        if not 0 <= self.start < self.stop:
            raise ValueError(f"not a range of bytes: {self.start} up to {self.stop}")

    @property
    def length(self) -> int:
        """Bytes in the range."""
        return self.stop - self.start

    @property
    def header(self) -> str:
        """The value of a Range header that asks for it (RFC 9110 §14.2)."""
        return f"bytes={self.start}-{self.stop - 1}"
