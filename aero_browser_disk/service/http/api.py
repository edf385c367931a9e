"""The JSON API: models of what is sent, described handlers, bodies in and out."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict, Field, RootModel, ValidationError
from starlette.responses import Response

from aero_browser_disk.remote.byte_ranges import EntityTag

from .exchange import Exchange
from .preconditions import not_modified
from .response import Fields, HttpError

MAX_BODY_BYTES: Final = 64 * 1024
_MAX_REASONS: Final = 5

IMAGE_ID: Final = r"^[A-Za-z0-9._-]{1,128}$"
# No control characters: PostgreSQL stores no NUL, and nobody sees the others. No line separators or
# directional formatting characters (UAX #9 §2) either: they make a page show another name.
PLAIN_TEXT: Final = r"^[^\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]*$"

B = TypeVar("B", bound=BaseModel)


def as_whole(value: object) -> object:
    """1.0 as 1: JSON knows no difference. For a `BeforeValidator`."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


class RequestBody(BaseModel):
    """A request body; unknown fields are errors."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Document(BaseModel):
    """A response body."""

    model_config = ConfigDict(frozen=True)


class AnyObject(RootModel[dict[str, Any]]):
    """An object that is described elsewhere."""


class Error(Document):
    """Why a request was refused; more fields for some codes."""

    code: str
    message: str


class ErrorDocument(Document):
    """The body of every refusal."""

    error: Error


def _without_default(schema: dict[str, Any]) -> None:
    schema.pop("default", None)


def absent(**options: Any) -> Any:
    """A field that is left out when it is None."""
    return Field(
        default=None,
        exclude_if=lambda value: value is None,
        json_schema_extra=_without_default,
        **options,
    )


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A handler, and what the OpenAPI document says of it; its summary is the handler's docstring.

    A handler that sends its response itself returns None. `response` and `body` are None where
    there is none. `refusals`: by status, without those that every operation may give.
    `is_conditional`: it takes If-None-Match; `needs_condition`: that or If-Match. `query`: schemas
    of its parameters there.
    `takes_bytes`, `sends_bytes`: bodies that are no JSON.
    """

    handler: Callable[[Exchange], Awaitable[Response | None]]
    name: str
    response: type[BaseModel] | None
    refusals: Mapping[int, str] = field(default_factory=dict)
    body: type[BaseModel] | None = None
    status: int = 200
    is_conditional: bool = False
    needs_condition: bool = False
    query: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    takes_bytes: bool = False
    sends_bytes: bool = False

    @property
    def summary(self) -> str:
        """The first line of the handler's docstring."""
        return (self.handler.__doc__ or "").partition("\n")[0]

    async def __call__(self, exchange: Exchange) -> None:
        """Responds to the exchange."""
        response = await self.handler(exchange)
        if response is not None:
            await exchange.responder.reply(response)


async def read_body(
    exchange: Exchange, kind: type[B], default: B | None = None, limit: int = MAX_BODY_BYTES
) -> B:
    """The body of the request, at most `limit` bytes; `default` when it is empty.

    Raises the 400, and what `Request.body` does.
    """
    body = await exchange.request.body(limit)
    if default is not None and not body.strip():
        return default
    return parsed(body, kind)


def parsed(body: bytes, kind: type[B]) -> B:
    """The document in a body; raises the 400."""
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        raise HttpError(400, "wrong_body", reasons_of(error)) from None


def reasons_of(error: ValidationError) -> str:
    """Where a document is invalid and why, without the values."""
    reasons = [
        f"{'.'.join(map(str, reason['loc']))}: {reason['msg']}".lstrip(": ")
        for reason in error.errors(include_url=False, include_input=False)
    ]
    return "; ".join(reasons[:_MAX_REASONS])


def respond(document: BaseModel, fields: Fields, status: int = 200) -> Response:
    """A response with the document."""
    return Response(document.model_dump_json(), status, fields, "application/json")


def respond_revalidated(exchange: Exchange, document: BaseModel) -> Response:
    """A response with the document, or a 304 if the client has it; raises the 412."""
    etag = EntityTag(hashlib.sha256(document.model_dump_json().encode()).hexdigest()[:32])
    fields = {"ETag": str(etag), "Cache-Control": "no-cache"}
    return not_modified(exchange, fields, etag) or respond(document, fields)


def moment(seconds: float) -> datetime:
    """The time `seconds` after the epoch, in UTC, rounded down to a second."""
    return datetime.fromtimestamp(int(seconds), UTC)


# The refusals that operations have in common.
OF_CACHED: Final = {304: "The client's copy is current.", 412: "A precondition failed."}
OF_IMAGE: Final = {
    401: "The image is private, and the credentials are missing or invalid.",
    403: "The image is private, and not for these credentials.",
    404: "There is no such image.",
}
OF_BODY: Final = {
    400: "The body is invalid, or exceeds a limit.",
    408: "The body took too long.",
    413: "The body is too large.",
}
