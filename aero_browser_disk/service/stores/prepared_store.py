"""The prepared images of a store, as the disks that they hold, and their files.

A prepared image is an entry of the store whose file is the manifest. This wraps the store that has
the files; all other images pass through.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import sys
from collections import OrderedDict
from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager, aclosing, nullcontext
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Final

from aero_browser_disk.formats.prepared.manifest import MAX_MANIFEST
from aero_browser_disk.formats.prepared.stored_files import FILES_FOLDER, StoredFile
from aero_browser_disk.platform.concurrent_tasks import all_of
from aero_browser_disk.remote.byte_ranges import EntityTag
from aero_browser_disk.streaming.boot_profile import BootProfile

from .image_store import (
    BOOT_PROFILE_ENDING,
    Image,
    ImageNotFoundError,
    ImageStore,
    MayRead,
    OpenImage,
    PreparedManifest,
    StoreError,
    VersionChangedError,
    described,
)
from .manifest import ManifestEntry
from .prepared_image import MissingFileError, PreparedDisk, decoded_manifest
from .unpacked_chunks import UnpackedChunks

# Images whose manifest and table pages are cached, and files that are known to be whole.
_REMEMBERED_IMAGES: Final = 32
_REMEMBERED_FILES: Final = 16384
# Bytes of the largest file with the name of its content.
_LARGEST_FILE: Final = 8 << 20
_FILE: Final = re.compile(rf"/{FILES_FOLDER}/([0-9a-f]{{2}})/(\1[0-9a-f]{{62}})")
# Concurrent reads of manifests for the list of images.
_LISTING_READS: Final = 16


def file_path(digest: str) -> str:
    """The path that `PreparedStore.open` has a file of a prepared image at, by its SHA-256."""
    return f"/{FILES_FOLDER}/{digest[:2]}/{digest}"


@dataclass(frozen=True, slots=True)
class _Known:
    """A prepared image, the version of its manifest's file, and what reads its disk."""

    manifest_etag: EntityTag
    opened: OpenImage
    disk: PreparedDisk


class PreparedStore:
    """The images of `store`; `cache_bytes` of unpacked chunks are cached.

    `open` gives the disk of a prepared image: its size and bytes, and a validator that names the
    content. Its files are opened by their path (`file_path`), verified by their name, and its boot
    bundle is a boot profile too, unless it has another. An image with an invalid manifest is not
    found. A file that is damaged or missing is a `StoreError`.
    """

    def __init__(self, store: ImageStore, cache_bytes: int) -> None:
        self._store = store
        self._unpacked = UnpackedChunks(cache_bytes)
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._whole: OrderedDict[tuple[str, str], None] = OrderedDict()
        # Why prepared images that were asked for cannot be served.
        self._faults: dict[str, str] = {}

    def open(
        self, image_id: str, sidecar: str = "", *, may_read: MayRead | None = None
    ) -> AbstractAsyncContextManager[OpenImage]:
        """As `ImageStore.open`."""
        if sidecar.startswith("/") and not _FILE.fullmatch(sidecar):
            sidecar = file_path("")  # names no file
        return _Opening(self, self._store, image_id, sidecar, may_read)

    async def images(self, *, may_read: MayRead | None = None) -> list[Image]:
        """As `ImageStore.images`."""
        slots = asyncio.Semaphore(_LISTING_READS)

        async def describe(image: Image) -> Image | None:
            if image.entry.layout == "raw":
                return image
            async with slots:
                try:
                    async with self.open(image.entry.id, may_read=may_read) as opened:
                        return opened.image
                except (ImageNotFoundError, VersionChangedError):
                    return None

        found = await all_of(map(describe, await self._store.images(may_read=may_read)))
        return [image for image in found if image is not None]

    async def refresh(self) -> None:
        """As `ImageStore.refresh`."""
        await self._store.refresh()

    async def ready(self) -> Mapping[str, str]:
        """As `ImageStore.ready`."""
        unusable = await self._store.ready()
        for image_id in [*self._faults]:
            try:
                async with self.open(image_id, may_read=lambda _: True):
                    pass
            except ImageNotFoundError as error:
                if not str(error):  # it is no image any more
                    self._faults.pop(image_id, None)
        return self._faults | dict(unusable)

    def unusable(self) -> Mapping[str, str]:
        """As `ImageStore.unusable`."""
        return self._store.unusable()

    def close(self) -> None:
        """As `ImageStore.close`."""
        self._unpacked.close()
        self._known.clear()
        self._store.close()

    async def disk_of(self, file: OpenImage) -> OpenImage:
        """The disk of a prepared image whose manifest is open."""
        entry, etag = file.image.entry, file.image.etag
        known = self._known.get(entry.id)
        if known is None or known.manifest_etag != etag or known.opened.image.entry != entry:
            try:
                known = self._known[entry.id] = await self._read(file)
            except ImageNotFoundError as error:
                self._faults[entry.id] = str(error)
                raise
            while len(self._known) > _REMEMBERED_IMAGES:
                self._known.popitem(last=False)
        self._known.move_to_end(entry.id)
        self._faults.pop(entry.id, None)
        return known.opened

    async def _read(self, file: OpenImage) -> _Known:
        image, entry = file.image, file.image.entry
        encoded = await _bytes(file, MAX_MANIFEST + 1)
        manifest = decoded_manifest(encoded)
        disk_image = described(
            entry,
            manifest.size,
            EntityTag(manifest.image_version.hex()),
            image.last_modified_s,
            PreparedManifest(manifest, encoded),
        )

        async def check_version() -> None:
            try:
                async with self._store.open(entry.id, may_read=_same(entry)) as now:
                    # A store may have remembered it: reading shows whether it is still there.
                    async with aclosing(now.reader.chunks(0, now.image.size)) as chunks:
                        await anext(chunks, b"")
                    changed = now.image.etag != image.etag
            except ImageNotFoundError:
                changed = True
            if changed:
                raise VersionChangedError

        files = _Files(self._store, entry)
        disk = PreparedDisk(disk_image, files, self._unpacked, check_version)
        return _Known(image.etag, OpenImage(disk_image, disk), disk)

    async def verified(self, file: OpenImage, path: str) -> OpenImage:
        """The open file, which has the content that its name says; raises `StoreError`."""
        image, digest = file.image, path.rpartition("/")[2]
        if not 0 < image.size <= _LARGEST_FILE:
            raise ImageNotFoundError
        key = image.entry.file, str(image.etag)
        if key not in self._whole:

            async def is_whole() -> bool:
                data = await _bytes(file)
                return await self._unpacked.in_thread(
                    lambda: hashlib.sha256(data).hexdigest() == digest
                )

            if not await self._unpacked.in_turn(image.size, is_whole):
                raise StoreError(f"{image.entry.id}: {path[1:]} is damaged")
            self._whole[key] = None
            while len(self._whole) > _REMEMBERED_FILES:
                self._whole.popitem(last=False)
        self._whole.move_to_end(key)
        return replace(file, image=replace(image, etag=EntityTag(digest)), path=None)

    async def boot_profile(self, image_id: str, may_read: MayRead | None) -> OpenImage | None:
        """The boot bundle of a prepared image as a boot profile; None without one."""
        async with self.open(image_id, may_read=may_read) as opened:
            image = opened.image
        known = self._known.get(image_id)
        if image.prepared is None or known is None or known.opened.image != image:
            return None
        block_size, blocks = await known.disk.boot_blocks()
        if not blocks:
            return None
        encoded = BootProfile(image.size, str(image.etag), block_size, blocks).encode()
        etag = EntityTag(hashlib.sha256(encoded).hexdigest())
        entry = replace(image.entry, file=image.entry.file + BOOT_PROFILE_ENDING, layout="raw")
        made = Image(entry, len(encoded), etag, image.last_modified_s)
        return OpenImage(made, _InMemory(encoded))


class _Opening:
    """As `ImageStore.open`; cheap for raw images, of which thousands are opened in a second."""

    __slots__ = ("_image_id", "_images", "_inner", "_may_read", "_sidecar")

    def __init__(
        self,
        images: PreparedStore,
        store: ImageStore,
        image_id: str,
        sidecar: str,
        may_read: MayRead | None,
    ) -> None:
        self._images = images
        self._inner: AbstractAsyncContextManager[OpenImage] = store.open(
            image_id, sidecar, may_read=may_read
        )
        self._image_id = image_id
        self._sidecar = sidecar
        self._may_read = may_read

    async def __aenter__(self) -> OpenImage:
        try:
            opened = await self._inner.__aenter__()
        except ImageNotFoundError:
            if self._sidecar != BOOT_PROFILE_ENDING:
                raise
            made = await self._images.boot_profile(self._image_id, self._may_read)
            if made is None:
                raise
            self._inner = nullcontext(made)
            return made
        is_disk = not self._sidecar and opened.image.entry.layout == "prepared"
        if not is_disk and not self._sidecar.startswith("/"):
            return opened
        try:
            if is_disk:
                return await self._images.disk_of(opened)
            return await self._images.verified(opened, self._sidecar)
        except BaseException:
            await self._inner.__aexit__(*sys.exc_info())
            raise

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        return await self._inner.__aexit__(kind, error, traceback)


class _Files:
    """`StoredFiles` in the folder of a prepared image. Whoever opened it may read them."""

    def __init__(self, store: ImageStore, entry: ManifestEntry) -> None:
        self._store = store
        self._entry = entry

    async def read(self, file: StoredFile) -> bytes:
        """As `StoredFiles.read`; raises `MissingFileError` and `OSError`."""
        try:
            return await self._read(file)
        except VersionChangedError:
            pass  # replaced, by the same content, as it is named by it
        try:
            return await self._read(file)
        except VersionChangedError:
            raise StoreError(f"{self._entry.id}: {file.path} is being written") from None

    async def _read(self, file: StoredFile) -> bytes:
        entry = self._entry
        try:
            path = f"/{file.path}"
            async with self._store.open(entry.id, path, may_read=_same(entry)) as opened:
                # One of another length is damaged: it is not read.
                return await _bytes(opened) if opened.image.size == file.length else b""
        except ImageNotFoundError:
            raise MissingFileError(f"{entry.id}: {file.path} is missing") from None


@dataclass(frozen=True, slots=True)
class _InMemory:
    """An `ImageReader` of bytes."""

    data: bytes

    async def read(self, start: int, stop: int) -> bytes:
        """As `ImageReader.read`."""
        return self.data[start:stop]

    async def chunks(self, start: int, stop: int) -> AsyncGenerator[bytes]:
        """As `ImageReader.chunks`."""
        yield self.data[start:stop]


def _same(entry: ManifestEntry) -> MayRead:
    """Allows what belongs to the entry that was opened before."""
    return lambda found: found.file == entry.file


async def _bytes(opened: OpenImage, max_bytes: int = _LARGEST_FILE) -> bytes:
    """The bytes of a small file, up to `max_bytes`."""
    length = min(opened.image.size, max_bytes)
    async with aclosing(opened.reader.chunks(0, length)) as chunks:
        return b"".join([chunk async for chunk in chunks])
