"""Who may read what: asked for each request, on the image's id."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, Protocol

Action = Literal["bytes", "meta", "lease"]
EVERY_IMAGE: Final = "*"
EVERY_ACTION: Final[frozenset[Action]] = frozenset(("bytes", "meta", "lease"))


class RefusedError(Exception):
    """Credentials that prove nothing: 401, or 503 when that cannot be told now.

    The message goes to the client, and holds no secret.
    """

    def __init__(self, code: str, message: str, status: Literal[401, 503] = 401) -> None:
        super().__init__(message)
        self.code = code
        self.status = status


@dataclass(frozen=True, slots=True)
class Asked:
    """What an authority may look at. `trusted_proxy`: whether such a proxy sent the headers."""

    headers: Mapping[str, str]
    query: Mapping[str, str]
    image_id: str | None
    trusted_proxy: bool


@dataclass(frozen=True, slots=True)
class Grant:
    """What the bearer of good credentials may do.

    `client` tells bearers apart, and is no secret.
    """

    client: str
    images: frozenset[str]
    actions: frozenset[Action] = EVERY_ACTION
    may_upload: bool = False

    def allows(self, image_id: str, action: Action) -> bool:
        """Whether it covers the action on the image."""
        return action in self.actions and bool(self.images & {image_id, EVERY_IMAGE})


class Authority(Protocol):
    """One kind of credentials."""

    async def examine(self, asked: Asked) -> Grant | None:
        """The grant, None without credentials of this kind; raises `RefusedError`."""

    def reload(self) -> None:
        """Reads its keys again; raises `ValueError` or `OSError` and keeps those it has."""


@dataclass(frozen=True, slots=True)
class Findings:
    """What a request's credentials come to. Without any, `grant` and `refusal` are None."""

    grant: Grant | None = None
    refusal: RefusedError | None = None

    def allows(self, image_id: str, action: Action) -> bool:
        """Whether a private image may be used so."""
        return self.grant is not None and self.grant.allows(image_id, action)


class Owners(Protocol):
    """Who may read an image because it is theirs."""

    async def owns(self, client: str, image_id: str) -> bool:
        """Whether the image is the client's own."""


class Gate:
    """Asks the authorities in their order; the first that knows the credentials decides.

    Whom `owners` calls the owner of an image may use it in every way.
    """

    def __init__(self, authorities: Sequence[Authority] = (), owners: Owners | None = None) -> None:
        self._authorities = tuple(authorities)
        self._owners = owners
        self.is_configured = bool(self._authorities)

    async def examine(self, asked: Asked) -> Findings:
        """What the request's credentials come to."""
        refusal = None
        for authority in self._authorities:
            try:
                grant = await authority.examine(asked)
            except RefusedError as error:
                refusal = refusal or error
                continue
            if grant is not None:
                return Findings(await self._with_own(grant, asked.image_id))
        return Findings(refusal=refusal)

    async def _with_own(self, grant: Grant, image_id: str | None) -> Grant:
        """The grant, and all that an owner may do when the image is the bearer's own."""
        if self._owners is None or image_id is None or not grant.may_upload:
            return grant
        if not await self._owners.owns(grant.client, image_id):
            return grant
        return replace(grant, images=grant.images | {image_id}, actions=EVERY_ACTION)

    def reload(self) -> None:
        """Reads all keys again, then raises `ValueError` that says which could not be."""
        reasons = [
            reason for authority in self._authorities if (reason := _failed_reload(authority))
        ]
        if reasons:
            raise ValueError("; ".join(reasons))


def _failed_reload(authority: Authority) -> str | None:
    """Why the authority could not read its keys again."""
    try:
        authority.reload()
    except (ValueError, OSError) as error:
        return str(error)
    return None
