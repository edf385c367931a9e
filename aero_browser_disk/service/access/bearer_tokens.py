"""Bearer tokens (RFC 6750): JWTs that an issuer signed for this service, scoped to images."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
import urllib.request
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from http.client import HTTPException
from pathlib import Path
from typing import Any, Final, Protocol

import jwt
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from ..configuration import JwtOptions
from .authorization import EVERY_ACTION, Asked, Grant, RefusedError

# Which keys may prove which algorithm: a token must not choose how its own key is used.
_KEY_TYPES: Final = {"RS256": "RSA", "ES256": "EC", "EdDSA": "OKP"}
# What some libraries call Ed25519 since RFC 9864.
_ED25519: Final = "Ed25519"
# Good tokens remembered, because checking a signature costs more than sending 64 KiB.
_MOST_TOKENS: Final = 4096
_LONGEST_TOKEN: Final = 8192
# Strangers can make up key ids; they must not make us ask the issuer for each.
_UNKNOWN_KEY_PAUSE_S: Final = 30.0
_FETCH_TIMEOUT_S: Final = 5.0
_LONGEST_JWKS: Final = 1 << 20


class KeySource(Protocol):
    """Where the issuer's public keys come from."""

    async def keys(self, key_id: str | None) -> Mapping[str, jwt.PyJWK]:
        """The keys by id, read again when `key_id` is not among them; raises `RefusedError`."""

    def reload(self) -> None:
        """Reads them again; raises `ValueError` or `OSError`."""


class BearerTokens:
    """Lets in who shows a token in Authorization."""

    def __init__(
        self, options: JwtOptions, source: KeySource, clock: Callable[[], float] = time.time
    ) -> None:
        self._options = options
        self._source = source
        self._clock = clock
        self._known: OrderedDict[bytes, tuple[float, Grant]] = OrderedDict()

    def reload(self) -> None:
        """As `Authority.reload`; forgets the tokens that the former keys proved."""
        self._source.reload()
        self._known.clear()

    async def examine(self, asked: Asked) -> Grant | None:
        """As `Authority.examine`."""
        scheme, _, token = asked.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        name = hashlib.sha256(token.encode()).digest()
        known = self._known.get(name)
        if known is None or known[0] <= self._clock():
            known = await self._check(token.strip())
            self._known[name] = known
            if len(self._known) > _MOST_TOKENS:
                self._known.popitem(last=False)
        self._known.move_to_end(name)
        return known[1]

    async def _check(self, token: str) -> tuple[float, Grant]:
        """When the token has to be looked at again, and its grant; raises `RefusedError`."""
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
        # Without a subject it is nobody's, and the next token of the same bearer another one.
        may_upload = self._options.upload_scope in scopes and bool(claims.get("sub"))
        grant = Grant(f"token:{who}", self._images(scopes), EVERY_ACTION, may_upload)
        return min(until, ends), grant

    async def _claims(self, token: str) -> dict[str, Any]:
        if len(token) > _LONGEST_TOKEN:
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
        fitting = [key for key in candidates if key.key_type == _KEY_TYPES[algorithm]]
        # Several only without a key id; every one of them may have signed it.
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

    def _images(self, scopes: Iterable[str]) -> frozenset[str]:
        """The images that its scopes name."""
        prefix = f"{self._options.scope}:"
        return frozenset(text.removeprefix(prefix) for text in scopes if text.startswith(prefix))


def _scopes(claims: Mapping[str, Any]) -> list[str]:
    """Its scopes (RFC 8693 §4.2: separated by spaces, or a list)."""
    scope = claims.get("scope", claims.get("scp", ""))
    scopes = scope.split() if isinstance(scope, str) else scope
    if not isinstance(scopes, list):
        return []
    return [text for text in scopes if isinstance(text, str)]


class FileKeys:
    """The keys of a file: a JWK set, or PEM public keys, whose ids are their SHA-256 then."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._keys = _parse_keys(file.read_bytes())

    async def keys(self, key_id: str | None) -> Mapping[str, jwt.PyJWK]:
        """As `KeySource.keys`; a file is read again on SIGHUP alone."""
        return self._keys

    def reload(self) -> None:
        """As `KeySource.reload`."""
        self._keys = _parse_keys(self._file.read_bytes())


class FetchedKeys:
    """The keys at an address, kept for `max_age_s`, and used for as long again if it fails."""

    def __init__(
        self, url: str, max_age_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._url = url
        self._max_age_s = max_age_s
        self._clock = clock
        self._keys: Mapping[str, jwt.PyJWK] = {}
        self._fetched_at = -float("inf")
        self._tried_at = -float("inf")
        self._fetching: asyncio.Task[None] | None = None

    async def keys(self, key_id: str | None) -> Mapping[str, jwt.PyJWK]:
        """As `KeySource.keys`."""
        if self._lacks(key_id):
            if self._fetching is None and self._may_try():
                # By itself: whoever asks may go away, and what comes counts all the same.
                self._fetching = asyncio.create_task(self._fetch())
            if self._fetching is not None:
                await asyncio.shield(self._fetching)
        if self._clock() - self._fetched_at > 2 * self._max_age_s:
            message = "The keys that prove tokens cannot be had now. Try again."
            raise RefusedError("keys_unavailable", message, 503)
        return self._keys

    def _lacks(self, key_id: str | None) -> bool:
        """Whether the issuer may have other keys that matter."""
        unknown = key_id is not None and key_id not in self._keys
        return unknown or self._clock() - self._fetched_at >= self._max_age_s

    def _may_try(self) -> bool:
        return self._clock() - self._tried_at >= min(_UNKNOWN_KEY_PAUSE_S, self._max_age_s)

    async def _fetch(self) -> None:
        self._tried_at = self._clock()
        try:
            self._keys = _parse_keys(await asyncio.to_thread(self._download))
        except (OSError, HTTPException, ValueError):
            return  # those that are there serve on for a while
        finally:
            self._fetching = None
        self._fetched_at = self._clock()

    def _download(self) -> bytes:
        # The configuration allows https, and http to this machine.
        with urllib.request.urlopen(self._url, timeout=_FETCH_TIMEOUT_S) as answer:  # noqa: S310
            body: bytes = answer.read(_LONGEST_JWKS)
        return body

    def reload(self) -> None:
        """As `KeySource.reload`: the next token has them fetched."""
        self._fetched_at = self._tried_at = -float("inf")


def _parse_keys(data: bytes) -> Mapping[str, jwt.PyJWK]:
    """The public keys of a JWK set or of PEM blocks, by id; raises `ValueError`."""
    if b"-----BEGIN" in data:
        blocks = data.split(b"-----BEGIN")[1:]
        return dict(_from_pem(b"-----BEGIN" + block) for block in blocks)
    try:
        document = json.loads(data)
        written = [key for key in document["keys"] if key.get("use", "sig") == "sig"]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ValueError("the keys are neither a JWK set nor PEM") from None
    keys = {}
    for number, key in enumerate(written):
        if key.get("kty") not in _KEY_TYPES.values() or "d" in key:
            continue  # a secret has no place there, and other kinds prove nothing here
        try:
            keys[str(key.get("kid", number))] = jwt.PyJWK.from_dict(key)
        except jwt.PyJWTError:
            continue
    if not keys:
        raise ValueError("the JWK set has no public key for RS256, ES256 or EdDSA")
    return keys


def _from_pem(block: bytes) -> tuple[str, jwt.PyJWK]:
    try:
        key = load_pem_public_key(block)
    except ValueError:
        raise ValueError("not a public key in PEM") from None
    for name in ("RS256", "ES256", "EdDSA"):
        algorithm = jwt.get_algorithm_by_name(name)
        try:
            described = algorithm.to_jwk(key, as_dict=True)
        except (jwt.PyJWTError, TypeError, AttributeError, ValueError):
            continue
        if described.get("kty") == _KEY_TYPES[name]:
            return hashlib.sha256(block).hexdigest(), jwt.PyJWK.from_dict(described, name)
    raise ValueError("a PEM key is of no kind for RS256, ES256 or EdDSA")
