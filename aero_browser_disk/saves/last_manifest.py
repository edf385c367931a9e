"""The manifest of the generation that an overlay is based on, and how the next one follows it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ..errors import DamagedSaveError, UnreadableSaveError, UnsupportedImageError
from .encryption import SaveCipher
from .manifest_change import manifest_change
from .map_parts import next_parts
from .pushed import sha256_of
from .save_manifest import SaveManifest
from .save_map import SaveMap


class LastManifest:
    """A manifest that the server has, or none: then the next one is sent as a whole."""

    def __init__(self, encoded: bytes = b"", name: str = "") -> None:
        self._manifest = _read(encoded, name) if encoded else None
        self.encoded = b"" if self._manifest is None else encoded
        self.digest = sha256_of(encoded) if self.encoded else ""
        chunks = () if self._manifest is None else self._manifest.chunks
        self.chunks: Mapping[bytes, int] = {
            bytes.fromhex(chunk.sha256): number for number, chunk in enumerate(chunks)
        }
        """The numbers of its chunks, by SHA-256. The server keeps them while it is current."""

    async def next_parts(
        self, rows: SaveMap, size: int, cipher: SaveCipher | None
    ) -> tuple[bytes, ...]:
        """The parts of the next map, of a disk of `size` bytes; raises `SaveTooLargeError`."""
        before = self._manifest
        if before is not None and (before.base.size, before.encryption) == (
            size,
            None if cipher is None else cipher.encryption,
        ):
            try:
                return await next_parts(rows, before, cipher)
            except (ValueError, UnsupportedImageError):
                pass  # written anew as a whole
        return await next_parts(rows, None, cipher)

    def change(self, new: SaveManifest) -> bytes | None:
        """The body that makes the next one of this; None where it must be sent as a whole."""
        if self._manifest is None:
            return None
        return manifest_change(self.encoded, self._manifest, new)


def _read(encoded: bytes, name: str) -> SaveManifest | None:
    try:
        return SaveManifest.decode(encoded, name)
    except (DamagedSaveError, UnreadableSaveError):
        return None


NO_MANIFEST: Final = LastManifest()
