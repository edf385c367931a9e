"""What is at a path of the service: a handler for each method, behind Starlette's routes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from starlette.responses import Response
from starlette.routing import Mount, Route, Router
from starlette.types import Receive, Scope, Send

from ..stores.image_store import ImageNotFoundError
from ..stores.manifest import is_image_id
from .api import Endpoint
from .exchange import Exchange, Handler
from .response import HttpError

_EXCHANGE: Final = "aero_disk.exchange"
# What credentials call the image that a path's parameters are about; None if there is none.
ImageId = Callable[[Mapping[str, str]], str | None]


class Resource:
    """The endpoint of a Starlette route: handlers by method, where GET stands for HEAD as well.

    `{id}` in the route's path is an image's id, which is checked. `image_id` finds the id in other
    paths' parameters. Limits apply to what is `counted`.
    """

    def __init__(
        self,
        *,
        counted: bool = True,
        image_id: ImageId | None = None,
        **handlers: Handler | Endpoint,
    ) -> None:
        self.handlers = handlers
        self._counted = counted
        self._image_id = image_id
        methods = [*handlers, "OPTIONS"]
        if "GET" in methods:
            methods.insert(methods.index("GET") + 1, "HEAD")
        self._methods = ", ".join(methods)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Responds to the exchange in the scope; raises `HttpError` and what stores raise."""
        exchange: Exchange = scope[_EXCHANGE]
        request = exchange.request
        request.route, request.methods = scope["route"].path_format, self._methods
        request.parameters = scope["path_params"]
        image_id = request.parameters.get("id")
        request.image_id = image_id if is_image_id(image_id or "") else None
        if self._image_id is not None:
            request.image_id = self._image_id(request.parameters)
        allow = {"Allow": self._methods}
        if request.method == "OPTIONS":
            # Also for missing images: a page can only read the 404 of its GET if the preflight
            # succeeded.
            await exchange.responder.reply(Response(status_code=204, headers=allow))
            return
        handler = self.handlers.get("GET" if request.method == "HEAD" else request.method)
        if handler is None:
            raise HttpError(405, "method_not_allowed", f"Use {self._methods} here.", allow)
        if image_id is not None and request.image_id is None:
            raise ImageNotFoundError
        await exchange.authorize()
        limits = exchange.limits if self._counted else None
        if limits is None:
            await handler(exchange)
            return
        async with limits.admitted(exchange.client) as exchange.responder.pace:
            await handler(exchange)


class Routes:
    """The routes of a service, below `base_path`."""

    def __init__(self, base_path: str, routes: Sequence[Route]) -> None:
        mounted = [Mount(base_path, routes=routes)] if base_path else routes
        self._router = Router(mounted, redirect_slashes=False, default=_nothing)

    async def respond(self, exchange: Exchange) -> None:
        """Responds as the path's `Resource` does; raises the 404 where nothing is."""
        scope = {"type": "http", "path": exchange.request.path, _EXCHANGE: exchange}
        await self._router(scope, exchange.request.receive, exchange.responder.send_message)


async def _nothing(*_: object) -> None:
    raise HttpError(404, "no_such_page", "Nothing is served at this URL.")
