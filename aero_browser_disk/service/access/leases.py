"""`POST /v1/images/{id}/lease`: who may read an image gets a short signed address of its bytes."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from ..http.exchange import Exchange
from ..http.response import HttpError, Response
from ..stores.image_store import ImageStore
from .authorization import short_digest
from .signed_urls import SignedUrls


class Leases:
    """Gives addresses that are valid for `lifetime_s` seconds.

    They start with `public_url` if there is one, else with the base path: relative to the service.
    """

    def __init__(self, store: ImageStore, urls: SignedUrls, lifetime_s: int, address: str) -> None:
        self._store = store
        self._urls = urls
        self._lifetime_s = lifetime_s
        self._address = address

    async def respond(self, exchange: Exchange) -> None:
        """Answers with `url`, `expires_at` and `expires_in_s`, the last two null when public."""
        image_id = exchange.request.parameters["id"]
        grant = exchange.auth.grant
        async with self._store.open(image_id, may_read=exchange.may("bytes")) as opened:
            entry = opened.image.entry
        if not entry.public and not exchange.auth.allows("lease", entry):
            # Or a lease would renew itself for ever.
            raise HttpError(403, "no_lease", "A signed URL gets no lease: show who you are.")
        url = f"{self._address}/disks/{image_id}/bytes"
        lease: dict[str, object] = {"url": url, "expires_at": None, "expires_in_s": None}
        if not entry.public:
            assert grant is not None
            bearer = short_digest(grant.client)
            # Somebody else may have the id before the lease ends.
            owner = short_digest(entry.owner or "")
            query, expires_at = self._urls.sign(image_id, self._lifetime_s, "read", bearer, owner)
            lease = {
                "url": f"{url}?{query}",
                "expires_at": datetime.fromtimestamp(expires_at, UTC).strftime(
                    "%Y-%m-%dT%H:%M:%SZ"
                ),
                "expires_in_s": self._lifetime_s,
            }
        fields = (
            ("Content-Type", "application/json"),
            ("Cache-Control", "private, no-store, no-transform"),
        )
        await exchange.responder.reply(Response(200, fields, json.dumps(lease).encode()))
