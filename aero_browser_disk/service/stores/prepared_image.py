"""One version of a prepared image in a store: the disk that its chunks hold, read by range."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final

from aero_browser_disk.errors import DamagedImageError, IntegrityError, UnsupportedImageError
from aero_browser_disk.formats.image_format import PREPARED
from aero_browser_disk.formats.prepared.boot_bundle import BootBundle
from aero_browser_disk.formats.prepared.chunk_table import ChunkTable, Entry, depth_of
from aero_browser_disk.formats.prepared.manifest import Manifest
from aero_browser_disk.formats.prepared.stored_files import StoredFile, StoredFiles, read_proved
from aero_browser_disk.formats.zstandard import zstd_module

from .image_store import Image, ImageNotFoundError, StoreError, read_in_chunks
from .unpacked_chunks import UnpackedChunks

# Entries of table pages that are cached for an image, about 200 bytes each.
_CACHED_ENTRIES: Final = 8192
# Of the document of a boot bundle that a boot profile is made of.
_LARGEST_BUNDLE: Final = 1 << 20


class MissingFileError(StoreError):
    """A file that the manifest or its table names is not there."""


def decoded_manifest(encoded: bytes) -> Manifest:
    """The manifest; raises `ImageNotFoundError` with the reason if it cannot be served."""
    try:
        manifest = Manifest.decode(encoded)
        if manifest.compression == "zstd":
            zstd_module(PREPARED)
    except (DamagedImageError, UnsupportedImageError) as error:
        raise ImageNotFoundError(str(error)) from None
    return manifest


class PreparedDisk:
    """The `ImageReader` of a prepared image, whose files come from `files`.

    `check_version` raises `VersionChangedError` if the image has another manifest by now. Bytes are
    those of this manifest or an error: each file is verified by its name.
    """

    def __init__(
        self,
        image: Image,
        files: StoredFiles,
        unpacked: UnpackedChunks,
        check_version: Callable[[], Awaitable[None]],
    ) -> None:
        assert image.prepared is not None
        self.image = image
        self._manifest = manifest = image.prepared.manifest
        self._files = files
        self._unpacked = unpacked
        self._check_version = check_version
        pages = _CACHED_ENTRIES // manifest.page_entries
        pages = max(pages, depth_of(manifest.chunk_count, manifest.page_entries))
        self._table = ChunkTable(manifest, partial(read_proved, files), pages_cached=pages)
        self._boot_blocks: tuple[int, tuple[int, ...]] | None = None

    async def read(self, start: int, stop: int) -> bytes:
        """As `ImageReader.read`. Zeros are not read."""
        parts = []
        chunk_size = self._manifest.chunk_size
        try:
            with self._failures():
                while start < stop:
                    number, begin = divmod(start, chunk_size)
                    end = min(begin + stop - start, chunk_size)
                    entry = await self._table.entry(number)
                    if entry.file is None:
                        parts.append(bytes(end - begin))
                    else:
                        # A copy: a slow client must not keep the whole chunk in memory.
                        data = await self._chunk(number, entry, entry.file)
                        parts.append(data[begin:end])
                    start += end - begin
        except MissingFileError:
            await self._check_version()
            raise
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def chunks(self, start: int, stop: int) -> AsyncGenerator[bytes]:
        """As `ImageReader.chunks`."""
        return read_in_chunks(self.read, start, stop)

    async def boot_blocks(self) -> tuple[int, tuple[int, ...]]:
        """The block size of the boot bundle and its blocks, in order; no blocks without one.

        Raises what `read` does.
        """
        if self._boot_blocks is None:
            file = self._manifest.boot
            found: tuple[int, tuple[int, ...]] = 0, ()
            if file is not None and file.length <= _LARGEST_BUNDLE:
                with self._failures():
                    encoded = await read_proved(self._files, file, 0)
                    bundle = BootBundle.decode(encoded, self._manifest.size)
                found = bundle.block_size, bundle.blocks
            self._boot_blocks = found
        return self._boot_blocks

    async def _chunk(self, number: int, entry: Entry, file: StoredFile) -> bytes:
        chunk_size = self._manifest.chunk_size
        length = self._manifest.chunk_length(number)
        load = partial(read_proved, self._files, file, number * chunk_size)
        return await self._unpacked.get((entry.kind, file, length), chunk_size, load)

    @contextmanager
    def _failures(self) -> Iterator[None]:
        """Maps errors of damaged files."""
        try:
            yield
        except IntegrityError as error:
            where = f"the {error.length} bytes stored for offset {error.offset}"
            raise StoreError(f"{self.image.entry.id}: {where} are damaged") from None
        except (DamagedImageError, ValueError) as error:
            raise StoreError(f"{self.image.entry.id}: {error}") from None
