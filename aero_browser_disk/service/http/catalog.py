"""What there is: the list of images and the facts about each, as JSON to revalidate."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime

from aero_browser_disk.remote.byte_ranges import EntityTag

from ..stores.image_store import Image, ImageStore
from .companions import Companions
from .exchange import Exchange
from .preconditions import is_answered
from .response import Response


class Catalog:
    """Answers for the metadata of the images in `store`."""

    def __init__(self, store: ImageStore, companions: Companions, max_range_bytes: int) -> None:
        self._store = store
        self._companions = companions
        self._max_range_bytes = max_range_bytes

    async def list(self, exchange: Exchange) -> None:
        """Answers with `{"images": [...]}`: those that are public or that it has a grant for."""
        images = [
            _facts(image, self._max_range_bytes)
            for image in await self._store.images(may_read=exchange.may("meta"))
        ]
        await reply_json(exchange, {"images": images})

    async def meta(self, exchange: Exchange) -> None:
        """Answers with the facts about one image, and about what lies beside it."""
        image_id = exchange.request.parameters["id"]
        async with self._store.open(image_id, may_read=exchange.may("meta")) as opened:
            image = opened.image
        facts = _facts(image, self._max_range_bytes) | await self._companions.facts(image)
        await reply_json(exchange, facts)


def _facts(image: Image, max_range_bytes: int) -> dict[str, object]:
    entry = image.entry
    facts: dict[str, object] = {
        "id": entry.id,
        "name": entry.name,
        "size_bytes": image.size,
        "etag": str(image.etag),
        "last_modified": datetime.fromtimestamp(image.last_modified_s, UTC).strftime(
            "%Y-%m-%dT%H:%M:%SZ"
        ),
        "content_type": entry.content_type,
        "public": entry.public,
        "max_range_bytes": max_range_bytes,
    }
    if entry.description is not None:
        facts["description"] = entry.description
    if entry.recommended_chunk_size_bytes is not None:
        facts["recommended_chunk_size_bytes"] = entry.recommended_chunk_size_bytes
    return facts


async def reply_json(exchange: Exchange, document: object) -> None:
    """Answers with the document, or that it is the one that the client has."""
    body = json.dumps(document).encode()
    etag = EntityTag(hashlib.sha256(body).hexdigest()[:32])
    fields = (("ETag", str(etag)), ("Cache-Control", "no-cache"))
    if not await is_answered(exchange, fields, etag):
        typed = (("Content-Type", "application/json"), *fields)
        await exchange.responder.reply(Response(200, typed, body))
