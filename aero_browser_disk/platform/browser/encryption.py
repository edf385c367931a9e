"""AES-256-GCM and PBKDF2 by the browser (Web Cryptography §29, §34)."""

from __future__ import annotations

import os
from typing import Any, Final

from ...errors import EncryptionUnavailableError
from ..cipher import KEY_LENGTH, NONCE_LENGTH, OVERHEAD, Cipher, WrongKeyError
from .interop import RejectionError, call_async

_AES: Final = "AES-GCM"
_USES: Final = ["encrypt", "decrypt"]


async def derived_web_cipher(secret: bytes, salt: bytes, iterations: int) -> Cipher:
    """The cipher with the key that PBKDF2 makes of a secret."""
    from pyodide.ffi import to_js

    subtle = _subtle()
    base = await call_async(
        subtle, "importKey", "raw", to_js(secret), "PBKDF2", False, to_js(["deriveKey"])
    )
    derivation = _object(name="PBKDF2", hash="SHA-256", salt=salt, iterations=iterations)
    kind = _object(name=_AES, length=256)
    return _WebCipher(
        await call_async(subtle, "deriveKey", derivation, base, kind, False, to_js(_USES))
    )


async def web_cipher(key: Any) -> Cipher:
    """The cipher with 32 bytes, or with a `CryptoKey` for AES-GCM; raises `ValueError`."""
    from pyodide.ffi import to_js

    if isinstance(key, bytes):
        if len(key) != KEY_LENGTH:
            raise ValueError(f"{KEY_LENGTH} bytes, or a CryptoKey")
        imported = await call_async(
            _subtle(), "importKey", "raw", to_js(key), _AES, False, to_js(_USES)
        )
        return _WebCipher(imported)
    algorithm = getattr(key, "algorithm", None)
    uses = set(getattr(key, "usages", None) or ())
    facts = getattr(algorithm, "name", None), getattr(algorithm, "length", None)
    if facts != (_AES, 256) or not uses.issuperset(_USES):
        raise ValueError("32 bytes, or a CryptoKey of 256 bits for AES-GCM to encrypt and decrypt")
    return _WebCipher(key)


class _WebCipher:
    """A `Cipher` by WebCrypto."""

    def __init__(self, key: Any) -> None:
        self._key = key

    async def encrypt(self, data: bytes, context: bytes) -> bytes:
        nonce = os.urandom(NONCE_LENGTH)
        return nonce + await self._call("encrypt", nonce, data, context)

    async def decrypt(self, encrypted: bytes, context: bytes) -> bytes:
        if len(encrypted) < OVERHEAD:
            raise WrongKeyError("it is too short to be encrypted")
        nonce, rest = encrypted[:NONCE_LENGTH], encrypted[NONCE_LENGTH:]
        try:
            return await self._call("decrypt", nonce, rest, context)
        except RejectionError as error:
            if error.name == "OperationError":
                raise WrongKeyError("it was not encrypted with this key") from error
            raise

    async def _call(self, method: str, nonce: bytes, data: bytes, context: bytes) -> bytes:
        from pyodide.ffi import to_js

        how = _object(name=_AES, iv=nonce, additionalData=context)
        found = await call_async(_subtle(), method, how, self._key, to_js(data))
        return bytes(found.to_bytes())


def _object(**values: Any) -> Any:
    import js
    from pyodide.ffi import to_js

    return to_js(values, dict_converter=js.Object.fromEntries)


def _subtle() -> Any:
    import js

    subtle = getattr(js.crypto, "subtle", None)
    if subtle is None:
        raise EncryptionUnavailableError("the page must be served over HTTPS or from localhost")
    return subtle
