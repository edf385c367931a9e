"""Whole responses, and the errors that become one or end one."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final

from .direct_response import EncodedFields

Fields = tuple[tuple[str, str], ...]

# Of every response to a request with credentials, so that no cache hands it to another client.
PRIVATE: Final = ("Cache-Control", "private, no-store, no-transform")


def encoded(fields: Fields) -> EncodedFields:
    """The fields as ASGI takes them."""
    return tuple(
        (name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in fields
    )


ENCODED_PRIVATE: Final = encoded((PRIVATE,))[0]


@dataclass(frozen=True, slots=True)
class Response:
    """A whole response in memory."""

    status: int
    fields: Fields = ()
    body: bytes = b""


class HttpError(Exception):
    """Ends a request with a status and `{"error": {"code", "message", ...details}}`."""

    def __init__(
        self, status: int, code: str, message: str, fields: Fields = (), **details: object
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.fields = fields
        self.details = details

    @property
    def response(self) -> Response:
        """The response that says so; nothing may store it."""
        document = {"error": {"code": self.code, "message": self.message, **self.details}}
        return Response(
            self.status,
            (
                ("Content-Type", "application/json"),
                ("Cache-Control", "no-store"),
                *self.fields,
            ),
            json.dumps(document).encode(),
        )


class CutShortError(Exception):
    """The rest of a body cannot be sent: the connection must end before its length is reached."""
