"""The JSON API: models of what is sent, handlers with their description, bodies in and out."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict, Field, RootModel, ValidationError

from aero_browser_disk.remote.byte_ranges import EntityTag

from .exchange import Exchange, Handler
from .preconditions import responded_to_conditions
from .response import Fields, HttpError, Response

_MAX_BODY_BYTES: Final = 64 * 1024
_MAX_REASONS: Final = 5
_JSON: Final = ("Content-Type", "application/json")

IMAGE_ID: Final = r"^[A-Za-z0-9._-]{1,128}$"

B = TypeVar("B", bound=BaseModel)


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
    """A handler, and what the OpenAPI document says of it; the document is made of these.

    `response` and `body` are None where there is none. `refusals` by status, those left out that
    every operation may give. `is_conditional`: it takes If-None-Match.
    """

    handler: Handler
    name: str
    summary: str
    response: type[BaseModel] | None
    refusals: Mapping[int, str] = field(default_factory=dict)
    body: type[BaseModel] | None = None
    status: int = 200
    is_conditional: bool = False


async def read_body(exchange: Exchange, kind: type[B], default: B | None = None) -> B:
    """The body of the request, `default` when it is empty.

    Raises the 400, and what `Request.body` does.
    """
    body = await exchange.request.body(_MAX_BODY_BYTES)
    if default is not None and not body.strip():
        return default
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        reasons = [
            f"{'.'.join(map(str, reason['loc']))}: {reason['msg']}".lstrip(": ")
            for reason in error.errors(include_url=False, include_input=False)
        ]
        raise HttpError(400, "wrong_body", "; ".join(reasons[:_MAX_REASONS])) from None


async def reply(exchange: Exchange, document: BaseModel, fields: Fields, status: int = 200) -> None:
    """Responds with the document."""
    body = document.model_dump_json().encode()
    await exchange.responder.reply(Response(status, (_JSON, *fields), body))


async def reply_revalidated(exchange: Exchange, document: BaseModel) -> None:
    """Responds with the document, or with 304 if the client has it."""
    body = document.model_dump_json().encode()
    etag = EntityTag(hashlib.sha256(body).hexdigest()[:32])
    fields = (("ETag", str(etag)), ("Cache-Control", "no-cache"))
    if not await responded_to_conditions(exchange, fields, etag):
        await exchange.responder.reply(Response(200, (_JSON, *fields), body))


def moment(seconds: float) -> datetime:
    """The time so many seconds after the epoch, as documents have it: to the second, in UTC."""
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
