"""Encrypted saves: chunks and the map by AES-256-GCM, with a key of the user's.

The manifest names how the key is derived from a passphrase, and has a check value. That is a random
key for digests, encrypted: so a wrong passphrase is known at once, and the digest of the content,
which a manifest has in the clear, says nothing to whoever has not the key.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from ..errors import InvalidOptionError, SaveKeyError, UnreadableSaveError
from ..platform.cipher import Cipher, WrongKeyError
from ..platform.encryption import cipher_of, derived_cipher
from ..remote.documents import is_whole

ALGORITHM: Final = "AES-256-GCM"
KDF: Final = "PBKDF2-HMAC-SHA-256"
ITERATIONS: Final = 600_000
"""Of PBKDF2 for new saves: what OWASP advises for HMAC-SHA-256."""
MIN_ITERATIONS: Final = 100_000
MAX_ITERATIONS: Final = 10_000_000
_SALT: Final = 16
_DIGEST_KEY: Final = 32
_CHECK: Final = b"aero-disk-save check"
_CHUNK: Final = b"aero-disk-save chunk"
_MAP: Final = b"aero-disk-save map"
_PART: Final = b"aero-disk-save map part"


@dataclass(frozen=True, slots=True)
class Encryption:
    """What a manifest says of its encryption. Without `salt` the key is not of a passphrase."""

    check: bytes
    salt: bytes = b""
    iterations: int = 0

    def document(self) -> dict[str, Any]:
        """As JSON has it."""
        derived: dict[str, Any] = {"kdf": None}
        if self.salt:
            salt = base64.b64encode(self.salt).decode()
            derived = {"kdf": KDF, "iterations": self.iterations, "salt": salt}
        check = base64.b64encode(self.check).decode()
        return {"algorithm": ALGORITHM, **derived, "check": check}

    def encode(self) -> str:
        """The same as a text, for the record of a push."""
        return json.dumps(self.document())

    @classmethod
    def read(cls, document: object, save: str) -> Encryption:
        """Reads an untrusted document.

        Raises `UnreadableSaveError` for another algorithm, and `ValueError`.
        """
        if not isinstance(document, dict):
            raise ValueError("its encryption is not described")  # noqa: TRY004
        kdf = document.get("kdf")
        if document.get("algorithm") != ALGORITHM or kdf not in (KDF, None):
            raise UnreadableSaveError(save, "it is encrypted in another way: use a newer release")
        check = _bytes(document, "check", 28 + _DIGEST_KEY)
        if kdf is None:
            return cls(check)
        iterations = document.get("iterations")
        if not is_whole(iterations) or not MIN_ITERATIONS <= iterations <= MAX_ITERATIONS:
            raise ValueError("its key is derived in too few or too many iterations")
        return cls(check, _bytes(document, "salt", _SALT), iterations)


class SaveCipher:
    """Encrypts and decrypts one save."""

    def __init__(self, cipher: Cipher, digest_key: bytes, encryption: Encryption) -> None:
        self.encryption = encryption
        self._cipher = cipher
        self._digest_key = digest_key

    async def encrypt_chunk(self, packed: bytes) -> bytes:
        """A packed chunk, to be stored."""
        return await self._cipher.encrypt(packed, _CHUNK)

    async def decrypt_chunk(self, stored: bytes) -> bytes:
        """The inverse; raises `ValueError`."""
        return await self._cipher.decrypt(stored, _CHUNK)

    async def decrypt_map(self, stored: bytes, chunks: Iterable[str]) -> bytes:
        """A map as a whole, which fits only these chunks, by their names; raises `ValueError`."""
        return await self._cipher.decrypt(stored, _map_context(chunks))

    async def encrypt_part(self, packed: bytes) -> bytes:
        """A packed part of a map, to be stored."""
        return await self._cipher.encrypt(packed, _PART)

    async def decrypt_part(self, stored: bytes) -> bytes:
        """The inverse; raises `ValueError`."""
        return await self._cipher.decrypt(stored, _PART)

    async def seal(self, chunks: Iterable[str], parts: Iterable[bytes]) -> bytes:
        """What shows that these chunks and parts of a map belong together, in this order."""
        return await self._cipher.encrypt(b"", _seal_context(chunks, parts))

    async def check_seal(self, seal: bytes, chunks: Iterable[str], parts: Iterable[bytes]) -> None:
        """Raises `ValueError` if they do not."""
        if await self._cipher.decrypt(seal, _seal_context(chunks, parts)):
            raise ValueError("its seal has content")

    def digest(self, digest: str) -> str:
        """A digest of content as the manifest has it."""
        return hmac.new(self._digest_key, digest.encode(), "sha256").hexdigest()


class SaveSecret:
    """A passphrase, or a key: 32 bytes, or a `CryptoKey` in a browser."""

    def __init__(self, passphrase: str | None, key: object | None) -> None:
        """Raises `InvalidOptionError` unless exactly one is there."""
        if passphrase is not None and key is not None:
            raise InvalidOptionError("key", "given", "left out next to a passphrase")
        if passphrase == "":
            raise InvalidOptionError("passphrase", "an empty one", "a text")
        self._passphrase = passphrase
        self._key = key
        self._derived: dict[tuple[bytes, int], Cipher] = {}

    async def begin(self) -> SaveCipher:
        """For a new save; raises `InvalidOptionError` and `EncryptionUnavailableError`."""
        salt, iterations = b"", 0
        if self._passphrase is not None:
            salt, iterations = os.urandom(_SALT), ITERATIONS
        cipher = await self._cipher(salt, iterations)
        digest_key = os.urandom(_DIGEST_KEY)
        check = await cipher.encrypt(digest_key, _CHECK)
        return SaveCipher(cipher, digest_key, Encryption(check, salt, iterations))

    async def open(self, encryption: Encryption, save: str) -> SaveCipher:
        """For a save that is there.

        Raises `SaveKeyError`, `InvalidOptionError` and `EncryptionUnavailableError`.
        """
        if bool(encryption.salt) != (self._passphrase is not None):
            needed = "needs its passphrase" if encryption.salt else "needs its key, no passphrase"
            raise SaveKeyError(save, needed)
        cipher = await self._cipher(encryption.salt, encryption.iterations)
        try:
            digest_key = await cipher.decrypt(encryption.check, _CHECK)
        except WrongKeyError:
            given = "passphrase" if encryption.salt else "key"
            raise SaveKeyError(save, f"has another {given}") from None
        return SaveCipher(cipher, digest_key, encryption)

    async def _cipher(self, salt: bytes, iterations: int) -> Cipher:
        known = self._derived.get((salt, iterations))
        if known is None:
            if self._passphrase is not None:
                known = await derived_cipher(self._passphrase, salt, iterations)
            else:
                try:
                    known = await cipher_of(self._key)
                except ValueError as error:
                    shown = type(self._key).__name__
                    raise InvalidOptionError("key", shown, str(error)) from None
            self._derived[salt, iterations] = known
        return known


async def opened_cipher(
    secret: SaveSecret | None, encryption: Encryption | None, save: str
) -> SaveCipher | None:
    """The cipher of a save that is there; None if it is not encrypted, and nobody expects that.

    Raises `SaveKeyError`, also for a save that is not encrypted when it should be.
    """
    if encryption is None:
        if secret is not None:
            raise SaveKeyError(save, "is not encrypted")
        return None
    if secret is None:
        raise SaveKeyError(save, "is encrypted: it needs its passphrase or key")
    return await secret.open(encryption, save)


def read_encryption(encoded: str, save: str) -> Encryption | None:
    """What `Encryption.encode` wrote; None for an empty text, or one that cannot be read."""
    try:
        return Encryption.read(json.loads(encoded), save) if encoded else None
    except (ValueError, UnreadableSaveError):
        return None


def _map_context(chunks: Iterable[str]) -> bytes:
    """So nobody who has not the key can put one chunk in the place of another."""
    names = hashlib.sha256()
    for name in chunks:
        names.update(bytes.fromhex(name))
    return _MAP + b"\n" + names.digest()


def _seal_context(chunks: Iterable[str], parts: Iterable[bytes]) -> bytes:
    digests = hashlib.sha256()
    for part in parts:
        digests.update(hashlib.sha256(part).digest())
    return _map_context(chunks) + digests.digest()


def _bytes(document: Mapping[str, Any], name: str, length: int) -> bytes:
    value = document.get(name)
    try:
        found = base64.b64decode(value, validate=True) if isinstance(value, str) else b""
    except (ValueError, binascii.Error):
        found = b""
    if len(found) != length:
        raise ValueError(f"{name} of its encryption has not {length} bytes")
    return found
