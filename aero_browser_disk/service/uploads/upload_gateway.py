"""`/v1/uploads`: clients send the bytes straight to the bucket, to presigned URLs from here."""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

from starlette.responses import Response
from starlette.routing import Route

from ..cleaning import Cleaning
from ..http.access_log import AccessLog
from ..http.api import OF_BODY, Endpoint, moment, read_body, respond
from ..http.exchange import Exchange
from ..http.response import PRIVATE, HttpError
from ..http.routing import Resource
from ..outgoing import BlockingCalls
from .upload_documents import (
    PartAddress,
    PartAddresses,
    UploadChange,
    UploadDocument,
    UploadList,
    WantedParts,
    describe_upload,
    new_upload_of_at_most,
)
from .upload_records import OtherOwnerError, QuotaExceededError, Upload
from .uploaded_images import UploadedImages
from .uploads import IncompleteUploadError, UploadEndedError, UploadRequest, Uploads

_MAX_LISTED: Final = 1000
_MAX_NUMBERS: Final = 100
# A call to the bucket has shorter time-outs; some requests take several.
_TIMEOUT_S: Final = 60.0
_THREADS: Final = 16
_UPLOAD_ID: Final = re.compile(r"[0-9a-f]{32}")

T = TypeVar("T")

_REFUSED: Final = {
    401: "The credentials are missing or invalid.",
    403: "These credentials do not allow uploads, or the owner's quota is used up.",
}
_OF_ONE: Final = {**_REFUSED, 404: "No such upload of this client's."}
_ENDED: Final = {409: "The upload has ended, parts are missing, or the id is taken."}


class UploadGateway:
    """Serves `/v1/uploads` to those whose credentials let them upload.

    `images` caches what this changes; `is_reserved` tells which ids the manifest has.
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
        self._calls = BlockingCalls("the bucket or database of uploads", _THREADS, _TIMEOUT_S)
        self._cleaning = Cleaning(uploads.clean_up, "uploads", "/v1/uploads", log)
        self._max_image_bytes = max_image_bytes
        self._url_lifetime_s = url_lifetime_s
        self._new_upload = new_upload_of_at_most(max_image_bytes)
        self.routes = self._routes()

    def _routes(self) -> Sequence[Route]:
        taken = {409: "The image belongs to somebody else."}
        beginning = _REFUSED | OF_BODY | taken
        ended, changing = _OF_ONE | _ENDED, _OF_ONE | _ENDED | OF_BODY
        document = UploadDocument
        list_ = Endpoint(self.list, "listUploads", UploadList, _REFUSED)
        create = Endpoint(
            self.create, "beginUpload", document, beginning, self._new_upload, status=201
        )
        show = Endpoint(self.show, "showUpload", document, ended)
        change = Endpoint(self.change, "changeUpload", document, changing, UploadChange)
        remove = Endpoint(self.remove, "removeUpload", None, ended, status=204)
        address = Endpoint(self.part_urls, "getPartAddresses", PartAddresses, changing, WantedParts)
        complete = Endpoint(self.complete, "completeUpload", document, ended)
        one = "/v1/uploads/{upload}"
        return [
            Route("/v1/uploads", Resource(GET=list_, POST=create)),
            Route(one, Resource(GET=show, PATCH=change, DELETE=remove)),
            Route(f"{one}/parts", Resource(POST=address)),
            Route(f"{one}/complete", Resource(POST=complete)),
        ]

    async def create(self, exchange: Exchange) -> Response:
        """Begins an upload."""
        owner = _owner(exchange)
        self._cleaning.begin()
        asked = await read_body(exchange, self._new_upload)
        if asked.size_bytes > self._max_image_bytes:
            raise HttpError(
                400,
                "image_too_large",
                f"An image is limited to {self._max_image_bytes} bytes.",
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
        location = {"Location": f"uploads/{upload.upload_id}"}
        return respond(describe_upload(upload), PRIVATE | location, status=201)

    async def list(self, exchange: Exchange) -> Response:
        """The client's own uploads, newest first."""
        owner = _owner(exchange)
        uploads = await self._do(lambda: self._uploads.of_owner(owner, _MAX_LISTED))
        listed = UploadList(uploads=[describe_upload(upload) for upload in uploads])
        return respond(listed, PRIVATE)

    async def show(self, exchange: Exchange) -> Response:
        """One upload; while it is under way, with the uploaded parts."""
        upload = await self._find(exchange)
        upload, parts = await self._do(lambda: self._uploads.present(upload))
        shown = describe_upload(upload, parts if upload.state == "uploading" else None)
        return respond(shown, PRIVATE)

    async def part_urls(self, exchange: Exchange) -> Response:
        """URLs to PUT parts to."""
        upload = await self._find(exchange)
        wanted = await read_body(exchange, WantedParts)
        if max(wanted.numbers) > upload.part_count:
            raise HttpError(
                400, "no_such_part", f"The upload has parts 1 to {upload.part_count} only."
            )
        expires_at = moment(time.time() + self._url_lifetime_s)
        urls = await self._do(
            lambda: self._uploads.part_urls(upload, wanted.numbers, self._url_lifetime_s)
        )
        parts = [
            PartAddress(number=number, url=url, size_bytes=upload.part_length(number))
            for number, url in urls.items()
        ]
        return respond(PartAddresses(method="PUT", parts=parts, expires_at=expires_at), PRIVATE)

    async def complete(self, exchange: Exchange) -> Response:
        """Makes the upload an image."""
        found = await self._find(exchange)
        if found.state == "uploading":
            # The manifest may name the id by now.
            await self._check_id(found.image_id)
        upload = await self._do(lambda: self._uploads.complete(found))
        self._images.forget(upload)
        return respond(describe_upload(upload), PRIVATE)

    async def change(self, exchange: Exchange) -> Response:
        """Makes the image public or private."""
        found = await self._find(exchange)
        asked = await read_body(exchange, UploadChange)
        upload = await self._do(lambda: self._uploads.set_public(found, public=asked.public))
        self._images.forget(upload)
        return respond(describe_upload(upload), PRIVATE)

    async def remove(self, exchange: Exchange) -> Response:
        """Aborts an upload under way, deletes a ready image."""
        upload = await self._find(exchange)
        try:
            await self._do(lambda: self._uploads.remove(upload))
        finally:
            self._images.forget(upload)
        return Response(status_code=204, headers=PRIVATE)

    async def _check_id(self, image_id: str) -> None:
        """Raises the 409 for an id that the manifest names."""
        if await self._is_reserved(image_id):
            raise _not_yours()

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
        """Calls it in a thread, and maps its refusals to responses."""
        try:
            return await self._calls.run(call)
        except OtherOwnerError:
            raise _not_yours() from None
        except QuotaExceededError:
            raise HttpError(
                403, "quota_exceeded", "Your quota is used up. Delete some of your images first."
            ) from None
        except UploadEndedError:
            raise HttpError(409, "upload_ended", "The upload has ended.") from None
        except IncompleteUploadError as error:
            raise HttpError(
                409,
                "incomplete",
                "Some parts are missing or have another length; numbers are the first of them.",
                numbers=error.numbers[:_MAX_NUMBERS],
            ) from None


def _not_yours() -> HttpError:
    return HttpError(409, "not_yours", "The image belongs to somebody else.")


def _owner(exchange: Exchange) -> str:
    """Who uploads; raises the 401 or 403."""
    auth = exchange.auth
    if auth.grant is None:
        refusal = auth.refusal
        raise HttpError(
            401,
            "no_credentials" if refusal is None else refusal.code,
            "Send credentials to upload." if refusal is None else str(refusal),
            {"WWW-Authenticate": 'Bearer realm="uploads"'},
        )
    if not auth.grant.may_upload:
        raise HttpError(
            403,
            "no_uploads",
            "These credentials do not allow uploads: a token needs the scope, and a subject.",
        )
    return auth.grant.client
