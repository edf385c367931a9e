"""Health, readiness, metrics and the OpenAPI document, for operators."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Awaitable, Callable, Sequence
from typing import Literal

from pydantic.json_schema import SkipJsonSchema
from starlette.responses import Response
from starlette.routing import Route

from ..configuration import Configuration
from ..stores.image_store import ImageStore
from .access_log import UnusableImages
from .api import AnyObject, Document, Endpoint, absent, respond
from .exchange import Exchange
from .metrics import Metrics
from .openapi import document
from .response import HttpError
from .routing import Resource

# A probe that waits longer learns nothing more.
_READY_TIMEOUT_S = 5
_NEVER_STORED = {"Cache-Control": "no-store"}


class Status(Document):
    """The state of the service."""

    status: Literal["ok", "ready"]
    unusable_images: int | SkipJsonSchema[None] = absent()


class Operation:
    """Serves /healthz, /readyz, /metrics and /openapi.json.

    `checks` raise `OSError` when what is served beside images cannot be.
    """

    def __init__(
        self,
        store: ImageStore,
        metrics: Metrics | None,
        configuration: Configuration,
        unusable: UnusableImages,
        checks: Sequence[Callable[[], Awaitable[None]]] = (),
    ) -> None:
        self._store = store
        self._checks = checks
        self._unusable = unusable
        self._metrics = metrics
        token = configuration.metrics.token
        self._token = None if token is None else token.get_secret_value()
        self._configuration = configuration
        self._document = AnyObject({})
        health = Endpoint(self.health, "isAlive", Status)
        refusals = {503: "They cannot be read; the body has the reason."}
        ready = Endpoint(self.ready, "isReady", Status, refusals)
        describe = Endpoint(self.describe, "describe", AnyObject)
        self.routes = [
            Route("/healthz", Resource(GET=health, counted=False)),
            Route("/readyz", Resource(GET=ready, counted=False)),
            Route("/openapi.json", Resource(GET=describe)),
        ]
        if metrics is not None and self._token is not None:
            self.routes.append(Route("/metrics", Resource(GET=self.measure, counted=False)))

    def document(self, routes: Sequence[Route]) -> None:
        """Sets the routes that the OpenAPI document describes."""
        self._document = AnyObject(document(self._configuration, routes))

    async def health(self, exchange: Exchange) -> Response:
        """Whether the process responds; nothing else is checked."""
        return respond(Status(status="ok"), _NEVER_STORED)

    async def ready(self, exchange: Exchange) -> Response:
        """Whether images can be read now; a 503 with the reason otherwise.

        One image without its file does not make the service unready.
        """
        try:
            async with asyncio.timeout(_READY_TIMEOUT_S):
                unusable = await self._store.ready()
                for check in self._checks:
                    await check()
        except TimeoutError:
            reason = f"the store did not respond within {_READY_TIMEOUT_S} s"
        except OSError as error:
            reason = error.strerror or str(error)
        else:
            for image_id, fault in unusable.items():
                self._unusable.report(image_id, fault)
            # The log names them: an id may be private.
            ready = Status(status="ready", unusable_images=len(unusable) or None)
            return respond(ready, _NEVER_STORED)
        if self._metrics:
            self._metrics.store_error("failed")
        raise HttpError(503, "not_ready", reason)

    async def measure(self, exchange: Exchange) -> None:
        """The metrics, if the request has the token."""
        assert self._metrics is not None
        assert self._token is not None
        exchange.responder.is_private = True
        scheme, _, token = exchange.request.headers.get("authorization", "").partition(" ")
        right = hmac.compare_digest(token.strip().encode(), self._token.encode())
        if scheme.lower() != "bearer" or not right:
            raise HttpError(
                401,
                "no_credentials",
                "The metrics need their token.",
                {"WWW-Authenticate": 'Bearer realm="metrics"'},
            )
        fields = {"Content-Type": self._metrics.content_type, **_NEVER_STORED}
        await exchange.responder.reply(Response(self._metrics.exposition(), headers=fields))

    async def describe(self, exchange: Exchange) -> Response:
        """This document: everything but the bytes of images."""
        return respond(self._document, {"Cache-Control": "no-cache"})
