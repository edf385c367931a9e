"""The public keys of the issuer of tokens, from a file or fetched."""

from __future__ import annotations

import asyncio
import hashlib
import json
import ssl
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Protocol

import httpx
import jwt
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from .authorization import RefusedError

# Which keys are allowed for which algorithm: a token must not choose how its own key is used.
KEY_TYPES: Final = {"RS256": "RSA", "ES256": "EC", "EdDSA": "OKP"}
# Anybody can make up key ids; not each of them may cause a request to the issuer.
_UNKNOWN_KEY_PAUSE_S: Final = 30.0
# For the whole request: name lookup, connection, redirects and body.
_FETCH_TIMEOUT_S: Final = 5.0
_MAX_JWKS_BYTES: Final = 1 << 20
_UNCOMPRESSED: Final = {"Accept-Encoding": "identity"}


class KeySource(Protocol):
    """Where the issuer's public keys come from."""

    async def keys(self, key_id: str | None) -> Mapping[str, jwt.PyJWK]:
        """The keys by id, read again when `key_id` is not among them; raises `RefusedError`."""

    def reload(self) -> None:
        """Reads them again; raises `ValueError` or `OSError`."""


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
    """Fetches the keys at `url`, again when they are `max_age_s` old.

    Until the new keys have arrived the old ones are used, up to twice that age. PyJWT's own
    `PyJWKClient` blocks, has no deadline for a slow response, follows redirects anywhere, and
    fetches again for each unknown key id.
    """

    def __init__(
        self, url: str, max_age_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._url = url
        self._max_age_s = max_age_s
        self._clock = clock
        # The certificates that this machine trusts.
        self._tls = ssl.create_default_context()
        self._keys: Mapping[str, jwt.PyJWK] = {}
        self._fetched_at = -float("inf")
        self._tried_at = -float("inf")
        self._fetching: asyncio.Task[None] | None = None
        # Reloads requested so far, and how many of them came before the last fetch.
        self._reloads = 0
        self._reloads_done = 0

    async def keys(self, key_id: str | None) -> Mapping[str, jwt.PyJWK]:
        """As `KeySource.keys`."""
        if self._age_s >= self._max_age_s:
            self._begin()
        if self._lacks(key_id):
            # Twice: a fetch that began before a reload may return the old keys.
            for _ in range(2):
                self._begin()
                if self._fetching is None or not self._lacks(key_id):
                    break
                await asyncio.shield(self._fetching)
        if self._age_s > 2 * self._max_age_s:
            message = "The keys that verify tokens are not available now. Try again."
            raise RefusedError("keys_unavailable", message, 503)
        return self._keys

    @property
    def _age_s(self) -> float:
        return self._clock() - self._fetched_at

    def _lacks(self, key_id: str | None) -> bool:
        """Whether the current keys are too old or lack the key id."""
        unknown = key_id is not None and key_id not in self._keys
        too_old = self._age_s > 2 * self._max_age_s
        return unknown or too_old or self._reloads_done < self._reloads

    def _begin(self) -> None:
        """Starts a fetch, unless one is under way or has just ended."""
        pause_s = min(_UNKNOWN_KEY_PAUSE_S, self._max_age_s)
        if self._fetching is None and self._clock() - self._tried_at >= pause_s:
            # A task of its own: the caller may be cancelled, the fetch must go on.
            self._fetching = asyncio.create_task(self._fetch())

    async def _fetch(self) -> None:
        self._tried_at = self._clock()
        reloads = self._reloads
        try:
            async with asyncio.timeout(_FETCH_TIMEOUT_S):
                self._keys = _parse_keys(await _download(self._url, self._tls))
        except (OSError, httpx.HTTPError, httpx.InvalidURL, ValueError):
            return  # the current keys stay in use for a while
        finally:
            self._fetching = None
            self._reloads_done = reloads
        self._fetched_at = self._clock()

    def reload(self) -> None:
        """As `KeySource.reload`: the next token has them fetched."""
        self._reloads += 1
        self._tried_at = -float("inf")


async def _download(url: str, tls: ssl.SSLContext) -> bytes:
    """The body; raises `httpx.HTTPError`, and `ValueError` when it is too long."""
    origin = httpx.URL(url).netloc, httpx.URL(url).scheme

    async def check_origin(request: httpx.Request) -> None:
        if (request.url.netloc, request.url.scheme) != origin:
            raise ValueError("redirected to another origin, which is not trusted")

    client = httpx.AsyncClient(
        verify=tls,
        timeout=_FETCH_TIMEOUT_S,
        follow_redirects=True,
        event_hooks={"request": [check_origin]},
    )
    body = b""
    async with client, client.stream("GET", url, headers=_UNCOMPRESSED) as response:
        response.raise_for_status()
        async for chunk in response.aiter_raw():
            body += chunk
            if len(body) > _MAX_JWKS_BYTES:
                raise ValueError("the JWK set is too long")
    return body


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
        if key.get("kty") not in KEY_TYPES.values() or "d" in key:
            continue  # skip secrets and unsupported kinds
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
        if described.get("kty") == KEY_TYPES[name]:
            return hashlib.sha256(block).hexdigest(), jwt.PyJWK.from_dict(described, name)
    raise ValueError("a PEM key is of no kind for RS256, ES256 or EdDSA")
