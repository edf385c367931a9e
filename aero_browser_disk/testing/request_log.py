"""The requests that a test server received, and how each response went."""

from __future__ import annotations

import re
import threading
import time
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


@dataclass(frozen=True, slots=True)
class Request:
    """A request and what became of it, as far as it has come.

    `image` is the name of the image it asks for, None if there is none of that name. `headers` by
    lower-case name. `range` is the `Range` header as sent. `status` is None until the response
    starts. `bytes_sent` counts the body's bytes that were handed to the operating system, chunk
    frames left out. `aborted`: the connection ended before all of the response was handed over.
    Times are `time.monotonic()` of the server's process; `finished_s` is None while it lasts.
    """

    number: int
    method: str
    path: str
    query: str
    image: str | None
    headers: Mapping[str, str]
    range: str | None
    status: int | None
    bytes_sent: int
    aborted: bool
    started_s: float
    finished_s: float | None

    @property
    def byte_range(self) -> tuple[int, int] | None:
        """The half-open range asked for, when `range` is of the form `bytes=a-b`."""
        match = re.fullmatch(r"bytes=(\d+)-(\d+)", self.range or "")
        return (int(match[1]), int(match[2]) + 1) if match else None

    @property
    def is_finished(self) -> bool:
        """Whether nothing more will be sent."""
        return self.finished_s is not None

    def to_json(self) -> dict[str, Any]:
        """All fields by name."""
        return asdict(replace(self, headers=dict(self.headers)))


class RequestLog:
    """Requests in order of arrival. Any thread may look while the server's thread writes."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._requests: dict[int, Request] = {}
        self._number = 0
        self._in_flight: set[int] = set()
        self._max_in_flight = 0

    @property
    def requests(self) -> list[Request]:
        """Those since the last `forget()`."""
        with self._changed:
            return list(self._requests.values())

    @property
    def last_number(self) -> int:
        """The number of the newest request; 0 before the first."""
        with self._changed:
            return self._number

    @property
    def in_flight(self) -> int:
        """Requests for images whose response is being sent."""
        with self._changed:
            return len(self._in_flight)

    @property
    def max_in_flight(self) -> int:
        """The highest number in flight at once since the last `forget()`."""
        with self._changed:
            return self._max_in_flight

    def forget(self) -> None:
        """Starts over; requests under way are no longer recorded, but count as in flight."""
        with self._changed:
            self._requests.clear()
            self._max_in_flight = len(self._in_flight)
            self._changed.notify_all()

    def wait_for(self, predicate: Callable[[], bool], timeout_s: float) -> None:
        """Returns once `predicate()` holds; looks again at every change of any request.

        One that asks for a request that has yet to come (IndexError) does not hold. Raises
        TimeoutError, with the requests so far, after `timeout_s`.
        """

        def holds() -> bool:
            try:
                return predicate()
            except IndexError:
                return False

        with self._changed:
            if not self._changed.wait_for(holds, timeout_s):
                seen = "".join(f"\n  {request}" for request in self._requests.values())
                raise TimeoutError(f"not so within {timeout_s} s; requests:{seen or ' none'}")

    # ── for the server ──

    def arrived(
        self, method: str, path: str, query: str, headers: Mapping[str, str], image: str | None
    ) -> int:
        """Records a request and returns its number."""
        with self._changed:
            self._number += 1
            self._requests[self._number] = Request(
                number=self._number,
                method=method,
                path=path,
                query=query,
                image=image,
                headers=headers,
                range=headers.get("range"),
                status=None,
                bytes_sent=0,
                aborted=False,
                started_s=time.monotonic(),
                finished_s=None,
            )
            if image is not None:
                self._in_flight.add(self._number)
                self._max_in_flight = max(self._max_in_flight, len(self._in_flight))
            self._changed.notify_all()
            return self._number

    def responding(self, number: int, status: int) -> None:
        """The response's head goes out now."""
        self._update(number, status=status)

    def sent(self, number: int, bytes_sent: int) -> None:
        """So much of the body has gone out."""
        self._update(number, bytes_sent=bytes_sent)

    def complete(self, number: int, bytes_sent: int) -> None:
        """The last bytes go out now."""
        with self._changed:
            self._in_flight.discard(number)
            self._update(number, bytes_sent=bytes_sent, finished_s=time.monotonic())

    def aborted(self, number: int) -> None:
        """The connection ended within the response."""
        with self._changed:
            self._in_flight.discard(number)
            self._update(number, aborted=True, finished_s=time.monotonic())

    def _update(self, number: int, **changes: Any) -> None:
        with self._changed:
            request = self._requests.get(number)
            if request is not None:
                self._requests[number] = replace(request, **changes)
            self._changed.notify_all()
