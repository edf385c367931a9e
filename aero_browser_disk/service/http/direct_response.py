"""Responses that bypass ASGI: the server takes encoded headers, and borrows the body's bytes.

ASGI has two messages for each response, headers that every server checks and joins again, and
bodies that the server may keep for as long as it likes. For a range of 64 KiB that is more work
than everything else (measured).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from starlette.types import ASGIApp

# Header fields, names in lower case.
EncodedFields = Sequence[tuple[bytes, bytes]]

# The extension's name in an ASGI scope. Its value is a `DirectResponse`.
EXTENSION: Final = "aero_disk.direct_response"
# For malformed requests: status, code and message of the error to send.
REFUSAL: Final = "aero_disk.refusal"


@dataclass(frozen=True, slots=True)
class HeaderBlock:
    """Header fields, as ASGI takes them and as they go over the wire."""

    fields: EncodedFields
    lines: bytes

    @classmethod
    def of(cls, fields: EncodedFields) -> HeaderBlock:
        """The block of these fields; raises `ValueError` for a value that would end its line."""
        for name, value in fields:
            if b"\r" in value or b"\n" in value or b"\0" in value:
                raise ValueError(f"{name!r} cannot have the value {value!r}")
        return cls(fields, b"".join(b"%s: %s\r\n" % field for field in fields))


class Repeat(Protocol):
    """Responds to requests that differ from an earlier one only in range and X-Request-Id."""

    def __call__(self, byte_range: bytes, request_id: bytes, response: RepeatedResponse) -> None:
        """Responds to one: `byte_range` is its range (`0-511`); the id is empty if it has none."""


class DirectResponse(Protocol):
    """The response to one request, in place of ASGI's messages."""

    def offer(self, repeat: Repeat) -> None:
        """Lets `repeat` respond to the connection's next requests that are like this one."""

    async def writable(self) -> bool:
        """Waits until the client has taken earlier bytes; False if it is gone."""

    def write(
        self, head: tuple[int, Sequence[bytes]] | None, body: bytes | memoryview, *, more: bool
    ) -> int:
        """Writes the status with header lines (with the first chunk of the body), and the chunk.

        Returns how much of `body` it took: what the socket accepts, and little more. Write the rest
        again once it is `writable`. The caller sends Content-Length; the response is complete when
        a chunk without `more` was taken whole.
        """


class RepeatedResponse(Protocol):
    """The response to a request that is like an earlier one."""

    def begin(self, status: int, lines: bytes, body: bytes | memoryview) -> int:
        """Writes the status, the header lines with the empty one that ends them, and the body.

        Returns how much of `body` it took, as `DirectResponse.write` does; usually all of it.
        """

    def go_on(self, application: ASGIApp, *, is_begun: bool) -> None:
        """Sends the unwritten rest later; the connection's next requests wait.

        The scope is that of the first request, with a new `DirectResponse`.
        """
