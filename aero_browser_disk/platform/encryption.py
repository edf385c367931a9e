"""AES-256-GCM, and keys from passphrases: WebCrypto in a browser, `cryptography` elsewhere.

NIST SP 800-38D; PBKDF2 is RFC 8018 §5.2.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import sys
import unicodedata
from typing import Final

from ..errors import EncryptionUnavailableError
from .cipher import KEY_LENGTH, NONCE_LENGTH, OVERHEAD, Cipher, WrongKeyError

_MISSING: Final = "install the extra `encryption`: pip install 'aero-browser-disk[encryption]'"


async def derived_cipher(passphrase: str, salt: bytes, iterations: int) -> Cipher:
    """The cipher with the key that PBKDF2-HMAC-SHA-256 makes of a passphrase.

    It is taken in Unicode's form NFC, as UTF-8. Raises `EncryptionUnavailableError`.
    """
    secret = unicodedata.normalize("NFC", passphrase).encode()
    if sys.platform == "emscripten":
        from .browser.encryption import derived_web_cipher

        return await derived_web_cipher(secret, salt, iterations)
    derived = await asyncio.to_thread(hashlib.pbkdf2_hmac, "sha256", secret, salt, iterations)
    return _CryptographyCipher(derived)


async def cipher_of(key: object) -> Cipher:
    """The cipher with a key of 32 bytes, or in a browser with a `CryptoKey` for AES-GCM.

    Raises `ValueError` for anything else, and `EncryptionUnavailableError`.
    """
    if isinstance(key, memoryview | bytearray):
        key = bytes(key)
    if sys.platform == "emscripten":
        from .browser.encryption import web_cipher

        return await web_cipher(key)
    if not isinstance(key, bytes) or len(key) != KEY_LENGTH:
        raise ValueError(f"{KEY_LENGTH} bytes")
    return _CryptographyCipher(key)


class _CryptographyCipher:
    """A `Cipher` by the package `cryptography`."""

    def __init__(self, key: bytes) -> None:
        try:
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        except ImportError:
            raise EncryptionUnavailableError(_MISSING) from None
        self._cipher = AESGCM(key)

    async def encrypt(self, data: bytes, context: bytes) -> bytes:
        nonce = os.urandom(NONCE_LENGTH)
        return nonce + self._cipher.encrypt(nonce, data, context)

    async def decrypt(self, encrypted: bytes, context: bytes) -> bytes:
        from cryptography.exceptions import InvalidTag

        if len(encrypted) < OVERHEAD:
            raise WrongKeyError("it is too short to be encrypted")
        nonce, rest = encrypted[:NONCE_LENGTH], encrypted[NONCE_LENGTH:]
        try:
            return self._cipher.decrypt(nonce, rest, context)
        except InvalidTag:
            raise WrongKeyError("it was not encrypted with this key") from None
