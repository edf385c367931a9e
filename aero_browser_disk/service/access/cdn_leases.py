"""`POST /v1/images/{id}/cdn`: lets a viewer read an image from the CDN, for a while."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import Final

from ..http.exchange import Exchange
from ..http.response import PRIVATE, HttpError, Response
from ..http.routing import Route
from ..stores.image_store import ImageStore
from .cloudfront import CloudFront

_LONGEST_BODY: Final = 1024


class CdnLeases:
    """Gives cookies, or an address when asked for `{"kind": "url"}`, for `lifetime_s` seconds.

    Cookies are preferred: the address stays the same when they are renewed, so that caches keep
    what they have, and scripts do not see them. `domain` is what CDN and service have in common.
    """

    def __init__(
        self, store: ImageStore, cloudfront: CloudFront, lifetime_s: int, domain: str | None
    ) -> None:
        self._store = store
        self._cloudfront = cloudfront
        self._lifetime_s = lifetime_s
        self._domain = domain
        self.routes = [Route("/v1/images/{id}/cdn", {"POST": self.respond})]

    async def respond(self, exchange: Exchange) -> None:
        """Answers with `url` and `expires_at`, which is null when the image is public."""
        kind = _kind(await exchange.request.body(_LONGEST_BODY))
        image_id = exchange.request.parameters["id"]
        async with self._store.open(image_id, may_read=exchange.may("lease")) as opened:
            entry = opened.image.entry
        lease: dict[str, object] = {
            "url": self._cloudfront.address.of(entry.file),
            "kind": "public" if entry.public else kind,
            "expires_at": None,
        }
        fields: list[tuple[str, str]] = [("Content-Type", "application/json"), PRIVATE]
        if not entry.public:
            expires_at = int(time.time()) + self._lifetime_s
            lease["expires_at"] = datetime.fromtimestamp(expires_at, UTC).strftime(
                "%Y-%m-%dT%H:%M:%SZ"
            )
            if kind == "url":
                lease["url"] = self._cloudfront.signed_url(entry.file, expires_at)
            else:
                cookies = self._cloudfront.set_cookie_fields(
                    entry.file, expires_at, self._lifetime_s, self._domain
                )
                fields += [("Set-Cookie", cookie) for cookie in cookies]
        await exchange.responder.reply(Response(200, tuple(fields), json.dumps(lease).encode()))


def _kind(body: bytes) -> str:
    """What was asked for; raises the 400."""
    try:
        asked = json.loads(body) if body.strip() else {}
    except (ValueError, RecursionError):
        asked = None
    kind = asked.get("kind", "cookies") if isinstance(asked, dict) else None
    if not isinstance(kind, str) or kind not in ("cookies", "url"):
        raise HttpError(400, "wrong_body", 'Send nothing, or {"kind": "cookies"} or "url".')
    return kind
