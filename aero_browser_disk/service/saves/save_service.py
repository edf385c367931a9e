"""Saves as a part of the service."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from ..cleaning import Cleaning
from ..http.access_log import AccessLog
from ..http.metrics import Metrics
from .bodies import Bodies
from .chunk_gateway import ChunkGateway
from .save_access import SaveAccess
from .save_gateway import SaveGateway
from .saves import Saves
from .share_gateway import ShareGateway

_ROUTE: Final = "/v1/saves"


class SaveService:
    """Serves `/v1/saves`; `address` is what links begin with. See `ServicePart`.

    `clock`: seconds since the epoch.
    """

    def __init__(
        self,
        saves: Saves,
        log: AccessLog,
        address: str,
        metrics: Metrics | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._saves = saves
        self._access = access = SaveAccess(saves, clock)
        bodies = Bodies()
        cleaning = Cleaning(saves.clean_up, "saves", _ROUTE, log)
        self.routes = [
            *SaveGateway(saves, access, bodies, cleaning, metrics).routes,
            *ChunkGateway(saves, access, bodies, metrics).routes,
            *ShareGateway(saves, access, address, clock).routes,
        ]

    async def check(self) -> None:
        """As `ServicePart.check`."""
        await self._access.run(self._saves.check)

    def close(self) -> None:
        """As `ServicePart.close`."""
        self._saves.close()
