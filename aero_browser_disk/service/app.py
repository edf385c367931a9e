"""The service as an ASGI 3 application: it responds, counts and logs, and errors become JSON."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Sequence
from typing import Final

from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from .access.authorization import Gate
from .access.leases import Leases
from .configuration import Configuration
from .http.access_log import AccessLog, UnusableImages
from .http.catalog import Catalog
from .http.client_address import TrustedProxies
from .http.client_limits import ClientLimits, LimitExceededError
from .http.disk_bytes import DiskBytes
from .http.exchange import Exchange, Handler
from .http.metrics import Metrics
from .http.operation import Operation
from .http.prepared_files import PreparedFiles
from .http.repeated_requests import Parts, RepeatedRequests
from .http.response import CutShortError, HttpError
from .http.routing import Resource, Routes
from .http.service_context import ServiceContext
from .http.sidecar_files import SidecarFiles
from .service_part import ServicePart
from .stores.image_store import (
    ImageNotFoundError,
    ImageStore,
    PrivateImageError,
    VersionChangedError,
)


class Service:
    """Serves the images of `store`, which it closes when the server shuts down.

    `more_routes`, and then those of `parts`, come after its own; their handlers raise `HttpError`
    to refuse a request.
    """

    def __init__(
        self,
        store: ImageStore,
        configuration: Configuration,
        log: AccessLog,
        *,
        gate: Gate | None = None,
        limits: ClientLimits | None = None,
        metrics: Metrics | None = None,
        leases: Leases | None = None,
        more_routes: Sequence[Route] = (),
        parts: Sequence[ServicePart] = (),
    ) -> None:
        self._store = store
        self._service_parts = parts
        self._log = log
        self._metrics = metrics
        self._server = configuration.server
        self._in_flight = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._context = ServiceContext(
            configuration.cors.policy,
            TrustedProxies(configuration.server.trusted_proxies),
            gate,
            limits,
            always_private=configuration.server.tls_client_authorities is not None,
            is_unix=configuration.server.unix_socket is not None,
            body_s=configuration.server.keep_alive_s,
        )
        sidecars = SidecarFiles(store, log)
        bytes_per_s = configuration.limits.bytes_per_s
        disk_bytes = DiskBytes(store, sidecars, configuration.bytes, bytes_per_s)
        address = (configuration.server.public_url or "") + configuration.base_path
        catalog = Catalog(store, sidecars, configuration.bytes.max_range_bytes, address)
        prepared = PreparedFiles(store, configuration.bytes)
        self._unusable = UnusableImages(log)
        checks = [part.check for part in parts]
        operation = Operation(store, metrics, configuration, self._unusable, checks)
        routes = [
            Route("/disks/{id}/bytes", Resource(GET=disk_bytes.respond)),
            Route("/v1/images/{id}", Resource(GET=disk_bytes.respond)),
            *prepared.routes,
            *catalog.routes,
            *sidecars.routes,
            *operation.routes,
            *more_routes,
            *(route for part in parts for route in part.routes),
            *(leases.routes if leases is not None else ()),
        ]
        operation.document(routes)
        self._routes = Routes(configuration.base_path, routes)
        self._parts = Parts(log, metrics, self._context, self._handle, self._route)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one connection scope of ASGI 3."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        if scope["type"] != "http":
            raise ValueError(f"not served: {scope['type']}")
        exchange = Exchange(scope, receive, send, self._context)
        await self._handle(exchange, self._route)
        if exchange.is_one_of_many and exchange.responder.direct is not None:
            exchange.responder.direct.offer(RepeatedRequests(exchange, self._parts))

    async def _handle(self, exchange: Exchange, respond: Handler) -> None:
        """Responds to the request, counts it and logs it."""
        if self._metrics:
            self._metrics.in_flight.inc()
        self._in_flight += 1
        self._idle.clear()
        try:
            await self._respond(exchange, respond)
        finally:
            self._in_flight -= 1
            if self._in_flight == 0:
                self._idle.set()
            self._log.request(exchange)
            if self._metrics:
                self._metrics.in_flight.dec()
                self._metrics.ended(exchange)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        try:
            # Not every server waits for requests under way before it shuts down.
            async with asyncio.timeout(self._server.grace_s):
                await self._idle.wait()
        except TimeoutError:
            self._log.event("unfinished", requests=self._in_flight)
        self._store.close()
        for part in self._service_parts:
            part.close()
        if self._context.limits:
            await self._context.limits.close()
        await send({"type": "lifespan.shutdown.complete"})

    async def _respond(self, exchange: Exchange, respond: Handler) -> None:
        try:
            await respond(exchange)
        except CutShortError as error:
            exchange.record.cut = str(error)
        except Exception as error:  # noqa: BLE001 - each gets a response
            # No variable here may keep the error: its traceback would keep this frame, and so the
            # connection, until garbage is collected.
            await _send_error(exchange, self._refusal(exchange, error))

    async def _route(self, exchange: Exchange) -> None:
        self._check_request(exchange)
        await self._routes.respond(exchange)

    def _check_request(self, exchange: Exchange) -> None:
        """Rejects malformed or oversized requests before they cost anything."""
        if exchange.request.refusal is not None:
            raise HttpError(*exchange.request.refusal)
        if not exchange.request.names_host:
            raise HttpError(400, "no_host", "Send one Host header.")
        max_url, max_headers = self._server.max_url_length, self._server.max_header_bytes
        if exchange.request.url_length > max_url:
            raise HttpError(414, "url_too_long", f"A URL is limited to {max_url} bytes.")
        if exchange.request.header_bytes > max_headers:
            raise HttpError(
                431, "headers_too_large", f"Headers are limited to {max_headers} bytes."
            )

    def _refusal(self, exchange: Exchange, error: Exception) -> HttpError:
        """The error as the client gets it; what the operator must know is counted and logged."""
        match error:
            case HttpError():
                return error
            case ImageNotFoundError():
                self._unusable.report(exchange.request.image_id, str(error))
                return _NO_SUCH_IMAGE
            case PrivateImageError():
                return self._private(exchange)
            case LimitExceededError(limit=limit):
                if self._metrics:
                    self._metrics.limited(limit)
                said = f"Too many requests: the limit of {limit.replace('_', ' ')} is reached."
                wait = {"Retry-After": str(error.retry_after_s)}
                return HttpError(429, "too_many_requests", f"{said} Wait.", wait, limit=limit)
            case VersionChangedError():
                if self._metrics:
                    self._metrics.store_error("changing")
                return _CHANGING
            case OSError():
                if self._metrics:
                    self._metrics.store_error("failed")
                self._fail(exchange, str(error))
                return _STORE_FAILED
        # The log has the traceback, the client a plain 500.
        self._fail(exchange, "".join(traceback.format_exception(error, limit=-8)))
        return _INTERNAL

    def _private(self, exchange: Exchange) -> HttpError:
        """Why a private image is refused: 401 if other credentials may help, else 403."""
        refusal = exchange.auth.refusal
        if not self._context.gate.is_configured or exchange.auth.grant is not None:
            return HttpError(403, "private_image", "This image is private.")
        challenge = 'Bearer realm="disks"'
        if refusal is None:
            message = "This image is private: send credentials."
            return HttpError(401, "no_credentials", message, {"WWW-Authenticate": challenge})
        if refusal.status == 503:
            return HttpError(503, refusal.code, str(refusal), {"Retry-After": "5"})
        challenge += f', error="{refusal.code}"'
        return HttpError(401, refusal.code, str(refusal), {"WWW-Authenticate": challenge})

    def _fail(self, exchange: Exchange, reason: str) -> None:
        self._log.event(
            "failed",
            route=exchange.request.route,
            id=exchange.request.image_id,
            request_id=exchange.request.id,
            error=reason,
        )


async def _send_error(exchange: Exchange, error: HttpError) -> None:
    """Responds with the error; if the status was already sent, the connection is closed instead.

    A server that gets control back with a body unfinished closes the connection.
    """
    if exchange.record.status is None:
        exchange.responder.pace = None
        await exchange.responder.reply(error.response)
    else:
        exchange.record.cut = error.code


# Never raised, as a traceback grows each time that its error is.
_NO_SUCH_IMAGE: Final = HttpError(404, "no_such_image", "There is no image with this id.")
_CHANGING: Final = HttpError(
    503, "image_changing", "The image is being written. Try again.", {"Retry-After": "1"}
)
_STORE_FAILED: Final = HttpError(
    503, "store_failed", "The image cannot be read now. Try again.", {"Retry-After": "5"}
)
_INTERNAL: Final = HttpError(500, "internal_error", "The service failed; its log has the details.")
