"""`/v1/uploads`: uploads whose bytes go straight to the bucket, to addresses from here."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from ..http.access_log import AccessLog
from ..http.exchange import Exchange
from ..http.response import PRIVATE, HttpError, Response
from ..http.routing import Route
from ..outgoing import BlockingCalls
from ..stores.manifest import is_image_id
from .upload_records import OtherOwnerError, QuotaExceededError, Upload, parse_version_id
from .uploaded_images import UploadedImages
from .uploads import IncompleteUploadError, UploadEndedError, UploadRequest, Uploads

_LONGEST_BODY: Final = 64 * 1024
_MOST_LISTED: Final = 1000
_MOST_URLS: Final = 1000
_MOST_NAMED: Final = 100
_CLEANING_PAUSE_S: Final = 3600.0
# A call to the bucket has shorter time-outs; some requests take several.
_TIMEOUT_S: Final = 60.0
_THREADS: Final = 16
_CLEANING_TIMEOUT_S: Final = 3600.0
_UPLOAD_ID: Final = re.compile(r"[0-9a-f]{32}")
# Room for `.` and the upload's own id, which name one version.
_LONGEST_ID: Final = 95
_LARGEST_NUMBER: Final = (1 << 63) - 1

T = TypeVar("T")
Asked = TypeVar("Asked", bound=BaseModel)


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


def _image_id(value: str) -> str:
    if not is_image_id(value) or len(value) > _LONGEST_ID:
        raise ValueError(f"must be 1 to {_LONGEST_ID} of A-Z a-z 0-9 . _ - and neither . nor ..")
    if parse_version_id(value) is not None:
        raise ValueError("must not end in a dot and 32 hexadecimal digits: that names a version")
    return value


def _whole(value: object) -> object:
    """1.0 as 1: JSON knows no difference."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


_Whole = Annotated[int, BeforeValidator(_whole), Field(ge=1, le=_LARGEST_NUMBER)]
# No control characters: PostgreSQL stores no NUL, and nobody sees the others. No separators of
# lines and no directional formatting characters (UAX #9 §2) either: with them a page shows another
# name than is there.
_TEXT: Final = r"^[^\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]*$"


class _NewUpload(_Body):
    id: Annotated[str, AfterValidator(_image_id)]
    size_bytes: _Whole
    public: bool = False
    name: Annotated[str, Field(min_length=1, max_length=200, pattern=_TEXT)] | None = None
    description: Annotated[str, Field(max_length=2000, pattern=_TEXT)] | None = None


class _Change(_Body):
    public: bool


class _WantedParts(_Body):
    numbers: Annotated[list[_Whole], Field(min_length=1, max_length=_MOST_URLS)]


class UploadGateway:
    """Answers below `/v1/uploads`, to those whose credentials let them upload.

    `images` remembers what this changes; `is_reserved` says which ids are not for uploads now.
    """

    def __init__(
        self,
        uploads: Uploads,
        images: UploadedImages,
        is_reserved: Callable[[str], Awaitable[bool]],
        log: AccessLog,
        max_image_bytes: int,
        url_lifetime_s: int,
    ) -> None:
        self._uploads = uploads
        self._images = images
        self._is_reserved = is_reserved
        self._log = log
        self._calls = BlockingCalls("the bucket or database of uploads", _THREADS, _TIMEOUT_S)
        self._cleaning_calls = BlockingCalls("cleaning up uploads", 1, _CLEANING_TIMEOUT_S)
        self._cleaning: asyncio.Task[None] | None = None
        self._cleaned_at = float("-inf")
        self._max_image_bytes = max_image_bytes
        self._url_lifetime_s = url_lifetime_s
        one = "/v1/uploads/{upload}"
        self.routes = [
            Route("/v1/uploads", {"GET": self.list, "POST": self.create}),
            Route(one, {"GET": self.show, "PATCH": self.change, "DELETE": self.remove}),
            Route(f"{one}/parts", {"POST": self.part_urls}),
            Route(f"{one}/complete", {"POST": self.complete}),
        ]

    async def create(self, exchange: Exchange) -> None:
        """Begins an upload: 201 with it."""
        owner = _owner(exchange)
        self._clean_up()
        asked = await _read(exchange, _NewUpload)
        if asked.size_bytes > self._max_image_bytes:
            raise HttpError(
                400,
                "image_too_large",
                f"An image may have {self._max_image_bytes} bytes.",
                max_image_bytes=self._max_image_bytes,
            )
        await self._check_id(asked.id)
        request = UploadRequest(
            asked.id,
            owner,
            asked.size_bytes,
            asked.public,
            asked.name or asked.id,
            asked.description,
        )
        upload = await self._do(lambda: self._uploads.begin(request))
        location = ("Location", f"uploads/{upload.upload_id}")
        await _reply(exchange, 201, _facts(upload), location)

    async def list(self, exchange: Exchange) -> None:
        """The client's own uploads, newest first."""
        owner = _owner(exchange)
        uploads = await self._do(lambda: self._uploads.of_owner(owner, _MOST_LISTED))
        await _reply(exchange, 200, {"uploads": [_facts(upload) for upload in uploads]})

    async def show(self, exchange: Exchange) -> None:
        """One upload; while it is on its way, with the numbers of the parts that are there."""
        upload = await self._find(exchange)
        upload, parts = await self._do(lambda: self._uploads.present(upload))
        facts = _facts(upload)
        if upload.state == "uploading":
            facts["parts"] = [
                {"number": number, "size_bytes": parts[number].length} for number in sorted(parts)
            ]
        await _reply(exchange, 200, facts)

    async def part_urls(self, exchange: Exchange) -> None:
        """Addresses to PUT parts to."""
        upload = await self._find(exchange)
        wanted = await _read(exchange, _WantedParts)
        if max(wanted.numbers) > upload.part_count:
            raise HttpError(
                400, "no_such_part", f"The upload has parts 1 to {upload.part_count} only."
            )
        expires_at = datetime.now(UTC) + timedelta(seconds=self._url_lifetime_s)
        urls = await self._do(
            lambda: self._uploads.part_urls(upload, wanted.numbers, self._url_lifetime_s)
        )
        parts = [
            {"number": number, "url": url, "size_bytes": upload.part_length(number)}
            for number, url in urls.items()
        ]
        await _reply(
            exchange,
            200,
            {
                "method": "PUT",
                "parts": parts,
                "expires_at": expires_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
            },
        )

    async def complete(self, exchange: Exchange) -> None:
        """Makes it ready."""
        found = await self._find(exchange)
        if found.state == "uploading":
            # The operator may have taken the id meanwhile.
            await self._check_id(found.image_id)
        upload = await self._do(lambda: self._uploads.complete(found))
        self._images.forget(upload)
        await _reply(exchange, 200, _facts(upload))

    async def change(self, exchange: Exchange) -> None:
        """Makes it public or private."""
        found = await self._find(exchange)
        asked = await _read(exchange, _Change)
        upload = await self._do(lambda: self._uploads.set_public(found, public=asked.public))
        self._images.forget(upload)
        await _reply(exchange, 200, _facts(upload))

    async def remove(self, exchange: Exchange) -> None:
        """Gives it up, or deletes it."""
        upload = await self._find(exchange)
        try:
            await self._do(lambda: self._uploads.remove(upload))
        finally:
            self._images.forget(upload)
        await exchange.responder.reply(Response(204, (PRIVATE,)))

    async def _check_id(self, image_id: str) -> None:
        """Raises the 409 for an id that the manifest names."""
        if await self._is_reserved(image_id):
            raise _NOT_YOURS

    def _clean_up(self) -> None:
        """Frees what others left behind, now and then, in the background."""
        now = time.monotonic()
        if now - self._cleaned_at < _CLEANING_PAUSE_S:
            return
        self._cleaned_at = now
        self._cleaning = asyncio.create_task(self._clean_up_now())

    async def _clean_up_now(self) -> None:
        try:
            cleaned = await self._cleaning_calls.run(self._uploads.clean_up)
        except OSError as error:
            self._log.event("failed", route="/v1/uploads", error=str(error))
            return
        if cleaned:
            self._log.event("uploads_cleaned", count=cleaned)

    async def _find(self, exchange: Exchange) -> Upload:
        owner = _owner(exchange)
        upload_id = exchange.request.parameters["upload"]
        upload = None
        if _UPLOAD_ID.fullmatch(upload_id):
            upload = await self._do(lambda: self._uploads.find(upload_id, owner))
        if upload is None:
            raise HttpError(404, "no_such_upload", "You have no such upload.")
        return upload

    async def _do(self, call: Callable[[], T]) -> T:
        """Calls it in a thread, its refusals as answers."""
        try:
            return await self._calls.run(call)
        except OtherOwnerError:
            raise _NOT_YOURS from None
        except QuotaExceededError:
            raise HttpError(
                403, "quota_exceeded", "You have as much here as you may. Delete some of it first."
            ) from None
        except UploadEndedError:
            raise HttpError(409, "upload_ended", "The upload is not on its way any more.") from None
        except IncompleteUploadError as error:
            raise HttpError(
                409,
                "incomplete",
                "Some parts are missing or have another length; numbers are the first of them.",
                numbers=error.numbers[:_MOST_NAMED],
            ) from None


_NOT_YOURS: Final = HttpError(409, "not_yours", "The image belongs to somebody else.")


def _owner(exchange: Exchange) -> str:
    """Who uploads; raises the 401 or 403."""
    auth = exchange.auth
    if auth.grant is None:
        refusal = auth.refusal
        raise HttpError(
            401,
            "no_credentials" if refusal is None else refusal.code,
            "Show who you are to upload." if refusal is None else str(refusal),
            (("WWW-Authenticate", 'Bearer realm="uploads"'),),
        )
    if not auth.grant.may_upload:
        raise HttpError(
            403,
            "no_uploads",
            "These credentials do not let you upload: a token needs the scope, and a subject.",
        )
    return auth.grant.client


async def _read(exchange: Exchange, kind: type[Asked]) -> Asked:
    body = await exchange.request.body(_LONGEST_BODY)
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        reasons = [
            f"{'.'.join(map(str, reason['loc']))}: {reason['msg']}".lstrip(": ")
            for reason in error.errors(include_url=False, include_input=False)
        ]
        raise HttpError(400, "wrong_body", "; ".join(reasons[:5])) from None


def _facts(upload: Upload) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "upload_id": upload.upload_id,
        "id": upload.image_id,
        "version_id": upload.version_id,
        "state": upload.state,
        "public": upload.public,
        "name": upload.name,
        "size_bytes": upload.size,
        "part_size_bytes": upload.part_size,
        "part_count": upload.part_count,
    }
    if upload.description is not None:
        facts["description"] = upload.description
    if upload.reason is not None:
        facts["reason"] = upload.reason
    return facts


async def _reply(
    exchange: Exchange, status: int, document: object, *fields: tuple[str, str]
) -> None:
    json_type = ("Content-Type", "application/json")
    await exchange.responder.reply(
        Response(status, (json_type, PRIVATE, *fields), json.dumps(document).encode())
    )
