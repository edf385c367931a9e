"""The service as a plain ASGI 3 application: routes, methods, and errors as JSON."""

from __future__ import annotations

import re
import traceback
from typing import Final

from .access_log import AccessLog
from .catalog import Catalog
from .cors import METHODS, CorsPolicy
from .disk_bytes import DiskBytes
from .exchange import CutShortError, Exchange, HttpError, Receive, Reply, Scope, Send
from .folder_store import FolderStore, NoSuchImageError, PrivateImageError
from .image_file import VersionChangedError
from .manifest import is_image_id

_ROUTES: Final = (
    ("/disks/{id}/bytes", re.compile(r"/disks/([^/]*)/bytes")),
    ("/v1/images/{id}/meta", re.compile(r"/v1/images/([^/]*)/meta")),
    ("/v1/images/{id}", re.compile(r"/v1/images/([^/]+)")),
    ("/v1/images", re.compile(r"/v1/images")),
    ("/healthz", re.compile(r"/healthz")),
)


class Service:
    """Serves the images of `store`, which it closes when the server shuts down."""

    def __init__(
        self, store: FolderStore, cors: CorsPolicy, log: AccessLog, max_age_s: int = 300
    ) -> None:
        self._store = store
        self._cors = cors
        self._log = log
        self._bytes = DiskBytes(store, max_age_s)
        self._catalog = Catalog(store)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one connection scope of ASGI 3."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        if scope["type"] != "http":
            raise ValueError(f"not served: {scope['type']}")
        exchange = Exchange(scope, receive, send, self._cors)
        try:
            await self._answer(exchange)
        finally:
            self._log.request(exchange)

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                self._store.close()
                await send({"type": "lifespan.shutdown.complete"})
                return
            await send({"type": "lifespan.startup.complete"})

    async def _answer(self, exchange: Exchange) -> None:
        try:
            await self._route(exchange)
        except CutShortError as error:
            exchange.cut = str(error)
        except HttpError as error:
            await _say(exchange, error)
        except NoSuchImageError:
            await _say(exchange, _NO_SUCH_IMAGE)
        except PrivateImageError:
            await _say(exchange, _PRIVATE)
        except VersionChangedError:
            await _say(exchange, _CHANGING)
        except OSError as error:
            self._log.event("failed", route=exchange.route, id=exchange.image_id, error=str(error))
            await _say(exchange, _STORE_FAILED)
        except Exception:  # noqa: BLE001 - to the log in full, to the client as it may know
            error_text = traceback.format_exc(limit=-8)
            self._log.event("failed", route=exchange.route, id=exchange.image_id, error=error_text)
            await _say(exchange, _INTERNAL)

    async def _route(self, exchange: Exchange) -> None:
        matches = ((route, form.fullmatch(exchange.path)) for route, form in _ROUTES)
        route, match = next(((route, match) for route, match in matches if match), (None, None))
        if route is None or match is None:
            raise HttpError(404, "no_such_page", "There is nothing at this address.")
        exchange.route = route
        if exchange.method == "OPTIONS":
            # To a preflight too, and the image need not be there: a page can read the 404 to its
            # GET only if its preflight went well.
            await exchange.reply(Reply(204, (("Allow", METHODS),)))
            return
        if exchange.method not in ("GET", "HEAD"):
            raise HttpError(
                405,
                "read_only",
                f"This service only reads: use {METHODS}.",
                (("Allow", METHODS),),
            )
        if match.groups():
            image_id = match[1]
            if not is_image_id(image_id):
                raise NoSuchImageError
            exchange.image_id = image_id
            if route.endswith("/meta"):
                await self._catalog.meta(exchange, image_id)
            else:
                await self._bytes.respond(exchange, image_id)
        elif route == "/healthz":
            fields = (("Content-Type", "application/json"), ("Cache-Control", "no-store"))
            await exchange.reply(Reply(200, fields, b'{"status": "ok"}'))
        else:
            await self._catalog.list(exchange)


async def _say(exchange: Exchange, error: HttpError) -> None:
    """Answers with the error; when the status is sent already, the connection has to say it.

    A server that gets control back with a body unfinished closes the connection.
    """
    if exchange.status is None:
        await exchange.reply(error.reply)
    else:
        exchange.cut = error.code


_NO_SUCH_IMAGE: Final = HttpError(404, "no_such_image", "There is no image with this id.")
_PRIVATE: Final = HttpError(403, "private_image", "This image is private.")
_CHANGING: Final = HttpError(
    503, "image_changing", "The image is being written. Try again.", (("Retry-After", "1"),)
)
_STORE_FAILED: Final = HttpError(
    503, "store_failed", "The image cannot be read now. Try again.", (("Retry-After", "5"),)
)
_INTERNAL: Final = HttpError(500, "internal_error", "The service failed; its log says how.")
