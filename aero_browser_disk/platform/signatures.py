"""Ed25519 signatures (RFC 8032): WebCrypto checks them in a browser, `cryptography` elsewhere."""

from __future__ import annotations

import sys
from typing import Final

from ..errors import SignaturesUnavailableError

PUBLIC_KEY_LENGTH: Final = 32
SIGNATURE_LENGTH: Final = 64


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
        raise SignaturesUnavailableError(
            "install the extra `signatures`: pip install 'aero-browser-disk[signatures]'"
        ) from None
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True
