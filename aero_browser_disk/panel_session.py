"""The image panel with a disk behind it: what the page's buttons do."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from .errors import DiskError
from .open_disk import open_disk
from .operations import Operation
from .panel import Panel, View
from .streaming_disk import StreamingDisk

OpenDisk = Callable[..., Awaitable[StreamingDisk]]


class PanelSession:
    """One panel and the image it has open. Every method is an event of the page.

    Each answers with the panel's view; what went wrong with the image is told there.
    """

    def __init__(self, opener: OpenDisk = open_disk) -> None:
        self._panel = Panel()
        self._open_disk = opener
        self._disk: StreamingDisk | None = None
        self._opening: asyncio.Task[StreamingDisk] | None = None

    def operations(self) -> Mapping[str, Operation]:
        """The page's events, by the names of the worker's operations."""
        return {
            "panel.view": self.view,
            "panel.restore": self.restore,
            "panel.setRemote": self.set_remote,
            "panel.setUrl": self.set_url,
            "panel.open": self.open,
            "panel.close": self.close,
            "panel.clearCache": self.clear_cache,
            "panel.read": self.read,
        }

    async def view(self) -> View:
        """The panel as it is now."""
        if self._disk is not None:
            self._panel.progress(self._disk.stats())
        return self._panel.view()

    async def restore(self, remembered: Mapping[str, object]) -> View:
        """Takes back what the page kept of an earlier visit."""
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

    async def open(self) -> View:
        """The user opens the image."""
        if self._disk is not None or self._opening is not None:
            return await self.view()
        self._panel.opening()
        opening = asyncio.ensure_future(
            self._open_disk(self._panel.url, allow_remote=self._panel.remote)
        )
        self._opening = opening
        try:
            await asyncio.wait({opening})
            if not opening.cancelled():
                self._disk = opening.result()
                self._panel.opened(self._disk.info, self._disk.stats())
        except DiskError as error:
            self._panel.failed(error)
        except Exception as error:
            self._panel.failed(_defect(error))
            raise
        finally:
            self._opening = None
        return await self.view()

    async def close(self) -> View:
        """The user closes the image, or gives its opening up."""
        await self._close()
        return await self.view()

    async def clear_cache(self) -> View:
        """The user empties the image's cache."""
        if self._disk is not None:
            try:
                await self._disk.clear_cache()
                self._panel.cleared(self._disk.stats())
            except DiskError as error:
                self._panel.failed(error)
        return await self.view()

    async def read(self, offset: object, length: object) -> dict[str, object]:
        """The user reads bytes, both values as typed. Answers with `view` and, if read, `bytes`."""
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

    async def _close(self) -> None:
        if self._opening is not None:
            self._opening.cancel()
        disk, self._disk = self._disk, None
        self._panel.closed()
        if disk is not None:
            await disk.close()


def _defect(error: Exception) -> DiskError:
    """What the panel says of an error that should not be; the page gets all of it."""
    return DiskError(f"Something is wrong in this program: {type(error).__name__}.")
