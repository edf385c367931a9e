"""`POST /v1/images/{id}/lease`: a short-lived signed URL for whoever may read the image."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import Field
from pydantic.json_schema import SkipJsonSchema
from starlette.responses import Response
from starlette.routing import Route

from ..http.api import OF_IMAGE, Document, Endpoint, absent, moment, respond
from ..http.exchange import Exchange
from ..http.response import PRIVATE, HttpError
from ..http.routing import Resource
from ..stores.image_store import ImageStore
from ..stores.manifest import ManifestEntry
from .authorization import short_digest
from .signed_urls import SignedUrls


class Lease(Document):
    """A signed URL, or the plain one of a public image."""

    url: Annotated[str, Field(description="Relative to this address, or absolute.")]
    manifest_url: Annotated[
        str | SkipJsonSchema[None], Field(description="Of a prepared image, as url.")
    ] = absent()
    expires_at: datetime | None
    expires_in_s: int | None


class Leases:
    """Signs URLs that are valid for `lifetime_s` seconds; `address` is what they begin with."""

    def __init__(self, store: ImageStore, urls: SignedUrls, lifetime_s: int, address: str) -> None:
        self._store = store
        self._urls = urls
        self._lifetime_s = lifetime_s
        self._address = address
        endpoint = Endpoint(self.lease, "leaseImage", Lease, OF_IMAGE)
        self.routes = [Route("/v1/images/{id}/lease", Resource(POST=endpoint))]

    async def lease(self, exchange: Exchange) -> Response:
        """A signed URL of the image's bytes, for a while; a public image's never expires."""
        image_id = exchange.request.parameters["id"]
        async with self._store.open(image_id, may_read=exchange.may("bytes")) as opened:
            entry = opened.image.entry
        allowed = exchange.auth.allows("lease", entry)
        manifest = f"/disks/{image_id}/manifest.json" if entry.layout == "prepared" else None
        path = f"/disks/{image_id}/bytes"
        return self.respond(exchange, entry, path, manifest, allowed=allowed)

    def respond(
        self,
        exchange: Exchange,
        entry: ManifestEntry,
        path: str,
        manifest: str | None = None,
        *,
        allowed: bool,
    ) -> Response:
        """A response with a lease of what is served at `path`, which the client may read.

        `manifest` is the path of its manifest, for which the lease is valid too.

        Raises the 403 if a private image's credentials do not allow it.
        """
        url = f"{self._address}{path}"
        manifest_url = None if manifest is None else f"{self._address}{manifest}"
        if entry.public:
            free = Lease(url=url, manifest_url=manifest_url, expires_at=None, expires_in_s=None)
            return respond(free, PRIVATE)
        if not allowed:
            # Otherwise a lease could renew itself forever.
            raise HttpError(403, "no_lease", "A signed URL gets no lease: send other credentials.")
        assert exchange.auth.grant is not None
        bearer = short_digest(exchange.auth.grant.client)
        # Somebody else may have the id before the lease ends.
        owner = short_digest(entry.owner or "")
        query, expires_at = self._urls.sign(entry.id, self._lifetime_s, "read", bearer, owner)
        lease = Lease(
            url=f"{url}?{query}",
            manifest_url=None if manifest_url is None else f"{manifest_url}?{query}",
            expires_at=moment(expires_at),
            expires_in_s=self._lifetime_s,
        )
        return respond(lease, PRIVATE)
