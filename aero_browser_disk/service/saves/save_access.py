"""Whose saves a request may read and change, and what refusals of the store become."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Final, TypeVar

from ..access.authorization import SaveRight
from ..http.exchange import Exchange
from ..http.response import HttpError
from ..outgoing import BlockingCalls
from .save_documents import SAVE_ID
from .save_tables import (
    CurrentGenerationError,
    MissingChunksError,
    NameTakenError,
    NoSuchSaveError,
    Save,
    SaveQuotaError,
    WrongLengthError,
)
from .saves import Saves
from .share_links import PARAMETER, expiry_of, is_signed

# A call to a bucket has shorter time-outs; some requests take several.
_TIMEOUT_S: Final = 60.0
_THREADS: Final = 32
_MAX_NAMES: Final = 1000

T = TypeVar("T")

REFUSED: Final = {
    401: "The credentials are missing or invalid.",
    403: "These credentials do not allow it, or the owner's quota is used up.",
}
OF_SAVE: Final = REFUSED | {404: "The client has no such save, or no such part of it."}


class SaveAccess:
    """Finds the saves that requests are about, and runs what blocks.

    Whether a save of somebody else's exists shows in no response.
    """

    def __init__(self, saves: Saves, clock: Callable[[], float] = time.time) -> None:
        self._saves = saves
        self._clock = clock
        self._calls = BlockingCalls("the store or database of saves", _THREADS, _TIMEOUT_S)

    def owner(self, exchange: Exchange, right: SaveRight) -> str:
        """Who asks; raises the 401, and the 403 without this right."""
        auth = exchange.auth
        if auth.grant is None:
            refusal = auth.refusal
            if refusal is not None and refusal.status == 503:
                raise HttpError(503, refusal.code, str(refusal), {"Retry-After": "5"})
            raise HttpError(
                401,
                "no_credentials" if refusal is None else refusal.code,
                "Send credentials to use saves." if refusal is None else str(refusal),
                {"WWW-Authenticate": 'Bearer realm="saves"'},
            )
        if right not in auth.grant.save_rights:
            raise HttpError(
                403,
                "not_allowed",
                "These credentials do not allow it: a token needs the scope, and a subject.",
            )
        return auth.grant.client

    async def own(self, exchange: Exchange, right: SaveRight) -> Save:
        """The client's save that the path names; raises the 401, 403 and 404."""
        owner = self.owner(exchange, right)
        save = await self._named(exchange)
        if save is None or save.owner != owner:
            raise no_such_save()
        return save

    async def readable(self, exchange: Exchange) -> tuple[Save, bool]:
        """The save that the path names, and whether a link lets the client read it.

        Raises the 401, 403 and 404.
        """
        share = exchange.request.query.get(PARAMETER)
        if share is None:
            return await self.own(exchange, "read"), False
        expires_at = expiry_of(share)
        if expires_at is not None and expires_at <= self._clock():
            raise HttpError(401, "share_expired", "The link has expired.")
        save = await self._named(exchange)
        if save is None or save.share_key is None:
            raise no_such_save()
        if not is_signed(share, save.save_id, save.share_key):
            raise no_such_save()
        return save, True

    async def _named(self, exchange: Exchange) -> Save | None:
        save_id = exchange.request.parameters["save"]
        if not re.fullmatch(SAVE_ID, save_id):
            return None
        return await self.run(lambda: self._saves.find(save_id))

    async def run(self, call: Callable[[], T]) -> T:
        """Calls it in a thread, and maps its refusals to responses."""
        try:
            return await self._calls.run(call)
        except NoSuchSaveError:
            raise no_such_save() from None
        except NameTakenError as error:
            message = "You have a save of this name."
            raise HttpError(409, "save_exists", message, id=error.save_id) from None
        except SaveQuotaError:
            message = "Your quota is used up. Delete some of your saves first."
            raise HttpError(403, "quota_exceeded", message) from None
        except MissingChunksError as error:
            message = "Some chunks are not stored; missing names the first of them."
            names = error.names[:_MAX_NAMES]
            raise HttpError(409, "missing_chunks", message, missing=names) from None
        except WrongLengthError as error:
            raise HttpError(400, "wrong_manifest", f"chunks: {error}") from None
        except CurrentGenerationError:
            message = "This generation is current: delete the save, or push another one."
            raise HttpError(409, "current_generation", message) from None


def no_such_save() -> HttpError:
    """The 404, the same for a save that is not there and for one of somebody else's."""
    return HttpError(404, "no_such_save", "You have no such save.")
