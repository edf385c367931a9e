"""`/v1/saves/{id}/shares`: links with which anybody may read a save, until they expire."""

from __future__ import annotations

import time
from collections.abc import Callable

from starlette.responses import Response
from starlette.routing import Route

from ..http.api import OF_BODY, Endpoint, moment, read_body, respond
from ..http.exchange import Exchange
from ..http.response import PRIVATE
from ..http.routing import Resource
from .save_access import OF_SAVE, SaveAccess
from .save_documents import NewShare, Share
from .saves import Saves
from .share_links import PARAMETER, sign_share


class ShareGateway:
    """Signs links to saves, and makes them invalid; `address` is what they begin with."""

    def __init__(
        self,
        saves: Saves,
        access: SaveAccess,
        address: str,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._saves = saves
        self._access = access
        self._address = address
        self._clock = clock
        create = Endpoint(self.create, "shareSave", Share, OF_SAVE | OF_BODY, NewShare, status=201)
        end = Endpoint(self.end, "endShares", None, OF_SAVE, status=204)
        self.routes = [Route("/v1/saves/{save}/shares", Resource(POST=create, DELETE=end))]

    async def create(self, exchange: Exchange) -> Response:
        """A link for reading a save."""
        save = await self._access.own(exchange, "share")
        asked = await read_body(exchange, NewShare)
        key = await self._access.run(lambda: self._saves.share_key(save))
        expires_at = int(self._clock()) + asked.lifetime_s
        signed = sign_share(save.save_id, key, expires_at)
        url = f"{self._address}/v1/saves/{save.save_id}?{PARAMETER}={signed}"
        return respond(Share(url=url, expires=moment(expires_at)), PRIVATE, status=201)

    async def end(self, exchange: Exchange) -> Response:
        """Makes all links to a save invalid."""
        save = await self._access.own(exchange, "share")
        await self._access.run(lambda: self._saves.end_shares(save))
        return Response(status_code=204, headers=PRIVATE)
