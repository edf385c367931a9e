"""The files of prepared images, for readers that know them: the manifest, and files by SHA-256.

They are next to the bytes, so the manifest's URL with its query leads to all of them, and a signed
address is valid for all of them.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from typing import Final

from starlette.responses import Response
from starlette.routing import Route

from aero_browser_disk.remote.byte_ranges import EntityTag

from ..options import BytesOptions
from ..stores.image_store import Image, ImageNotFoundError, ImageStore, OpenImage
from .api import OF_CACHED, OF_IMAGE, AnyObject, Endpoint
from .direct_bytes import lend_bytes, send_chunks
from .direct_response import HeaderBlock
from .exchange import Exchange
from .image_fields import FOR_EVER, is_versioned
from .preconditions import not_modified
from .response import PRIVATE, Fields, HttpError, encoded
from .routing import Resource

_NO_SUCH_FILE: Final = "This image has no such file."


class PreparedFiles:
    """Serves `/disks/{id}/manifest.json` and what it names, whole and without ranges."""

    def __init__(self, store: ImageStore, options: BytesOptions) -> None:
        self._store = store
        self._options = options
        refusals = OF_CACHED | OF_IMAGE
        manifest = Endpoint(self.manifest, "getManifest", AnyObject, refusals, is_conditional=True)
        self.routes = [
            Route("/disks/{id}/manifest.json", Resource(GET=manifest)),
            Route("/disks/{id}/chunks/{folder}/{digest}", Resource(GET=self.file)),
        ]

    async def manifest(self, exchange: Exchange) -> Response:
        """The manifest of a prepared image, as stored."""
        image_id = exchange.request.parameters["id"]
        async with self._store.open(image_id, may_read=exchange.may("bytes")) as opened:
            image = opened.image
        if image.prepared is None:
            raise HttpError(404, "no_such_file", _NO_SUCH_FILE)
        encoded_manifest = image.prepared.encoded
        etag = EntityTag(hashlib.sha256(encoded_manifest).hexdigest()[:32])
        caching = FOR_EVER if is_versioned(image, self._options) else {"Cache-Control": "no-cache"}
        fields = {"ETag": str(etag), **_caching(image, caching)}
        unchanged = not_modified(exchange, fields, etag)
        return unchanged or Response(encoded_manifest, 200, fields, "application/json")

    async def file(self, exchange: Exchange) -> None:
        """A file by its SHA-256: it never changes."""
        named = exchange.request.parameters
        path = f"/chunks/{named['folder']}/{named['digest']}"
        may_read = exchange.may("bytes")
        # An image that is missing or private has another response than a missing file.
        async with self._store.open(named["id"], may_read=may_read):
            pass
        with suppress(ImageNotFoundError):
            async with self._store.open(named["id"], path, may_read=may_read) as opened:
                await self._send(exchange, opened)
                return
        raise HttpError(404, "no_such_file", _NO_SUCH_FILE)

    async def _send(self, exchange: Exchange, opened: OpenImage) -> None:
        file = opened.image
        fields = {"ETag": str(file.etag), **_caching(file, FOR_EVER)}
        unchanged = not_modified(exchange, fields, file.etag)
        if unchanged is not None:
            await exchange.responder.reply(unchanged)
            return
        if exchange.responder.is_private:
            fields |= PRIVATE
        fields["Content-Type"] = "application/octet-stream"
        fields["Content-Length"] = str(file.size)
        everything = 0, file.size
        is_get = exchange.request.method == "GET"
        if is_get and exchange.responder.direct is not None and opened.lender is not None:
            block = HeaderBlock.of(encoded(fields))
            await lend_bytes(exchange, opened, (200, (block.lines,)), everything)
        else:
            await send_chunks(exchange, opened, 200, encoded(fields), everything)


def _caching(image: Image, public: Fields) -> Fields:
    return public if image.entry.public else PRIVATE
