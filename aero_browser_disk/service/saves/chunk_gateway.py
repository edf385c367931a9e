"""`/v1/saves/{id}/chunks`: the stored bytes of saves, by their SHA-256."""

from __future__ import annotations

import hashlib
import re
from typing import Final

from starlette.responses import Response
from starlette.routing import Route

from aero_browser_disk.remote.byte_ranges import EntityTag

from ..http.api import OF_BODY, OF_CACHED, Endpoint, read_body, respond
from ..http.exchange import Exchange
from ..http.metrics import Metrics
from ..http.preconditions import not_modified
from ..http.response import PRIVATE, HttpError
from ..http.routing import Resource
from .bodies import Bodies
from .save_access import OF_SAVE, SaveAccess
from .save_documents import MAX_NAMES_BODY, ChunkNames, MissingChunks, quoted
from .save_manifest import MAX_CHUNK_BYTES
from .saves import Saves

_NAME: Final = re.compile("[0-9a-f]{64}")


class ChunkGateway:
    """Serves chunks of saves, and takes new ones."""

    def __init__(
        self, saves: Saves, access: SaveAccess, bodies: Bodies, metrics: Metrics | None = None
    ) -> None:
        self._saves = saves
        self._access = access
        self._bodies = bodies
        self._metrics = metrics
        storing = OF_SAVE | OF_BODY | {411: "The length is missing."}
        ask = Endpoint(
            self.missing, "findMissingChunks", MissingChunks, OF_SAVE | OF_BODY, ChunkNames
        )
        read = Endpoint(
            self.read, "getChunk", None, OF_SAVE | OF_CACHED, is_conditional=True, sends_bytes=True
        )
        store = Endpoint(self.store, "storeChunk", None, storing, takes_bytes=True, status=201)
        self.routes = [
            Route("/v1/saves/{save}/chunks", Resource(POST=ask)),
            Route("/v1/saves/{save}/chunks/{sha256}", Resource(GET=read, PUT=store)),
        ]

    async def missing(self, exchange: Exchange) -> Response:
        """Which chunks are not stored; the others stay while a push is under way."""
        save = await self._access.own(exchange, "write")
        asked = await read_body(exchange, ChunkNames, limit=MAX_NAMES_BODY)
        names = list(dict.fromkeys(asked.sha256))
        missing = await self._access.run(lambda: self._saves.missing(save, names))
        return respond(MissingChunks(missing=missing), PRIVATE)

    async def read(self, exchange: Exchange) -> Response:
        """The stored bytes of a chunk, which never change."""
        save, _ = await self._access.readable(exchange)
        name = _name(exchange)
        data = await self._access.run(lambda: self._saves.chunk(save, name))
        if data is None:
            raise _no_such_chunk()
        fields = {"ETag": quoted(name), **PRIVATE}
        unchanged = not_modified(exchange, fields, EntityTag(name))
        return unchanged or Response(data, 200, fields, "application/octet-stream")

    async def store(self, exchange: Exchange) -> Response:
        """Stores a chunk; a 200 if it was there."""
        save = await self._access.own(exchange, "write")
        name = _name(exchange)
        if not await self._access.run(lambda: self._saves.missing(save, [name])):
            return Response(status_code=200, headers=PRIVATE)
        async with self._bodies.receive(exchange, save.owner, MAX_CHUNK_BYTES) as data:
            if not data:
                raise HttpError(400, "wrong_body", "A chunk has at least one byte.")
            if hashlib.sha256(data).hexdigest() != name:
                raise HttpError(400, "wrong_digest", "The SHA-256 of the body is another one.")
            is_new = await self._access.run(lambda: self._saves.store_chunk(save, name, data))
        if self._metrics and is_new:
            self._metrics.stored_chunk(len(data))
        return Response(status_code=201 if is_new else 200, headers=PRIVATE)


def _name(exchange: Exchange) -> str:
    """The chunk's name; raises the 404 for what is none."""
    name = exchange.request.parameters["sha256"]
    if not _NAME.fullmatch(name):
        raise _no_such_chunk()
    return name


def _no_such_chunk() -> HttpError:
    return HttpError(404, "no_such_chunk", "The save has no such chunk.")
