"""What encrypts, whoever implements it: AES-256-GCM (NIST SP 800-38D)."""

from __future__ import annotations

from typing import Final, Protocol

KEY_LENGTH: Final = 32
NONCE_LENGTH: Final = 12
OVERHEAD: Final = NONCE_LENGTH + 16
"""Bytes that encryption adds: the nonce and the tag."""


class WrongKeyError(ValueError):
    """The key is another one, or the bytes were changed."""


class Cipher(Protocol):
    """Encrypts with one key, by AES-256-GCM with a random nonce each time.

    `context` must be the same for both: what was encrypted for one purpose is no good for another.
    """

    async def encrypt(self, data: bytes, context: bytes) -> bytes:
        """The nonce, the encrypted data and the tag."""

    async def decrypt(self, encrypted: bytes, context: bytes) -> bytes:
        """What was encrypted; raises `WrongKeyError`."""
