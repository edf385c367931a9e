"""The content of one generation of a save: its manifest, its map, and verified chunks."""

from __future__ import annotations

import hashlib
from typing import Final

from ..disk import DiskInfo
from ..errors import (
    DamagedSaveError,
    DiskError,
    NoSuchSaveError,
    SaveBaseError,
    UnreadableSaveError,
    UnsupportedImageError,
)
from .encryption import SaveCipher
from .map_parts import read_map
from .packing import unpack
from .pushed import sha256_of
from .save_manifest import SaveManifest
from .save_map import CHUNK_SECTORS, SECTOR, SaveMap
from .save_requests import SaveRequests

_LARGEST: Final = CHUNK_SECTORS * SECTOR


class SavedContent:
    """What a manifest describes. Chunks are verified by their names before they are used."""

    def __init__(
        self,
        requests: SaveRequests,
        save: str,
        name: str,
        encoded: bytes,
        manifest: SaveManifest,
        cipher: SaveCipher | None = None,
    ) -> None:
        self.manifest = manifest
        self.encoded = encoded
        """The bytes of the manifest."""
        self.etag = sha256_of(encoded)
        """Their digest."""
        self.name = name
        self._requests = requests
        self._save = save
        self._cipher = cipher

    def check_base(self, found: DiskInfo) -> None:
        """Raises `SaveBaseError` unless the save was made over that version of its image."""
        base = self.manifest.base
        if (base.version, base.size) != (found.version, found.size):
            raise SaveBaseError(self.name, base.version, found.version)

    async def map(self) -> SaveMap:
        """The map; raises `DamagedSaveError`, `UnreadableSaveError`."""
        try:
            return await read_map(self.manifest, self._cipher)
        except (ValueError, UnsupportedImageError) as error:
            raise self._refused(error, "its map") from error

    async def chunk(self, number: int) -> bytes:
        """The content of a chunk from the server: `fetch`, then `unpack`."""
        return await self.unpack(number, await self.fetch(number))

    async def fetch(self, number: int) -> bytes:
        """The stored bytes of a chunk; raises `DamagedSaveError`, and what the request does."""
        stored = self.manifest.chunks[number]
        reply = await self._requests.chunk(self._save, stored.sha256, stored.length)
        if reply.status == 404:
            raise DamagedSaveError(self.name, f"its chunk {stored.sha256[:12]} is not there")
        return self.verified(number, reply.body)

    def verified(self, number: int, found: bytes) -> bytes:
        """The same bytes; raises `DamagedSaveError` unless they are those of the chunk."""
        stored = self.manifest.chunks[number]
        is_right = len(found) == stored.length
        if not is_right or hashlib.sha256(found).hexdigest() != stored.sha256:
            raise DamagedSaveError(
                self.name, f"its chunk {stored.sha256[:12]} is not what its name says"
            )
        return found

    async def unpack(self, number: int, stored: bytes) -> bytes:
        """The content of a chunk; raises `DamagedSaveError`, `UnreadableSaveError`."""
        try:
            if self._cipher is not None:
                stored = await self._cipher.decrypt_chunk(stored)
            return unpack(stored, _LARGEST)
        except (ValueError, UnsupportedImageError) as error:
            name = self.manifest.chunks[number].sha256[:12]
            raise self._refused(error, f"its chunk {name}") from error

    def has_digest(self, digest: str) -> bool:
        """Whether the content with this digest is that of the manifest."""
        expected = digest if self._cipher is None else self._cipher.digest(digest)
        return expected == self.manifest.digest

    def part(self, content: bytes, offset: int, count: int) -> bytes:
        """Some sectors of a chunk's content; raises `DamagedSaveError` when there are fewer."""
        return self.part_bytes(content, offset * SECTOR, count * SECTOR)

    def part_bytes(self, content: bytes, start: int, length: int) -> bytes:
        """The same in bytes."""
        found = content[start : start + length]
        if len(found) != length:
            raise DamagedSaveError(self.name, "a chunk has less content than its map says")
        return found

    def _refused(self, error: Exception, what: str) -> DiskError:
        if isinstance(error, UnsupportedImageError):
            return UnreadableSaveError(self.name, str(error))
        return DamagedSaveError(self.name, f"{what}: {error}")


async def fetch_content(
    requests: SaveRequests, save: str, name: str, generation: int | None
) -> tuple[bytes, SaveManifest]:
    """The manifest of a generation, of the current one without a number, as bytes and read.

    Raises `NoSuchSaveError`, `DamagedSaveError`, `UnreadableSaveError`, and what the request does.
    """
    reply = await requests.manifest(save, generation)
    if reply.status == 404:
        raise NoSuchSaveError(name)
    return reply.body, SaveManifest.decode(reply.body, name)
