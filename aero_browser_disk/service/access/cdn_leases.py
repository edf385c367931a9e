"""`POST /v1/images/{id}/cdn`: lets a viewer read an image from the CDN, for a while."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict
from starlette.responses import Response
from starlette.routing import Route

from ..http.api import OF_BODY, OF_IMAGE, Document, Endpoint, moment, read_body, respond
from ..http.exchange import Exchange
from ..http.response import PRIVATE, HttpError
from ..http.routing import Resource
from ..stores.image_store import ImageStore
from .cloudfront import CloudFront


class CdnRequest(BaseModel):
    """The request body."""

    model_config = ConfigDict(strict=True)

    kind: Literal["cookies", "url"] = "cookies"


class CdnLease(Document):
    """Where the CDN has the image; with `cookies` the response sets them."""

    url: str
    kind: Literal["cookies", "url", "public"]
    expires_at: datetime | None


class CdnLeases:
    """Grants cookies, or with `{"kind": "url"}` a signed URL, for `lifetime_s` seconds.

    Cookies are the default: the URL stays the same when they are renewed, so caches stay valid, and
    scripts cannot read them. `domain` is the parent domain of CDN and service.
    """

    def __init__(
        self, store: ImageStore, cloudfront: CloudFront, lifetime_s: int, domain: str | None
    ) -> None:
        self._store = store
        self._cloudfront = cloudfront
        self._lifetime_s = lifetime_s
        self._domain = domain
        refusals = OF_IMAGE | OF_BODY | {409: "The image has no folder of its own."}
        endpoint = Endpoint(self.lease, "leaseFromCdn", CdnLease, refusals, CdnRequest)
        self.routes = [Route("/v1/images/{id}/cdn", Resource(POST=endpoint))]

    async def lease(self, exchange: Exchange) -> Response:
        """Where the CDN has the image; with cookies, or signed, unless it is public."""
        asked = await read_body(exchange, CdnRequest, CdnRequest())
        image_id = exchange.request.parameters["id"]
        async with self._store.open(image_id, may_read=exchange.may("lease")) as opened:
            entry = opened.image.entry
        url = self._cloudfront.address.of(entry.file)
        folder, path = None, urlsplit(url).path
        if entry.layout == "prepared":
            folder, path = str(entry.folder), path.rpartition("/")[0]
            if folder == "." and not entry.public:
                # The lease would be valid for every image of the bucket.
                message = "A private prepared image needs a folder of its own."
                raise HttpError(409, "no_folder", message)
        if entry.public:
            return respond(CdnLease(url=url, kind="public", expires_at=None), PRIVATE)
        expires_at = int(time.time()) + self._lifetime_s
        cookies = {}
        if asked.kind == "url":
            url = self._cloudfront.signed_url(entry.file, expires_at, folder)
        else:
            cookies = self._cloudfront.cookies(entry.file, expires_at, folder)
        lease = CdnLease(url=url, kind=asked.kind, expires_at=moment(expires_at))
        response = respond(lease, PRIVATE)
        for name, value in cookies.items():
            # Sent back to that key only, over TLS, unseen by scripts.
            response.set_cookie(
                name,
                value,
                self._lifetime_s,
                path=path,
                domain=self._domain,
                secure=True,
                httponly=True,
                samesite="none",
            )
        return response
