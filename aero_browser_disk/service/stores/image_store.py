"""The interface of image stores: images are found by id and read at one version.

A store knows nothing of HTTP. Every store passes `ImageStoreSuite` in `tests`.
"""

from __future__ import annotations

import errno
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from typing import Final, Protocol

from aero_browser_disk.formats.prepared.manifest import Manifest
from aero_browser_disk.remote.byte_ranges import EntityTag

from .manifest import ManifestEntry

# Whether a reader may have a private image. It is asked about the very entry that is then served:
# one looked up earlier, or elsewhere, may be another image under the same id.
MayRead = Callable[[ManifestEntry], bool]

# About what is read and handed to the server at a time, in bytes.
CHUNK_LENGTH: Final = 128 * 1024
# What is lent at a time: a range of 1 MiB as a whole. In eight chunks that takes a third longer
# (measured).
LENT_LENGTH: Final = 1024 * 1024
# Ranges that players read go out in a few chunks. Clients of longer bodies may stall with several
# chunks buffered in the server: 200 of them take granian from 59 to 195 MB with chunks of 64 KiB,
# to 147 with 24, to 140 with 16 and to 122 with 8 (measured).
_QUICK_LENGTH: Final = 1 << 20
_LATER_CHUNK_LENGTH: Final = 16 * 1024
# Endings of sidecar files, appended to the image's name.
DIGESTS_ENDING: Final = ".digests"
BOOT_PROFILE_ENDING: Final = ".boot-profile"


async def read_in_chunks(
    read: Callable[[int, int], Awaitable[bytes]], start: int, stop: int
) -> AsyncGenerator[bytes]:
    """The bytes from `start` up to `stop` in order, as `ImageReader.chunks`, by its `read`."""
    begin = start
    while start < stop:
        length = CHUNK_LENGTH if start - begin < _QUICK_LENGTH else _LATER_CHUNK_LENGTH
        chunk = await read(start, min(stop, start + length))
        start += len(chunk)
        yield chunk


class ImageNotFoundError(Exception):
    """No image has this id.

    If the manifest names it, the message says what is wrong with its file.
    """


class PrivateImageError(Exception):
    """The image is private, and this reader may not read it."""


class VersionChangedError(Exception):
    """The image was written, cut or replaced since it was opened; bytes read so far are invalid."""


class StoreError(OSError):
    """The store does not respond, or refuses."""

    def __init__(self, reason: str) -> None:
        super().__init__(errno.EIO, reason)


@dataclass(frozen=True, slots=True)
class PreparedManifest:
    """The manifest of a prepared image, and its document as stored."""

    manifest: Manifest
    encoded: bytes


@dataclass(frozen=True, slots=True)
class Image:
    """What is known of an image at one version. `last_modified_s` is in seconds since the epoch.

    Size and validator of a prepared image are those of the disk that its chunks hold.
    """

    entry: ManifestEntry
    size: int
    etag: EntityTag
    last_modified_s: int
    prepared: PreparedManifest | None = None


def described(
    entry: ManifestEntry,
    size: int,
    etag: EntityTag,
    modified_s: int,
    prepared: PreparedManifest | None = None,
) -> Image:
    """The image as its file is; the manifest's own validators go before those of the file.

    They are about the disk of a prepared image, not about the file of its manifest.
    """
    if entry.layout == "raw" or prepared is not None:
        etag = entry.etag or etag
        if entry.last_modified_s is not None:
            modified_s = entry.last_modified_s
    # Never later than the response (RFC 9110 §8.8.2.1).
    return Image(entry, size, etag, min(modified_s, int(time.time())), prepared)


def opened_entry(entry: ManifestEntry, sidecar: str, may_read: MayRead | None) -> ManifestEntry:
    """The entry of what `ImageStore.open` opens.

    Raises `PrivateImageError`, and `ImageNotFoundError` for a path beside a raw image.
    """
    if not is_readable(entry, may_read):
        raise PrivateImageError
    if not sidecar:
        return entry
    file = entry.file + sidecar
    if sidecar.startswith("/"):
        if entry.layout != "prepared":
            raise ImageNotFoundError("it is not a prepared image")
        file = str(entry.folder / sidecar[1:])
    return replace(entry, file=file, layout="raw", etag=None, last_modified_s=None)


def is_readable(entry: ManifestEntry, may_read: MayRead | None) -> bool:
    """Whether the entry is public, or the reader may read it."""
    return entry.public or (may_read is not None and may_read(entry))


class ImageReader(Protocol):
    """The bytes of one version."""

    async def read(self, start: int, stop: int) -> bytes:
        """The bytes from `start` up to `stop`: from one to `CHUNK_LENGTH`, inside the image.

        Raises what `chunks` does.
        """

    def chunks(self, start: int, stop: int) -> AsyncGenerator[bytes]:
        """The bytes from `start` up to `stop`, which lie inside the image, in order.

        None of the chunks is empty or much longer than `CHUNK_LENGTH`; all of them together have
        every byte. Raises `VersionChangedError`, and `OSError` when reading fails. Whoever stops
        early closes the generator.
        """


class Lender(Protocol):
    """The bytes of one version that are in memory already.

    It may be used after the image was closed.
    """

    def hold(self) -> Callable[[], None]:
        """Keeps the version, which must be current, readable until the result is called."""

    def is_current(self) -> bool:
        """Whether the store would open this very version again."""

    def lend(self, start: int, stop: int) -> memoryview | None:
        """The bytes from `start` up to `stop`, without a copy: up to `LENT_LENGTH`.

        They are valid until the next loan from any image: use them before the next `await`. None
        if reading them takes time. Raises `VersionChangedError`.
        """


@dataclass(frozen=True, slots=True)
class OpenImage:
    """An image with what reads it.

    `path`: where its folder has it, links resolved; None when it is not in a folder. `lender`: None
    when its bytes are never in this machine's memory.
    """

    image: Image
    reader: ImageReader
    path: str | None = None
    lender: Lender | None = None


class ImageStore(Protocol):
    """Images by id. For one event loop."""

    def open(
        self, image_id: str, sidecar: str = "", *, may_read: MayRead | None = None
    ) -> AbstractAsyncContextManager[OpenImage]:
        """The current version of the image, readable until the block ends.

        With `sidecar`, an ending that starts with a dot, opens the image's sidecar file with that
        ending instead; with a path that starts with a slash, that file in the folder of a prepared
        image. A private image needs `may_read`. Raises `ImageNotFoundError`, also when there is no
        such file, `PrivateImageError`, `OSError`, and `VersionChangedError` when it is written
        constantly. A version that the store cached may be gone at the first chunk; the store then
        forgets it, and opening again finds the new one.
        """

    async def images(self, *, may_read: MayRead | None = None) -> list[Image]:
        """The public images and those that `may_read` allows, without missing ones.

        In the order of the manifest, or of their ids. Raises `OSError`.
        """

    async def refresh(self) -> None:
        """Reads the manifest again if it changed. An invalid one is not used; nothing is raised."""

    async def ready(self) -> Mapping[str, str]:
        """The images of the manifest that cannot be served, and why.

        Raises `OSError` with the reason if no image can be read now.
        """

    def unusable(self) -> Mapping[str, str]:
        """What `ready` returns, as far as it is known without the network."""

    def close(self) -> None:
        """Frees all resources, once nobody reads any more. Idempotent."""
