"""What the access log and the metrics say of one request."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from ..stores.image_store import VersionChangedError
from .response import CutShortError


@dataclass(slots=True)
class LogRecord:
    """Filled in while the response is sent.

    `started_at` is of the monotonic clock. `status` is None until the response has begun.
    `range_result`: what became of its Range, if it asked for bytes. `cut`: why its body ended
    early.
    """

    started_at: float = field(default_factory=time.monotonic)
    status: int | None = None
    body_bytes: int = 0
    range_result: str | None = None
    cut: str | None = None

    @contextmanager
    def cutting_short(self) -> Iterator[None]:
        """Turns read errors into `CutShortError` once the status was sent."""
        try:
            yield
        except VersionChangedError:
            if self.status is None:
                raise
            raise CutShortError("the image changed") from None
        except OSError as error:
            if self.status is None:
                raise
            raise CutShortError(f"reading failed: {error.strerror}") from error
