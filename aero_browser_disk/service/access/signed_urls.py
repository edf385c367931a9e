"""Signed URLs: an HMAC over version, path, expiry, scope, key id, bearer and owner."""

from __future__ import annotations

import base64
import binascii
import hmac
import re
import time
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Final
from urllib.parse import urlencode

from ..http.request import SIGNATURE
from .authorization import Action, AuthRequest, Grant, RefusedError

_VERSION: Final = "1"
_KEY_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_BEARER: Final = re.compile(r"[A-Za-z0-9_-]{0,32}")
_EXPIRY: Final = re.compile(r"[0-9]{1,12}")
# The length of SHA-256's output.
_MIN_KEY_BYTES: Final = 32
# Verified URLs, cached until the keys change.
_REMEMBERED: Final = 4096
# What is signed, as fields of the query.
_SAID: Final = ("v", "exp", "scope", "kid", "for", "of")
_SCOPES: Final[Mapping[str, frozenset[Action]]] = {
    "bytes": frozenset(("bytes",)),
    "read": frozenset(("bytes", "meta")),
}


@dataclass(frozen=True, slots=True)
class SigningKeys:
    """Secrets by key id. `current` signs; all of them verify, which is what makes rotation safe."""

    current: str
    keys: Mapping[str, bytes] = field(repr=False)


def read_signing_keys(file: Path) -> SigningKeys:
    """The keys of a TOML file: `current = "ID"`, and `[keys]` with base64url by id.

    Raises `OSError`, and `ValueError` with a message that has no secrets.
    """
    with file.open("rb") as opened:
        try:
            document = tomllib.load(opened)
        except ValueError as error:
            raise ValueError(f"{file.name} is not TOML: {_place(error)}") from None
    current, written = document.get("current"), document.get("keys")
    if not isinstance(written, dict) or not isinstance(current, str) or current not in written:
        raise ValueError(f'{file.name}: "current" must name one of [keys]')
    keys = {}
    for key_id, text in written.items():
        if not _KEY_ID.fullmatch(key_id):
            raise ValueError(f"{file.name}: a key id has 1 to 64 of A-Z a-z 0-9 . _ -")
        key = _decode(text) if isinstance(text, str) else None
        if key is None or len(key) < _MIN_KEY_BYTES:
            raise ValueError(
                f"{file.name}: keys.{key_id} must be base64url of {_MIN_KEY_BYTES} bytes or more"
            )
        keys[key_id] = key
    return SigningKeys(current, keys)


class SignedUrls:
    """Signs and verifies URLs.

    `bearer` distinguishes those who got one. With `owner` (see `Grant`) a URL is valid while the
    image is that owner's; without, as operators sign it, for whatever image has the id.
    """

    def __init__(self, file: Path, clock: Callable[[], float] = time.time) -> None:
        self._file = file
        self._clock = clock
        self._keys = read_signing_keys(file)
        # Clients use a URL thousands of times. Refusals are not cached.
        self._verified = lru_cache(_REMEMBERED)(self._verify)

    def reload(self) -> None:
        """Reads the keys again; raises `ValueError` or `OSError` and keeps those it has."""
        self._keys = read_signing_keys(self._file)
        self._verified.cache_clear()

    def sign(
        self, image_id: str, lifetime_s: int, scope: str, bearer: str = "", owner: str = ""
    ) -> tuple[str, int]:
        """The query of a signed URL, and when it expires, in seconds since the epoch."""
        expires_at = int(self._clock()) + lifetime_s
        key_id = self._keys.current
        said = str(expires_at), scope, key_id, bearer, owner
        mac = _mac(self._keys.keys[key_id], image_id, *said)
        fields = {"v": _VERSION, "exp": expires_at, "scope": scope, "kid": key_id}
        if bearer:
            fields["for"] = bearer
        if owner:
            fields["of"] = owner
        return urlencode({**fields, SIGNATURE: _encode(mac)}), expires_at

    async def examine(self, asked: AuthRequest) -> Grant | None:
        """As `Authority.examine`."""
        query = asked.query
        if SIGNATURE not in query:
            return None
        said = tuple(query.get(name, "") for name in _SAID)
        grant = self._verified(asked.image_id, said, query[SIGNATURE])
        if self._clock() >= int(query["exp"]):
            raise RefusedError("expired", "The URL has expired.")
        return grant

    def _verify(self, image_id: str | None, said: tuple[str, ...], signature: str) -> Grant:
        """What the URL lets its bearer do until it expires; raises `RefusedError`."""
        version, expires, scope, key_id, bearer, owner = said
        key, given = self._keys.keys.get(key_id), _decode(signature)
        well_formed = (
            version == _VERSION
            and _EXPIRY.fullmatch(expires)
            and scope in _SCOPES
            and _BEARER.fullmatch(bearer)
            and _BEARER.fullmatch(owner)
        )
        if not well_formed or given is None or image_id is None:
            raise RefusedError("invalid_signature", "The URL's signature is invalid.")
        if key is None:
            raise RefusedError("unknown_key", "The key that signed the URL is not in use.")
        right = _mac(key, image_id, expires, scope, key_id, bearer, owner)
        if not hmac.compare_digest(given, right):
            raise RefusedError("invalid_signature", "The URL's signature is invalid.")
        client = f"url:{bearer}" if bearer else f"url:{_encode(right)[:22]}"
        return Grant(client, frozenset((image_id,)), _SCOPES[scope], owner=owner or None)


def _mac(
    key: bytes, image_id: str, expires: str, scope: str, key_id: str, bearer: str, owner: str
) -> bytes:
    # No field can contain a line break, so the text is unambiguous.
    path = f"/disks/{image_id}/bytes"
    text = f"{_VERSION}\n{path}\n{expires}\n{scope}\n{key_id}\n{bearer}"
    if owner:
        text += f"\n{owner}"
    return hmac.digest(key, text.encode(), "sha256")


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes | None:
    try:
        raw = text.encode("ascii")
        return base64.b64decode(raw + b"=" * (-len(raw) % 4), b"-_", validate=True)
    except (ValueError, binascii.Error):
        return None


def _place(error: ValueError) -> str:
    """Where in the file; the rest of the message may quote a secret."""
    found = re.search(r"\(at [^)]*\)", str(error))
    return found[0] if found else "somewhere"
