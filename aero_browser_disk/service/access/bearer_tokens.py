"""Bearer tokens (RFC 6750): JWTs that an issuer signed for this service, scoped to images."""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, Final

import jwt

from ..options import JwtOptions
from .authorization import EVERY_ACTION, AuthRequest, Grant, RefusedError, SaveRight
from .issuer_keys import KEY_TYPES, KeySource

# The name of EdDSA with Ed25519 since RFC 9864.
_ED25519: Final = "Ed25519"
# Valid tokens cached, because checking a signature costs more than sending 64 KiB.
_MAX_TOKENS: Final = 4096
_MAX_TOKEN_LENGTH: Final = 8192


class BearerTokens:
    """Accepts tokens in Authorization."""

    def __init__(
        self, options: JwtOptions, source: KeySource, clock: Callable[[], float] = time.time
    ) -> None:
        self._options = options
        self._source = source
        self._clock = clock
        self._known: OrderedDict[bytes, tuple[float, Grant]] = OrderedDict()

    def reload(self) -> None:
        """As `Authority.reload`; forgets the tokens verified with the old keys."""
        self._source.reload()
        self._known.clear()

    async def examine(self, asked: AuthRequest) -> Grant | None:
        """As `Authority.examine`."""
        scheme, _, token = asked.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        name = hashlib.sha256(token.encode()).digest()
        known = self._known.get(name)
        if known is None or known[0] <= self._clock():
            known = await self._check(token.strip())
            self._known[name] = known
            if len(self._known) > _MAX_TOKENS:
                self._known.popitem(last=False)
        self._known.move_to_end(name)
        return known[1]

    async def _check(self, token: str) -> tuple[float, Grant]:
        """When to check the token again, and its grant; raises `RefusedError`."""
        try:
            claims = await self._claims(token)
        except jwt.ExpiredSignatureError:
            raise RefusedError("expired", "The token is no longer valid.") from None
        except (jwt.InvalidTokenError, ValueError):
            raise RefusedError("invalid_token", "The token is not valid here.") from None
        until = self._clock() + self._options.jwks_max_age_s
        ends = float(claims["exp"]) + self._options.leeway_s
        who = hashlib.sha256(f"{claims.get('sub', token)}".encode()).hexdigest()[:32]
        scopes = _scopes(claims)
        # Uploads and saves need an owner, whom only the subject identifies from one token to the
        # next.
        has_owner = bool(claims.get("sub"))
        may_upload = self._options.upload_scope in scopes and has_owner
        prefix = f"{self._options.scope}:"
        images = frozenset(s.removeprefix(prefix) for s in scopes if s.startswith(prefix))
        save_rights = self._save_rights(scopes) if has_owner else frozenset[SaveRight]()
        grant = Grant(f"token:{who}", images, EVERY_ACTION, may_upload, save_rights=save_rights)
        return min(until, ends), grant

    def _save_rights(self, scopes: list[str]) -> frozenset[SaveRight]:
        """Every one of them includes reading."""
        options = self._options
        named: dict[str, SaveRight] = {
            options.scope: "read",
            options.write_scope: "write",
            options.share_scope: "share",
            options.delete_scope: "delete",
        }
        rights = {named[scope] for scope in scopes if scope in named}
        return frozenset(rights | {"read"}) if rights else frozenset()

    async def _claims(self, token: str) -> dict[str, Any]:
        if len(token) > _MAX_TOKEN_LENGTH:
            raise jwt.InvalidTokenError
        header = jwt.get_unverified_header(token)
        algorithm = "EdDSA" if header.get("alg") == _ED25519 else header.get("alg")
        if algorithm not in self._options.algorithms:
            raise jwt.InvalidAlgorithmError
        key_id = header.get("kid")
        keys = await self._source.keys(key_id)
        if key_id is not None:
            candidates = [keys[key_id]] if key_id in keys else []
        else:
            candidates = list(keys.values())
        fitting = [key for key in candidates if key.key_type == KEY_TYPES[algorithm]]
        # More than one only without a key id; any of them may have signed it.
        for key in fitting[:8]:
            try:
                return self._decode(token, key, str(header["alg"]))
            except jwt.InvalidSignatureError:
                continue
        raise jwt.InvalidSignatureError

    def _decode(self, token: str, key: jwt.PyJWK, algorithm: str) -> dict[str, Any]:
        options = self._options
        claims: dict[str, Any] = jwt.decode(
            token,
            key.key,
            algorithms=[algorithm],
            audience=options.audience,
            issuer=options.issuer,
            leeway=options.leeway_s,
            options={"require": ["exp", "iss", "aud"]},
        )
        return claims


def _scopes(claims: Mapping[str, Any]) -> list[str]:
    """Its scopes (RFC 8693 §4.2: separated by spaces, or a list)."""
    scope = claims.get("scope", claims.get("scp", ""))
    scopes = scope.split() if isinstance(scope, str) else scope
    if not isinstance(scopes, list):
        return []
    return [text for text in scopes if isinstance(text, str)]
