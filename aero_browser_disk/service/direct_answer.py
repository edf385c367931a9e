"""Answers past ASGI: a server that offers it takes headers as they stand, and bytes on loan.

ASGI has two messages for each answer, headers apart that every server checks and puts together
again, and bodies that are the server's for as long as it likes. For a range of 64 KiB that is more
work than all the rest (measured).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

# As ASGI takes them: names in lower case.
EncodedFields = Sequence[tuple[bytes, bytes]]

# The extension's name in an ASGI scope. Its value is a `DirectAnswer`.
EXTENSION: Final = "aero_disk.direct_answer"


@dataclass(frozen=True, slots=True)
class HeaderBlock:
    """Fields as ASGI takes them, and the same as they go over the wire."""

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
    """Answers requests that are like one before in all but their range and their X-Request-Id."""

    def __call__(self, span: bytes, request_id: bytes, answer: RepeatedAnswer) -> bool:
        """Begins `answer` without waiting for anything, or does nothing.

        `span` is the first and last position of the range (`0-511`), and the id empty without one.
        When it says False the request comes as any other does.
        """


class DirectAnswer(Protocol):
    """The answer to one request, instead of all messages of ASGI."""

    def offer(self, repeat: Repeat) -> None:
        """Has the connection's next requests that are like this one answered by `repeat`."""

    async def writable(self) -> bool:
        """Waits until the client took what was written before; False when it is gone."""

    def write(
        self, head: tuple[int, Sequence[bytes]] | None, body: bytes | memoryview, *, more: bool
    ) -> int:
        """Writes the status with header lines (with the first piece of the body), and the piece.

        Returns how much of `body` it took: what the socket does, and hardly more. The rest is to be
        written again once it is `writable`. Content-Length is the caller's: the answer is complete
        when all of a piece without `more` was taken.
        """


class RepeatedAnswer(Protocol):
    """The answer to a request that is like one before."""

    def begin(self, status: int, lines: bytes, body: bytes | memoryview) -> int:
        """Writes the status, the header lines with the empty one that ends them, and the body.

        Returns how much of `body` it took, as `DirectAnswer.write` does; mostly that is all.
        """

    def finish(self, write_rest: Callable[[DirectAnswer], Awaitable[None]]) -> None:
        """Has the rest written in a while. The connection's next requests wait until then."""
