"""Opens a disk by the address of an image, a file, or the name of a local image."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from typing import Unpack, overload

from .errors import (
    BaseChangedError,
    InvalidOptionError,
    ReadOnlyError,
    UnversionedBaseError,
)
from .formats.layout_disk import LayoutDisk
from .formats.local_file import LocalFileDisk, open_file_disk, open_source_disk
from .library.file_commit import FILES, file_base
from .library.library import Library
from .library.open_image import Closed, LibraryDisk
from .library.overlays import OverlayBase
from .platform import current_platform, file_of_user
from .platform.base import Platform
from .platform.byte_source import SourceIdentity
from .platform.opening import Opening, opening
from .remote.access import ImageAddress
from .streaming.open_remote import cache_path, open_remote_disk
from .streaming.remote_options import DEFAULT_BLOCK_SIZE, RemoteOptions, RemoteSettings
from .streaming.streaming_disk import StreamingDisk

__all__ = ["DEFAULT_BLOCK_SIZE", "open_disk"]


@overload
def open_disk(
    url: str, *, platform: Platform | None = None, **remote: Unpack[RemoteOptions]
) -> Opening[StreamingDisk]: ...
@overload
def open_disk(
    url: str | None = None,
    *,
    path: str | os.PathLike[str] | None = None,
    file: object = None,
    image: str | None = None,
    overlay: str | Sequence[str] | None = None,
    write_base: bool = False,
    platform: Platform | None = None,
    **remote: Unpack[RemoteOptions],
) -> Opening[StreamingDisk | LibraryDisk | LocalFileDisk]: ...
@opening
async def open_disk(
    url: str | None = None,
    *,
    path: str | os.PathLike[str] | None = None,
    file: object = None,
    image: str | None = None,
    overlay: str | Sequence[str] | None = None,
    write_base: bool = False,
    platform: Platform | None = None,
    **remote: Unpack[RemoteOptions],
) -> StreamingDisk | LibraryDisk | LocalFileDisk:
    """Opens a disk: the image at `url`, its blocks cached; the image file at `path`, where it
    is; in a browser `file`, a JavaScript `File` or `Blob`, where it is; or the local image of the
    library named `image`.

    Await it and close the disk later, or enter it: `async with open_disk(url, …) as disk`.

    A local image takes writes, unless it is a CD. A remote one is read-only. `overlay` names a
    layer over either that takes the writes instead, and is created if it does not exist; several
    names are layers over one another, from the lowest to the one that is written to. An overlay
    stays bound to the version of the image that it was created over. An image or overlay that has
    overlays takes no writes, which would make those useless, unless `write_base` is set. What takes
    writes can be open once, in all tabs; what is only read, such as an image below its overlays,
    can be open several times in one tab.

    All other options are for a remote image. `allow_remote` is the user's consent: without it no
    request is sent and `RemoteImagesDisabledError` is raised. `cache_limit_bytes` limits what is
    cached of this image (default: 2 GiB or half of what the storage offers, whichever is less).
    `block_size` is a power of two from 4 KiB to 8 MiB. The cache is named by a digest of the whole
    address, query included; `cache_key` names the image instead if its address changes at each
    visit, as a signed one does.

    The image at `url` or `path`, or in `file`, is raw, or it is read in place, and never written: a
    qcow2, VMDK, VDI, VHDX, dynamic VHD, BIN file of a CD, or Zstandard file with a seek table; or
    it is the manifest of a prepared image, whose name ends in ".json" if it is remote, but not a
    `file`, which leads to no others. `format` is "auto", which looks at the first block, or
    "raw", or a name of `formats.FORMAT_NAMES`. Name it "raw" if whoever
    writes to the disk must not be able to make it look like another format.

    `headers` and `credentials` are sent with every request and kept in memory only. After a
    redirect to another origin, `Authorization`, `Cookie` and `Proxy-Authorization` are not sent;
    other headers are. `renew` returns another address when this one expires (at `expires_at`,
    seconds since the epoch, if that is known) or a ranged GET is refused; it must lead to the same
    version. `timeout_s` limits the wait for a response and for each part of it; `retry` sets the
    retries. At most `concurrency` requests (default: 6, 16 over HTTP/2) run at once, for at most
    `max_request_bytes` each; `read_ahead` lets sequential reads run at the speed of the link.

    `boot_profile` and `digests` are documents as `BootProfile` and `DigestList` encode them. The
    profile's blocks are fetched after those that are read; a profile of another version is ignored,
    with a notice. "auto" uses the one that an earlier session recorded, else the one that the
    server offers (`Link: <…>; rel="urn:aero-disk:boot-profile"`), else none. Every byte is checked
    against the digests before it is cached or served; `digests_sha256` is the SHA-256 of the list
    itself, and `digests_key` the Ed25519 public key that it must be signed by, both in hex; without
    a list they are for the manifest of a prepared image. Blocks cached of an older version are kept
    as far as the digests, or the tables of both prepared images, prove them.

    While the server promises that the cached version is current (`Cache-Control: max-age`), opening
    takes no request; while it cannot be reached, the cached version is opened, with the notice
    "offline". Raises `InvalidUrlError`, `InvalidOptionError`, `InvalidDocumentError`,
    `UnsupportedImageError` and `DamagedImageError` for a file that is no disk or not a valid one,
    and what `RemoteImage.probe` and `RemoteImage.fetch` raise; for local images and overlays
    `NoSuchImageError`, `ImageBusyError`, `UnfinishedImportError`, `BaseChangedError`,
    `UnversionedBaseError` and `StorageError`; for files `UnreadableImageError`, `EmptyImageError`,
    `UnsupportedImageError`, `DamagedImageError` and `SourceError`; reads of a `file` raise that too
    if it has changed since the page was given it.
    """
    platform = platform or await current_platform()
    names = [overlay] if isinstance(overlay, str) else list(overlay or ())
    if image is not None:
        _check_left_out(repr(image), [*remote, *_given(url=url, path=path, file=file)])
        library = await Library.open(platform)
        return await library.open_image(image, names, write_base=write_base)
    if path is not None:
        known = remote.pop("format", "auto")
        _check_left_out(repr(os.fspath(path)), [*remote, *_given(url=url, file=file)])
        local = await open_file_disk(path, known)
        if not names:
            return local
        return await _with_overlays(platform, local, file_base(path), names, write_base=write_base)
    if file is not None:
        known = remote.pop("format", "auto")
        _check_left_out("a file", [*remote, *_given(url=url)])
        given, identity = await _open_user_file(file, known, names)
        if not names:
            return LibraryDisk(
                given, sector_size=given.info.sector_size, refuses=ReadOnlyError, on_close=_nothing
            )
        return await _with_overlays(
            platform, given, user_file_base(identity), names, write_base=write_base
        )
    if url is None:
        expected = "the address of an image, unless path, file or image names one"
        raise InvalidOptionError("url", None, expected)
    settings = RemoteSettings(**remote)
    if not names:
        return await open_remote_disk(url, settings, platform)
    base = remote_base(url, settings.cache_key)
    pinned = await _noted_version(platform, base, names[0])
    try:
        disk = await open_remote_disk(url, settings, platform, wanted=pinned)
        return await _with_overlays(platform, disk, base, names, write_base=write_base)
    except BaseChangedError:
        # The cached version may be fresh, and not the one that the server has; and what was noted
        # may be older than the overlay.
        pinned = await _pinned_version(platform, base, names[0])
        disk = await open_remote_disk(
            url, settings, platform, trusts_freshness=False, wanted=pinned
        )
        return await _with_overlays(platform, disk, base, names, write_base=write_base)


async def _noted_version(platform: Platform, base: OverlayBase, overlay: str) -> str | None:
    """The version of its base that the record of an overlay names; None without one."""
    if platform.storage.kind == "memory":
        return None
    async with Library.open(platform) as library:
        return await library.overlays.noted_base_version(base, overlay)


async def _pinned_version(platform: Platform, base: OverlayBase, overlay: str) -> str | None:
    """The version of its base that an overlay is bound to; None if it is not bound."""
    async with Library.open(platform) as library:
        return await library.overlays.pinned_base_version(base, overlay)


async def _with_overlays(
    platform: Platform,
    disk: StreamingDisk | LocalFileDisk,
    base: OverlayBase,
    names: Sequence[str],
    *,
    write_base: bool,
) -> LibraryDisk:
    """Overlays over a disk, which is closed after an error."""
    try:
        library = await Library.open(platform)
        _check_versioned(disk, base)
    except BaseException:
        await disk.close()
        raise
    return await library.overlays.open_over(base, disk, names, write_base=write_base)


async def _open_user_file(
    file: object, known: str, overlays: Sequence[str]
) -> tuple[LayoutDisk, SourceIdentity]:
    found = file_of_user(file)
    if found is None:
        expected = "a File or Blob of the page, in a browser"
        raise InvalidOptionError("file", type(file).__name__, expected)
    source, identity = found
    if overlays and not identity.name:
        expected = (
            "left out for a Blob: it has no name and no time of its last change, so another one "
            "could not be told from it. Make a File of it"
        )
        raise InvalidOptionError("overlay", ", ".join(overlays), expected)
    return await open_source_disk(source, identity, known), identity


async def _nothing(_: Closed) -> None:
    """There is no record of a file."""


def user_file_base(identity: SourceIdentity) -> OverlayBase:
    """A file of the page as a base of overlays, identified by its name: a page sees no path."""
    digest = hashlib.sha256(identity.name.encode()).hexdigest()[:32]
    return OverlayBase(f"{FILES}{digest}", identity.name)


def remote_base(url: str, cache_key: str | None = None) -> OverlayBase:
    """A remote image as a base of overlays; raises `InvalidUrlError`."""
    address = ImageAddress.parse(url)
    return OverlayBase(cache_path(address, cache_key), address.shown)


def _given(**values: object) -> list[str]:
    """The names of those that are not None."""
    return [name for name, value in values.items() if value is not None]


def _check_left_out(what: str, options: Sequence[str]) -> None:
    for option in options:
        raise InvalidOptionError(option, "given", f"left out for what is local ({what})")


def _check_versioned(disk: StreamingDisk | LocalFileDisk, base: OverlayBase) -> None:
    if isinstance(disk, StreamingDisk) and not disk.stored_image.validator:
        raise UnversionedBaseError(base.name)
