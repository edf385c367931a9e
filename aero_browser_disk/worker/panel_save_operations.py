"""What the panel does with saves: over the image that it has, whose address may be secret."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..library.open_image import LibraryDisk
from ..platform.failures import Value
from ..ui.panel import View
from ..ui.save_texts import save_texts
from .operations import Operation
from .panel_session import PanelSession
from .save_operations import SaveOperations


class PanelSaves:
    """The operations of the page's dialog "Save to…", and of an overlay whose image changed."""

    def __init__(self, session: PanelSession, saves: SaveOperations) -> None:
        self._session = session
        self._saves = saves

    def operations(self) -> Mapping[str, Operation]:
        """The operations by name."""
        return {
            "saves.texts": self.texts,
            "saves.here": self.here,
            "saves.look": self.look,
            "saves.take": self.take,
            "saves.rebaseShown": self.rebase,
        }

    async def texts(self) -> dict[str, object]:
        """Every text of the dialog."""
        return save_texts()

    async def here(self) -> dict[str, Value]:
        """Of the open overlay: which version of its image it fits, and where it was sent last."""
        disk = self._session.disk
        if not isinstance(disk, LibraryDisk) or disk.overlay is None:
            return {"baseVersion": None, "sent": None}
        sent = await self._saves.sent_before(disk)
        return {"baseVersion": disk.overlay.base_version, "sent": sent}

    async def look(
        self,
        save: Value = None,
        saves: Value = None,
        generation: Value = None,
        name: Value = None,
    ) -> View:
        """Closes the disk, and opens a save over the same image, to be read only.

        `name` is the save's for the user, where `save` is its id.
        """
        given = self._session.image()
        await self._session.close()

        async def opened() -> LibraryDisk:
            return await self._saves.opened(save, saves, generation=generation, **given)

        return await self._session.open_with(opened, str(given.get("image", "")), str(name or save))

    async def take(
        self,
        save: Value = None,
        overlay: Value = None,
        saves: Value = None,
        generation: Value = None,
        onProgress: Any = None,
    ) -> dict[str, Value]:
        """Downloads a save into a new overlay over the panel's image."""
        server = dict(saves) if isinstance(saves, dict) else {}
        image = self._session.image()
        image.pop("allowRemote", None)
        taken = {"save": save, "overlay": overlay, "generation": generation, **image}
        return await self._saves.pull(**server, **taken, onProgress=onProgress)

    async def rebase(self, **values: Any) -> dict[str, Value]:
        """What moving the overlay to the image's present version means; moves it if asked."""
        return await self._saves.rebase(**values, **self._session.image())
