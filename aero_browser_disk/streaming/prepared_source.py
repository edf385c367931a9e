"""The files of a prepared image on its server: verified, stored, and pinned to one version."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field

from ..errors import DiskError, HttpStatusError, ImageChangedError
from ..formats.prepared.boot_bundle import BootBundle, BundlePart
from ..formats.prepared.chunk_codec import unpack_chunk
from ..formats.prepared.chunk_table import ChunkTable
from ..formats.prepared.layout import PreparedLayout
from ..formats.prepared.manifest import MAX_MANIFEST, Manifest, disk_validator
from ..formats.prepared.stored_files import StoredFile, read_proved
from ..platform.single_flight import SingleFlight
from ..remote.access import Access
from ..remote.remote_image import ImageVersion, Traffic
from ..remote.response_headers import freshness_s
from ..remote.whole_files import WholeFiles
from .kept_files import DOCUMENT, MANIFEST, KeptFiles

_FEW_LEAVES = 64  # pages of the table: those of 8 GiB in chunks of 256 KiB, 1.3 MB


@dataclass(slots=True, eq=False)
class PreparedImage:
    """A prepared image on its server, pinned to the version of one manifest: `StoredFiles`.

    Chunks come from the server. Pages of the table come from the local files if they are there.
    """

    manifest: Manifest
    version: ImageVersion
    fresh_for_s: float
    """Seconds for which the server promises that this version is current."""
    traffic: Traffic
    changed: bool = False
    """Whether the server has another version now."""
    confirmed: bool = False
    """Whether the server responded since the image was opened."""
    _server: WholeFiles = field(kw_only=True)
    _access: Access = field(kw_only=True)
    _kept: KeptFiles = field(kw_only=True)
    _pages: SingleFlight[bytes] = field(default_factory=SingleFlight)
    _loading: asyncio.Task[None] | None = None

    @classmethod
    async def fetch(
        cls, server: WholeFiles, access: Access, kept: KeptFiles, traffic: Traffic
    ) -> tuple[bytes, PreparedImage]:
        """Requests the manifest; returns its bytes unchanged, and the image.

        Raises what `WholeFiles.fetch` and `Manifest.decode` do. The manifest is not stored yet:
        call `keep_manifest` once it is trusted.
        """
        found = await server.fetch("", MAX_MANIFEST)
        encoded = bytes(found.data)
        image = cls.of(encoded, server, access, kept, traffic)
        image.fresh_for_s, image.confirmed = freshness_s(found.headers), True
        return encoded, image

    @classmethod
    def of(
        cls,
        encoded: bytes,
        server: WholeFiles,
        access: Access,
        kept: KeptFiles,
        traffic: Traffic,
    ) -> PreparedImage:
        """The image of a manifest that was stored earlier; raises as `Manifest.decode`."""
        manifest = Manifest.decode(encoded)
        version = ImageVersion(manifest.size, disk_validator(manifest))
        return cls(manifest, version, 0.0, traffic, _server=server, _access=access, _kept=kept)

    def keep_manifest(self, encoded: bytes) -> None:
        """Stores the manifest, for when the server cannot be reached."""
        self._kept.keep(MANIFEST, encoded)

    async def layout(self) -> PreparedLayout:
        """The layout over these files.

        The rest of a small table is loaded in the background: a boot reads all over the disk, and
        would otherwise wait for each missing page.
        """
        layout = PreparedLayout(self.manifest, self, self.load_document)
        if 1 < layout.table.leaf_count <= _FEW_LEAVES:
            self._loading = asyncio.ensure_future(_load_all(layout.table))
        return layout

    def close(self) -> None:
        """Stops what is loaded in the background. Idempotent."""
        if self._loading is not None:
            self._loading.cancel()

    async def read(self, file: StoredFile) -> bytes:
        """As `StoredFiles.read`.

        Raises what `WholeFiles.fetch` does, and `ImageChangedError` when the file is gone because
        the server has another version.
        """
        try:
            found = await self._server.fetch(file.path, file.length)
        except HttpStatusError as error:
            if error.status in (404, 410):
                await self._check_version()
            raise
        self.confirmed = True
        return bytes(found.data)

    async def load_document(self, file: StoredFile, offset: int) -> bytes:
        """A page of the table or the document of the bundle, verified and stored for next time.

        Raises as `read`, and `IntegrityError`.
        """
        kept = self._kept.get(file.digest)
        if kept is not None:
            return kept

        async def load() -> bytes:
            data = await read_proved(self, file, offset)
            self._kept.keep(DOCUMENT, data)
            return data

        return await self._pages.run(file, load)

    async def load_bundle(self) -> BootBundle | None:
        """The boot bundle; None when there is none, or when it cannot be loaded."""
        boot = self.manifest.boot
        if boot is None:
            return None
        try:
            encoded = await self.load_document(boot, 0)
            return BootBundle.decode(encoded, self.manifest.size)
        except (DiskError, ValueError, RecursionError):
            return None

    async def load_part(self, part: BundlePart, length: int) -> bytes:
        """A part of the bundle, unpacked to its `length` bytes.

        Raises as `read`, `IntegrityError`, and `ValueError` when it unpacks to another length.
        """
        return unpack_chunk(part.kind, await read_proved(self, part.file, 0), length)

    async def _check_version(self) -> None:
        """Raises `ImageChangedError` when the server has another version by now."""
        found = Manifest.decode(bytes((await self._server.fetch("", MAX_MANIFEST)).data))
        if found.image_version != self.manifest.image_version:
            self.changed = True
            address = await self._access.address()
            raise ImageChangedError(
                address.shown, self.manifest.image_version.hex(), found.image_version.hex()
            )


async def _load_all(table: ChunkTable) -> None:
    """Loads the leaves of a table, one after the other, until one fails."""
    with contextlib.suppress(DiskError):
        for number in range(table.leaf_count):
            await table.leaf(number)
