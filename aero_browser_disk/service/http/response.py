"""The errors that become a response or end one, and header fields as ASGI takes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from starlette.datastructures import Headers
from starlette.responses import JSONResponse

from .direct_response import EncodedFields

Fields = Mapping[str, str]

# Of every response to a request with credentials, so that no cache hands it to another client.
PRIVATE: Final = {"Cache-Control": "private, no-store, no-transform"}


def encoded(fields: Fields) -> EncodedFields:
    """The fields as ASGI takes them."""
    return tuple(Headers(fields).raw)


ENCODED_PRIVATE: Final = encoded(PRIVATE)[0]


class HttpError(Exception):
    """Ends a request with a status and `{"error": {"code", "message", ...details}}`."""

    def __init__(
        self, status: int, code: str, message: str, fields: Fields | None = None, **details: object
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.fields = fields or {}
        self.details = details

    @property
    def response(self) -> JSONResponse:
        """The response to send. No cache may store it."""
        error = {"code": self.code, "message": self.message, **self.details}
        fields = {"Cache-Control": "no-store", **self.fields}
        return JSONResponse({"error": error}, self.status, fields)


class CutShortError(Exception):
    """The rest of a body cannot be sent: the connection must end before its length is reached."""
