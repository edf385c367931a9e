"""What happens to a chunk and a map between this machine and the server: nothing, or encryption."""

from __future__ import annotations

from typing import Final, Protocol

from .save_manifest import SaveEncryption

CHUNK: Final = b"aero-disk-save chunk"
MAP: Final = b"aero-disk-save map"
"""What the sealed bytes are, so that one is never taken for another."""


class Sealing(Protocol):
    """Seals bytes before they leave, and opens them again."""

    @property
    def encryption(self) -> SaveEncryption | None:
        """What the manifest says of it."""

    async def seal(self, data: bytes, what: bytes) -> bytes:
        """The bytes to store; the same for the same data."""

    async def open(self, sealed: bytes, what: bytes) -> bytes:
        """The data; raises `ValueError` when they were not sealed by this."""


class Unsealed:
    """Leaves the bytes as they are."""

    encryption = None

    async def seal(self, data: bytes, what: bytes) -> bytes:
        return data

    async def open(self, sealed: bytes, what: bytes) -> bytes:
        return sealed
