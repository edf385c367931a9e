"""Ed25519 signatures (RFC 8032): WebCrypto checks them in a browser, `cryptography` elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Final

from ..errors import SignaturesUnavailableError

PUBLIC_KEY_LENGTH: Final = 32
SIGNATURE_LENGTH: Final = 64
_MISSING = "install the extra `signatures`: pip install 'aero-browser-disk[signatures]'"


async def verify_ed25519(public_key: bytes, signature: bytes, message: bytes) -> bool:
    """Whether `signature` is of `message` by the owner of `public_key` (RFC 8032 §5.1.7).

    A key has 32 bytes and a signature 64; anything else verifies nothing. Raises
    `SignaturesUnavailableError` where nothing can check one.
    """
    if len(public_key) != PUBLIC_KEY_LENGTH or len(signature) != SIGNATURE_LENGTH:
        return False
    if sys.platform == "emscripten":
        from .browser.signatures import verify_by_web_crypto

        return await verify_by_web_crypto(public_key, signature, message)
    return _verify_by_cryptography(public_key, signature, message)


def _verify_by_cryptography(public_key: bytes, signature: bytes, message: bytes) -> bool:
    try:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    except ImportError:
        raise SignaturesUnavailableError(_MISSING) from None
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def load_signing_key(encoded: bytes) -> Callable[[bytes], bytes]:
    """What signs messages by the Ed25519 private key in a PEM file without a password (CPython).

    Raises `ValueError` when it is none, and `SignaturesUnavailableError` as `verify_ed25519`.
    """
    try:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
    except ImportError:
        raise SignaturesUnavailableError(_MISSING) from None
    try:
        key = load_pem_private_key(encoded, password=None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, Ed25519PrivateKey):  # what the file holds is a secret: do not quote it
        raise ValueError("not an Ed25519 private key in PEM without a password")  # noqa: TRY004
    return key.sign
