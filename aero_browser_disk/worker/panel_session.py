"""The page's panel with its disk: what each button does."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from ..doctor.diagnosis import diagnose
from ..errors import DiskError
from ..formats.image_format import PREPARED
from ..library.open_image import LibraryDisk
from ..open_disk import open_disk, remote_base
from ..platform import current_platform
from ..platform.base import Platform
from ..platform.printable import printable
from ..remote.image_catalog import fetch_catalog
from ..streaming.streaming_disk import StreamingDisk
from ..ui.doctor_view import diagnosis_view
from ..ui.panel import Panel, View
from .library_operations import reporting
from .operations import OpenDisks, Operation, plain

OpenDisk = Callable[..., Awaitable[StreamingDisk | LibraryDisk]]


class PanelSession:
    """One panel and the disk it has open, which is in the table of open disks like any other.

    Every method is an event of the page. Each returns the panel's view, which also shows errors of
    the disk.
    """

    def __init__(
        self,
        opener: OpenDisk = open_disk,
        disks: OpenDisks[Any] | None = None,
        platform: Callable[[], Awaitable[Platform]] = current_platform,
    ) -> None:
        self._panel = Panel()
        self._open_disk = opener
        self._disks: OpenDisks[Any] = disks or OpenDisks()
        self._platform = platform
        self._disk: StreamingDisk | LibraryDisk | None = None
        self._number: int | None = None
        self._opening: asyncio.Task[StreamingDisk | LibraryDisk] | None = None

    def operations(self) -> Mapping[str, Operation]:
        """The page's events, by the names of the worker's operations."""
        return {
            "panel.view": self.view,
            "panel.restore": self.restore,
            "panel.setRemote": self.set_remote,
            "panel.setUrl": self.set_url,
            "panel.setCatalog": self.set_catalog,
            "panel.loadSamples": self.load_samples,
            "panel.diagnose": self.diagnose,
            "panel.chooseSetting": self.choose_setting,
            "panel.chooseDigests": self.choose_digests,
            "panel.resetSettings": self.reset_settings,
            "panel.open": self.open,
            "panel.openLocal": self.open_local,
            "panel.openFile": self.open_file,
            "panel.close": self.close,
            "panel.clearCache": self.clear_cache,
            "panel.keepAll": self.keep_all,
            "panel.read": self.read,
        }

    async def view(self) -> View:
        """The panel as it is now; `disk` is the open disk's number and what a `Disk` is made of.

        Its `entry` is the id of its row in the library, "" without one.
        """
        facts = None
        if self._disk is not None:
            self._panel.progress(self._disk.stats())
            facts = {"disk": self._number, "entry": self._entry(), **plain(self._disk.info)}
        return {**self._panel.view(), "disk": facts}

    def _entry(self) -> str:
        match self._disk:
            case LibraryDisk(folder=folder):
                return folder
            case StreamingDisk():
                return remote_base(self._panel.state.url).folder
            case _:
                return ""

    async def restore(self, remembered: Mapping[str, object]) -> View:
        """Restores what the page stored at an earlier visit."""
        self._panel.restore(remembered)
        return await self.view()

    async def set_remote(self, enabled: bool) -> View:
        """The user turned remote images on or off; off closes an image that is open."""
        self._panel.set_remote(enabled)
        if self._panel.must_close:
            await self._close()
        return await self.view()

    async def set_url(self, url: str) -> View:
        """The user edited the address."""
        self._panel.set_url(url)
        return await self.view()

    async def set_catalog(self, url: str) -> View:
        """The page's own address names a service that has samples."""
        self._panel.set_catalog(url)
        return await self.view()

    async def load_samples(self) -> View:
        """The user wants to see the samples: requests their list."""
        try:
            http = (await self._platform()).http
            url, remote = self._panel.state.catalog, self._panel.remote
            images = await fetch_catalog(url, http, allow_remote=remote)
            self._panel.catalog_shown(tuple(images))
        except DiskError as error:
            self._panel.catalog_failed(error)
        return await self.view()

    async def diagnose(self, onProgress: Any = None) -> View:
        """The user wants to know whether, or why not, the address can be streamed."""
        self._panel.examining(True)
        try:
            async with reporting(onProgress) as report:
                found = await diagnose(
                    self._panel.url,
                    allow_remote=self._panel.remote,
                    report=report,
                    platform=await self._platform(),
                )
        finally:
            self._panel.examining(False)
        return diagnosis_view(found)

    async def choose_setting(self, name: str, choice: str) -> View:
        """The user chose how the next image is to be opened."""
        self._panel.settings.choose(name, choice)
        return await self.view()

    async def choose_digests(self, name: str = "", document: object = None) -> View:
        """The user chose or removed a digest list."""
        given = bytes(document) if isinstance(document, bytes | bytearray | memoryview) else None
        self._panel.settings.choose_digests(name, given)
        return await self.view()

    async def reset_settings(self) -> View:
        """The user resets all settings."""
        self._panel.settings.reset()
        return await self.view()

    async def open(self, overlay: str = "") -> View:
        """The user opens the image at the address; writes go to `overlay` if it is given."""
        options = self._panel.settings.options()
        if overlay:
            options["overlay"] = overlay
        return await self._open(
            lambda: self._open_disk(self._panel.url, allow_remote=self._panel.remote, **options),
            overlay=overlay,
        )

    async def open_local(self, image: str, overlay: str = "") -> View:
        """The user opens an image of the library."""
        options = {"overlay": overlay} if overlay else {}
        return await self._open(
            lambda: self._open_disk(image=image, **options), local=image, overlay=overlay
        )

    async def open_file(self, file: object, overlay: str = "") -> View:
        """The user opens a file from where it is; writes go to `overlay` if it is given."""
        options = {"overlay": overlay} if overlay else {}
        name = printable(str(getattr(file, "name", ""))) or "file"
        return await self._open(
            lambda: self._open_disk(file=file, **options), local=name, overlay=overlay
        )

    def image(self) -> dict[str, Any]:
        """What names the image that is open, or was to be opened, as `openDisk` takes it."""
        state = self._panel.state
        if state.local:
            return {"image": state.local}
        return {"url": state.url, "allowRemote": state.remote}

    @property
    def disk(self) -> StreamingDisk | LibraryDisk | None:
        """The open disk."""
        return self._disk

    async def open_with(
        self, start: Callable[[], Awaitable[LibraryDisk]], local: str, save: str
    ) -> View:
        """The user opens a save, as `start` does; `local` names its image if the library has it."""
        return await self._open(start, local=local, save=save)

    async def close(self) -> View:
        """The user closes the disk, or cancels opening it."""
        await self._close()
        return await self.view()

    async def clear_cache(self) -> View:
        """The user empties the image's cache."""
        if self._disk is not None and (remote := remote_of(self._disk)):
            try:
                await remote.clear_cache()
                self._panel.cleared(self._disk.stats())
            except DiskError as error:
                self._panel.failed(error)
        return await self.view()

    async def keep_all(self, on: bool) -> View:
        """The user wants the whole image downloaded, or that paused."""
        if self._disk is not None and (remote := remote_of(self._disk)):
            try:
                if on:
                    remote.keep_whole_image()
                else:
                    remote.pause_keeping()
                self._panel.keeping(on)
            except DiskError as error:
                self._panel.failed(error)
        return await self.view()

    async def read(self, offset: object, length: object) -> dict[str, object]:
        """The user reads bytes, both values as typed. Returns `view` and, if read, `bytes`."""
        disk = self._disk
        if disk is None:
            return {"view": await self.view()}
        try:
            start, count = self._panel.read_range(offset, length)
            self._panel.reading(start, count)
            data = await disk.read(start, count)
        except DiskError as error:
            if self._disk is disk:
                self._panel.failed(error)
            return {"view": await self.view()}
        except Exception as error:
            self._panel.failed(_defect(error))
            raise
        self._panel.read(disk.stats())
        return {"view": await self.view(), "bytes": data}

    async def _open(
        self,
        start: Callable[[], Awaitable[StreamingDisk | LibraryDisk]],
        local: str = "",
        overlay: str = "",
        save: str = "",
    ) -> View:
        if self._disk is not None or self._opening is not None:
            return await self.view()
        self._panel.opening(local, overlay, save)
        opening = asyncio.ensure_future(start())
        self._opening = opening
        try:
            await asyncio.wait({opening})
            if not opening.cancelled():
                self._disk = opening.result()
                self._number = self._disks.add(self._disk)
                remote = remote_of(self._disk)
                packed = remote is not None and remote.format == PREPARED.name
                self._panel.opened(self._disk.info, self._disk.stats(), packed=packed)
        except DiskError as error:
            self._panel.failed(error)
        except Exception as error:
            self._panel.failed(_defect(error))
            raise
        finally:
            self._opening = None
        return await self.view()

    async def _close(self) -> None:
        if self._opening is not None:
            self._opening.cancel()
        disk, self._disk = self._disk, None
        self._panel.closed()
        if self._number is not None:
            self._disks.remove(self._number)
            self._number = None
        if disk is not None:
            await disk.close()


def remote_of(disk: StreamingDisk | LibraryDisk) -> StreamingDisk | None:
    """The remote disk, also as the base of overlays; None for a local disk."""
    return disk if isinstance(disk, StreamingDisk) else disk.remote


def _defect(error: Exception) -> DiskError:
    """The panel's text for an unexpected error; the page gets the details."""
    return DiskError(f"Something is wrong in this program: {type(error).__name__}.")
