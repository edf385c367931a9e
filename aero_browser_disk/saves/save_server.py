"""A server of saves: what is there, and pushing and pulling overlays."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Final
from urllib.parse import quote

from ..disk import Disk
from ..errors import (
    InvalidOptionError,
    InvalidResponseError,
    NoSuchSaveError,
    RemoteImagesDisabledError,
    SaveBaseError,
    SaveKeyError,
)
from ..library.catalog import LibraryEntry
from ..library.file_commit import file_base
from ..library.library import Library
from ..library.open_image import LibraryDisk
from ..library.overlays import OverlayBase
from ..open_disk import remote_base
from ..platform import current_platform
from ..platform.base import Credentials, Platform
from ..platform.opening import ClosesOnExit, opening
from ..platform.printable import printable
from ..platform.web_url import WebUrl, parse_web_url
from ..records.folders import LibraryFolders
from ..records.record import CACHES
from ..remote.access import Access, ImageAddress, Renew, RenewedAccess
from ..remote.retry import DEFAULT_RETRY, RetryPolicy
from ..transfer.image_import import Report
from .background_push import BackgroundPush, Notify
from .chunk_cache import ChunkCache
from .disk_save import DiskSave
from .encryption import SaveCipher, SaveSecret, opened_cipher, read_encryption
from .pull import PulledOverlay
from .push_record import PushRecord, read_push_record, write_push_record
from .pushed import Pushed, SavedTo, digest_of
from .save_documents import (
    SAVE_ID,
    SaveGeneration,
    SaveInfo,
    SaveShare,
    read_generation,
    read_save,
    text_of,
)
from .save_layer import SaveLayer
from .save_manifest import MAX_TEXT, SaveBase
from .save_requests import SaveRequests, refusal
from .saved_content import SavedContent, fetch_content

_MAX_QUERY: Final = 1000
_SHARED: Final = re.compile(r"(.*)/([0-9a-f]{32})")


class SaveServer(ClosesOnExit):
    """The saves of one user on one server: the image service, or any that speaks its protocol.

    Where a method takes a save, it takes its name or its id.
    """

    def __init__(
        self, platform: Platform, access: Access, address: ImageAddress, retry: RetryPolicy
    ) -> None:
        """Use `open`."""
        self.shared: str | None = None
        """The id of the save that the address shares; None for an address of all saves."""
        self.device = default_device()
        """What this device is called in what it pushes."""
        self._secret: SaveSecret | None = None
        self._platform = platform
        self._url = address.url
        self._shown = address.shown
        self._requests = SaveRequests(platform.http, access, retry, platform.clock)

    @classmethod
    @opening
    async def open(
        cls,
        url: str,
        *,
        allow_remote: bool = False,
        headers: Mapping[str, str] | None = None,
        credentials: Credentials = "same-origin",
        renew: Renew | None = None,
        expires_at: float | None = None,
        timeout_s: float = 30.0,
        retry: RetryPolicy = DEFAULT_RETRY,
        device: str | None = None,
        passphrase: str | None = None,
        key: object | None = None,
        platform: Platform | None = None,
    ) -> SaveServer:
        """The saves at an address, such as `https://images.example/v1/saves`, or at a share link.

        Sends no request. The options are those of `open_disk`; `device` is the name that others
        see of what is pushed here. Raises `RemoteImagesDisabledError` without the user's consent,
        `InvalidUrlError` and `InvalidOptionError`.

        With a `passphrase`, or a `key` of 32 bytes (in a browser also a `CryptoKey` for AES-GCM),
        what is pushed is encrypted here, and only saves that were encrypted with it are read: it is
        a `SaveKeyError` if they were not, or it is not given for one that was. Neither is stored.
        """
        if not allow_remote:
            raise RemoteImagesDisabledError
        if device is not None and len(device) > MAX_TEXT:
            raise InvalidOptionError("device", device, f"at most {MAX_TEXT} characters")
        address = ImageAddress.parse(url, headers, credentials, timeout_s)
        list_url, shared = _list_of(address.web_url)
        if shared:
            address = address.sibling(list_url)
        platform = platform or await current_platform()
        access = Access(address, platform.clock, renew and _of_list(renew), expires_at)
        server = cls(platform, access, address, retry)
        if shared:
            server.shared = shared
        if device is not None:
            server.device = device
        if passphrase is not None or key is not None:
            server._secret = SaveSecret(passphrase, key)
        return server

    def background(
        self,
        disk: LibraryDisk,
        name: str | None = None,
        *,
        every_s: float | None = None,
        notify: Notify = lambda _: None,
    ) -> BackgroundPush:
        """Pushes of an open disk that may go on by themselves; sends no request yet.

        With `every_s` it pushes after flushes, at most every so many seconds. `notify` is called
        with the result of each of those.
        """
        clock = self._platform.clock
        attach = partial(self.attach, disk, name)
        return BackgroundPush(attach, disk, clock, every_s=every_s, notify=notify)

    def close(self) -> None:
        """Nothing to free: disks that are attached stay attached."""

    # ── what there is ────────────────────────────────────────────────────────────────────────────

    async def saves(self, base_version: str | None = None) -> list[SaveInfo]:
        """All saves, or those of a version of an image, the newest first.

        Raises `SaveRefusedError` and `NetworkError`, as all methods here.
        """
        if self.shared is not None:
            return [await self.find(self.shared)]
        # Servers limit the length of a URL.
        asked = base_version if len(quote(base_version or "")) <= _MAX_QUERY else None
        found = [read_save(one, self._shown) for one in await self._requests.saves(asked)]
        return [one for one in found if base_version in (None, one.base_version)]

    async def find(self, save: str) -> SaveInfo:
        """A save by its name or id; raises `NoSuchSaveError`."""
        return read_save(await self._document(save), self._shown)

    async def generations(self, save: str) -> list[SaveGeneration]:
        """The generations that the server has of a save; raises `NoSuchSaveError`."""
        listed = (await self._document(save)).get("generations")
        return [read_generation(one) for one in listed or () if isinstance(one, dict)]

    async def remove(self, save: str, *, generation: int | None = None) -> None:
        """Removes a save from the server, or one of its generations but the current one.

        Overlays here stay. Raises `NoSuchSaveError`.
        """
        info = await self.find(save)
        reply = await self._requests.remove(info.id, generation)
        if reply.status == 404:
            raise NoSuchSaveError(save)
        if reply.status == 409:
            raise refusal(self._shown, reply)

    async def share(self, save: str, lifetime_s: int = 7 * 86400) -> SaveShare:
        """Makes a link by which others read a save for so many seconds."""
        info = await self.find(save)
        reply = await self._requests.share(info.id, lifetime_s)
        document = reply.document()
        if reply.status == 404:
            raise NoSuchSaveError(save)
        url = parse_web_url(str(document.get("url") or ""), self._url)
        if url is None:
            raise InvalidResponseError(self._shown, "url", "an address", "another text")
        return SaveShare(url.plain, text_of(document, "expires"))

    async def end_shares(self, save: str) -> None:
        """Ends all links to a save; raises `NoSuchSaveError`."""
        info = await self.find(save)
        if (await self._requests.end_shares(info.id)).status == 404:
            raise NoSuchSaveError(save)

    # ── pushing ──────────────────────────────────────────────────────────────────────────────────

    async def attach(self, disk: Disk, name: str | None = None) -> DiskSave:
        """Connects an open disk with an overlay to the save of that name, which is made if needed.

        Without a name it has the overlay's. Close what is returned before the disk. Raises
        `SaveBaseError` when the save belongs to another version of the image, `InvalidOptionError`
        for a disk without an overlay, and `StorageError`.
        """
        overlay = disk.overlay if isinstance(disk, LibraryDisk) else None
        if overlay is None or not isinstance(disk, LibraryDisk):
            raise InvalidOptionError("disk", "one without an overlay", "one with an overlay")
        record = await LibraryFolders(self._platform).record(disk.folder)
        image = printable((record and record.base_name) or "")[:MAX_TEXT]
        name = name or (record.name if record is not None else "save")
        base = SaveBase(overlay.base_version, disk.info.size, disk.info.sector_size, image)
        document = await self._found_or_made(name, base)
        info = read_save(document, self._shown)
        to = SavedTo(self._shown, info.id, info.name, image, self.device)
        attached = DiskSave(
            overlay,
            self._platform.storage,
            disk.folder,
            to,
            self._requests,
            self._platform.clock,
            await self._cipher(info, disk.folder),
        )
        try:
            is_ours = await attached.load(document)
        except BaseException:
            attached.close()
            raise
        if not is_ours and info.generation and info.base_version != base.version:
            attached.close()
            raise SaveBaseError(info.name, info.base_version, base.version)
        return attached

    async def push(
        self, disk: Disk, name: str | None = None, *, report: Report | None = None
    ) -> Pushed:
        """Pushes an open disk's overlay once: see `attach` and `DiskSave.push`."""
        attached = await self.attach(disk, name)
        try:
            return await attached.push(report)
        finally:
            attached.close()

    # ── pulling ──────────────────────────────────────────────────────────────────────────────────

    async def pull(
        self,
        save: str,
        overlay: str,
        *,
        url: str | None = None,
        image: str | None = None,
        path: str | os.PathLike[str] | None = None,
        cache_key: str | None = None,
        version: str | None = None,
        generation: int | None = None,
        report: Report | None = None,
    ) -> LibraryEntry:
        """Downloads a save into a new overlay of that name, over an image named as in `open_disk`.

        It is there as a whole or not at all. Pushes of it go on where the save is. With `version`,
        the version of the image as it is now, a save of another one is refused at once; without,
        when the overlay is opened. `generation` is the current one, or an earlier one.

        Raises `NoSuchSaveError`, `NameTakenError`, `SaveBaseError`, `DamagedSaveError`,
        `UnreadableSaveError`, `StorageFullError` and other `StorageError`s.
        """
        async with Library.open(self._platform) as library:
            base = await _base_of(library, url, image, path, cache_key)
            document = await self._document(save)
            info = read_save(document, self._shown)
            content = await self._content(info, generation)
            pinned = content.manifest.base.version
            if version is not None and version != pinned:
                raise SaveBaseError(info.name, pinned, version)
            pulled = PulledOverlay(content, report)
            folder = await library.overlays.create(base, overlay, pulled.fill)
            is_current = digest_of(document.get("etag")) == content.etag
            if is_current and self.shared is None:
                await self._note(folder, info, content, pulled)
            entries = await library.list()
        return next(entry for entry in entries if entry.id == folder)

    async def open_disk(
        self,
        save: str,
        base: Disk,
        *,
        overlay: str | None = None,
        generation: int | None = None,
    ) -> SaveLayer | LibraryDisk:
        """A save as a read-only disk over the open disk `base`: see `SaveLayer`.

        Chunks are fetched when they are read, verified, and cached. `overlay` names one over it
        that takes writes, and is created if it does not exist; it fits this generation only. Takes
        ownership of `base`, which is closed after an error. Raises `NoSuchSaveError`,
        `SaveBaseError`, `DamagedSaveError`, `UnreadableSaveError`, and what opening an overlay
        does.
        """
        try:
            info = await self.find(save)
            content = await self._content(info, generation)
            content.check_base(base.info)
            rows = await content.map()
        except BaseException:
            await base.close()
            raise
        folder = f"{CACHES}/save-{info.id}"
        layer = SaveLayer(base, content, rows, ChunkCache(content, self._platform.storage, folder))
        if overlay is None:
            return layer
        try:
            library = await Library.open(self._platform)
        except BaseException:
            await layer.close()
            raise
        over = OverlayBase(f"saves/{info.id}", info.name)
        return await library.overlays.open_over(over, layer, [overlay])

    # ── inside ───────────────────────────────────────────────────────────────────────────────────

    async def _content(self, info: SaveInfo, generation: int | None) -> SavedContent:
        encoded, manifest = await fetch_content(self._requests, info.id, info.name, generation)
        cipher = await opened_cipher(self._secret, manifest.encryption, info.name)
        return SavedContent(self._requests, info.id, info.name, encoded, manifest, cipher)

    async def _cipher(self, info: SaveInfo, folder: str) -> SaveCipher | None:
        """What encrypts the pushes of an overlay: as the save is already, if it is there."""
        record, _ = await read_push_record(self._platform.storage, folder)
        noted = None
        is_ours = record is not None and (record.server, record.save) == (self._shown, info.id)
        if record is not None and is_ours:
            noted = read_encryption(record.encryption, info.name)
        if info.generation:
            # A save that is not this overlay's is a conflict: nothing is pushed to it.
            return await opened_cipher(self._secret, noted, info.name) if is_ours else None
        if self._secret is None:
            return None
        if noted is not None:
            with contextlib.suppress(SaveKeyError):  # begun with another one, and never pushed
                return await self._secret.open(noted, info.name)
        return await self._secret.begin()

    async def _note(
        self, folder: str, info: SaveInfo, content: SavedContent, pulled: PulledOverlay
    ) -> None:
        """Notes in a new overlay which save it is."""
        manifest = content.manifest
        record = PushRecord(
            self._shown,
            info.id,
            info.name,
            content.etag,
            "",
            info.generation,
            info.updated,
            "",
            "",
            pulled.index.compacted(),
            "" if manifest.encryption is None else manifest.encryption.encode(),
            content.encoded,
        )
        await write_push_record(self._platform.storage, folder, record, 1)

    async def _document(self, save: str) -> dict[str, Any]:
        """The document of a save by its name or id."""
        if SAVE_ID.fullmatch(save):
            reply = await self._requests.save(save)
            if reply.status == 200:
                return reply.document()
        if self.shared is not None:  # a link can list nothing
            reply = await self._requests.save(self.shared)
            if reply.status == 200 and reply.document().get("name") == save:
                return reply.document()
            raise NoSuchSaveError(save)
        for one in await self._requests.saves(None):
            if one.get("name") == save:
                return (await self._requests.save(str(one.get("id")))).document()
        raise NoSuchSaveError(save)

    async def _found_or_made(self, name: str, base: SaveBase) -> dict[str, Any]:
        reply = await self._requests.create(name, base.document())
        if reply.status == 201:
            return reply.document()
        found = reply.error().get("id")
        if not isinstance(found, str):
            raise refusal(self._shown, reply)
        reply = await self._requests.save(found)
        if reply.status == 404:
            raise NoSuchSaveError(name)
        return reply.document()


def _list_of(url: WebUrl) -> tuple[str, str]:
    """The address of the list, and the id of the save that a link shares, or ""."""
    shared = _SHARED.fullmatch(url.path.rstrip("/"))
    return (f"{url.origin}{shared[1]}{url.query}", shared[2]) if shared else (url.plain, "")


def _of_list(renew: Renew) -> Renew:
    """A renewal that may return another link to a shared save."""

    async def renewed() -> RenewedAccess:
        granted = await renew()
        url = parse_web_url(granted.url)
        return granted if url is None else replace(granted, url=_list_of(url)[0])

    return renewed


def default_device() -> str:
    """What to call this device, without anything that identifies it."""
    if sys.platform == "emscripten":
        return "a browser"
    system = {"darwin": "macOS", "linux": "Linux", "win32": "Windows"}
    return f"Python on {system.get(sys.platform, sys.platform)}"


async def _base_of(
    library: Library,
    url: str | None,
    image: str | None,
    path: str | os.PathLike[str] | None,
    cache_key: str | None,
) -> OverlayBase:
    """What the overlay lies over; exactly one names it."""
    if [url, image, path].count(None) != 2:
        raise InvalidOptionError("url", url, "the image, unless image or path names it")
    if url is not None:
        return remote_base(url, cache_key)
    if path is not None:
        return file_base(path)
    return await library.overlays.base_of(image or "")
