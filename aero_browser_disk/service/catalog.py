"""What there is: the list of images and the facts about each, as JSON to revalidate."""

from __future__ import annotations

import asyncio
import hashlib
import json
from datetime import UTC, datetime

from aero_browser_disk.byte_ranges import EntityTag

from .exchange import Exchange, HttpError, Reply
from .folder_store import FolderStore, Image
from .preconditions import Outcome, evaluate


class Catalog:
    """Answers for the metadata of the images in `store`."""

    def __init__(self, store: FolderStore) -> None:
        self._store = store

    async def list(self, exchange: Exchange) -> None:
        """Answers with `{"images": [...]}`."""
        self._store.refresh()
        # A folder may be large, or far away.
        images = await asyncio.to_thread(self._store.images)
        await _reply(exchange, {"images": [_facts(image) for image in images]})

    async def meta(self, exchange: Exchange, image_id: str) -> None:
        """Answers with the facts about one image."""
        async with self._store.open(image_id) as opened:
            facts = _facts(opened.image)
        await _reply(exchange, facts)


def _facts(image: Image) -> dict[str, object]:
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
    }
    if entry.description is not None:
        facts["description"] = entry.description
    if entry.recommended_chunk_size_bytes is not None:
        facts["recommended_chunk_size_bytes"] = entry.recommended_chunk_size_bytes
    return facts


async def _reply(exchange: Exchange, document: object) -> None:
    body = json.dumps(document).encode()
    etag = EntityTag(hashlib.sha256(body).hexdigest()[:32])
    fields = (("ETag", str(etag)), ("Cache-Control", "no-cache"))
    outcome = evaluate(exchange.headers, etag)
    if outcome is Outcome.FAILED:
        raise HttpError(
            412, "precondition_failed", "The metadata is not what was asked for.", fields[:1]
        )
    if outcome is Outcome.NOT_MODIFIED:
        await exchange.reply(Reply(304, fields))
    else:
        await exchange.reply(Reply(200, (("Content-Type", "application/json"), *fields), body))
