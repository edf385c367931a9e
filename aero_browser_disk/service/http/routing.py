"""Which handler is for which path and method."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from ..stores.manifest import is_image_id
from .api import Endpoint
from .exchange import Exchange, Handler
from .response import HttpError

Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
_PARAMETER: Final = re.compile(r"\{([a-z_]+)\}")


class NoSuchPageError(HttpError):
    """There is no route to the path."""

    def __init__(self) -> None:
        super().__init__(404, "no_such_page", "Nothing is served at this URL.")


@dataclass(frozen=True, slots=True)
class Route:
    """A path and its handlers by method; that of GET is for HEAD as well.

    In `template`, `{id}` is an image's id, which is checked, and other names in braces stand for
    one segment of the path. Requests to a route that is not `counted` are under no limits.
    """

    template: str
    handlers: Mapping[Method, Handler | Endpoint]
    counted: bool = True
    form: re.Pattern[str] = field(init=False, repr=False)
    methods: str = field(init=False, repr=False)
    """What it takes, as Allow says it."""

    def __post_init__(self) -> None:
        form = _PARAMETER.sub(r"(?P<\1>[^/]*)", self.template.replace(".", r"\."))
        object.__setattr__(self, "form", re.compile(form))
        methods: list[str] = [*self.handlers]
        if "GET" in methods:
            methods.insert(methods.index("GET") + 1, "HEAD")
        object.__setattr__(self, "methods", ", ".join((*methods, "OPTIONS")))

    def handler(self, method: str) -> Handler | None:
        """The handler of the method, None if there is none."""
        known: Handler | Endpoint | None = self.handlers.get(  # type: ignore[call-overload]
            "GET" if method == "HEAD" else method
        )
        return known.handler if isinstance(known, Endpoint) else known


class Router:
    """The first of `routes` below `base_path` that fits a path."""

    def __init__(self, base_path: str, routes: Sequence[Route]) -> None:
        self._base_path = base_path
        self._routes = tuple(routes)

    def find(self, exchange: Exchange) -> Route:
        """The route, noted in `exchange` with its parameters; raises a 404 as `HttpError`."""
        if not exchange.request.path.startswith(self._base_path + "/"):
            raise NoSuchPageError
        path = exchange.request.path[len(self._base_path) :]
        for route in self._routes:
            match = route.form.fullmatch(path)
            if match:
                exchange.request.route = route.template
                exchange.request.methods = route.methods
                exchange.request.parameters = match.groupdict()
                image_id = exchange.request.parameters.get("id")
                if image_id is not None and is_image_id(image_id):
                    exchange.request.image_id = image_id
                return route
        raise NoSuchPageError
