"""Who may read what: credentials give a grant, which is checked against the served entry."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from ..stores.manifest import ManifestEntry

Action = Literal["bytes", "meta", "lease"]
# What the owner of saves may do with them.
SaveRight = Literal["read", "write", "share", "delete"]
EVERY_IMAGE: Final = "*"
EVERY_ACTION: Final[frozenset[Action]] = frozenset(("bytes", "meta", "lease"))


class RefusedError(Exception):
    """Invalid credentials: 401, or 503 if they cannot be verified now.

    The message goes to the client, and holds no secret.
    """

    def __init__(self, code: str, message: str, status: Literal[401, 503] = 401) -> None:
        super().__init__(message)
        self.code = code
        self.status = status


@dataclass(frozen=True, slots=True)
class AuthRequest:
    """The part of a request that authorities examine.

    `trusted_proxy`: whether such a proxy sent the headers.
    """

    headers: Mapping[str, str]
    query: Mapping[str, str]
    image_id: str | None
    trusted_proxy: bool


@dataclass(frozen=True, slots=True)
class Grant:
    """What the bearer of valid credentials may do.

    `client` distinguishes bearers and is not secret. The grant covers `images` by id, whoever owns
    them; with `owner` (a `short_digest`) only while they are that owner's. A client that may upload
    may do everything with its own images. `save_rights` are for its own saves.
    """

    client: str
    images: frozenset[str]
    actions: frozenset[Action] = EVERY_ACTION
    may_upload: bool = False
    owner: str | None = None
    save_rights: frozenset[SaveRight] = frozenset()

    def allows(self, action: Action, entry: ManifestEntry) -> bool:
        """Whether it covers the action on a private image."""
        if self.may_upload and entry.owner == self.client:
            return True
        if self.owner is not None and self.owner != short_digest(entry.owner or ""):
            return False
        return action in self.actions and bool(self.images & {entry.id, EVERY_IMAGE})


class Authority(Protocol):
    """One kind of credentials."""

    async def examine(self, asked: AuthRequest) -> Grant | None:
        """The grant, None without credentials of this kind; raises `RefusedError`."""

    def reload(self) -> None:
        """Reads its keys again; raises `ValueError` or `OSError` and keeps those it has."""


@dataclass(frozen=True, slots=True)
class AuthResult:
    """The result of a request's credentials. Without any, `grant` and `refusal` are None."""

    grant: Grant | None = None
    refusal: RefusedError | None = None

    def allows(self, action: Action, entry: ManifestEntry) -> bool:
        """Whether the action on a private image is allowed."""
        return self.grant is not None and self.grant.allows(action, entry)


class Gate:
    """Asks the authorities in their order; the first that knows the credentials decides."""

    def __init__(self, authorities: Sequence[Authority] = ()) -> None:
        self._authorities = tuple(authorities)
        self.is_configured = bool(self._authorities)

    async def examine(self, asked: AuthRequest) -> AuthResult:
        """Examines the request's credentials."""
        refusal = None
        for authority in self._authorities:
            try:
                grant = await authority.examine(asked)
            except RefusedError as error:
                # Without what it would keep in memory for as long as it is kept.
                refusal = refusal or error.with_traceback(None)
                continue
            if grant is not None:
                return AuthResult(grant)
        return AuthResult(refusal=refusal)

    def reload(self) -> None:
        """Reads all keys again, then raises `ValueError` that says which could not be."""
        reasons = []
        for authority in self._authorities:
            try:
                authority.reload()
            except (ValueError, OSError) as error:
                reasons.append(str(error))
        if reasons:
            raise ValueError("; ".join(reasons))


def short_digest(text: str) -> str:
    """A digest of 16 characters that stands for a client or an owner in a URL."""
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()[:12]).decode()
