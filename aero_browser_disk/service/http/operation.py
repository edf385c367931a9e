"""What operators and their machines ask: is it alive, is it ready, how is it doing."""

from __future__ import annotations

import asyncio
import hmac
import json

from ..configuration import Configuration
from ..stores.image_store import ImageStore
from .access_log import UnusableImages
from .exchange import Exchange
from .metrics import Metrics
from .openapi import document
from .response import HttpError, Response
from .routing import Route

# A probe that waits longer learns nothing more.
_READY_TIMEOUT_S = 5
_NEVER_STORED = ("Cache-Control", "no-store")
_JSON = ("Content-Type", "application/json")


class Operation:
    """Answers /healthz, /readyz, /metrics and /openapi.json."""

    def __init__(
        self,
        store: ImageStore,
        metrics: Metrics | None,
        configuration: Configuration,
        unusable: UnusableImages,
    ) -> None:
        self._store = store
        self._unusable = unusable
        self._metrics = metrics
        token = configuration.metrics.token
        self._token = None if token is None else token.get_secret_value()
        self._document = json.dumps(document(configuration)).encode()
        self.routes = [
            Route("/healthz", {"GET": self.health}, counted=False),
            Route("/readyz", {"GET": self.ready}, counted=False),
            Route("/openapi.json", {"GET": self.describe}),
        ]
        if metrics is not None and self._token is not None:
            self.routes.append(Route("/metrics", {"GET": self.measure}, counted=False))

    async def health(self, exchange: Exchange) -> None:
        """The process answers; asks nobody else."""
        await exchange.responder.reply(Response(200, (_JSON, _NEVER_STORED), b'{"status": "ok"}'))

    async def ready(self, exchange: Exchange) -> None:
        """Whether images can be read now; a 503 with the reason otherwise.

        One image without its file is no reason to take the others from their readers.
        """
        try:
            async with asyncio.timeout(_READY_TIMEOUT_S):
                unusable = await self._store.ready()
        except TimeoutError:
            reason = f"the store did not answer within {_READY_TIMEOUT_S} s"
        except OSError as error:
            reason = error.strerror or str(error)
        else:
            ready: dict[str, object] = {"status": "ready"}
            if unusable:
                # Which they are the log says: an id may be private.
                ready["unusable_images"] = len(unusable)
            for image_id, fault in unusable.items():
                self._unusable.report(image_id, fault)
            await exchange.responder.reply(
                Response(200, (_JSON, _NEVER_STORED), json.dumps(ready).encode())
            )
            return
        if self._metrics:
            self._metrics.store_error("failed")
        raise HttpError(503, "not_ready", reason)

    async def measure(self, exchange: Exchange) -> None:
        """The metrics, to who has the token."""
        assert self._metrics is not None
        assert self._token is not None
        exchange.responder.is_private = True
        scheme, _, token = exchange.request.headers.get("authorization", "").partition(" ")
        right = hmac.compare_digest(token.strip().encode(), self._token.encode())
        if scheme.lower() != "bearer" or not right:
            raise HttpError(
                401,
                "no_credentials",
                "The metrics are for who has their token.",
                (("WWW-Authenticate", 'Bearer realm="metrics"'),),
            )
        fields = (("Content-Type", self._metrics.content_type), _NEVER_STORED)
        await exchange.responder.reply(Response(200, fields, self._metrics.exposition()))

    async def describe(self, exchange: Exchange) -> None:
        """The OpenAPI document of everything that is not bytes."""
        fields = (_JSON, ("Cache-Control", "no-cache"))
        await exchange.responder.reply(Response(200, fields, self._document))
