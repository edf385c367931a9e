"""A round of the library: an image, or an overlay over one, that is written to and exported."""

from __future__ import annotations

from typing import Any

from aero_browser_disk import Library, LibraryDisk, open_disk
from aero_browser_disk.platform.base import HttpClient
from aero_browser_disk.testing.image_server import ImageServer
from aero_browser_disk.transfer.image_export import Hole
from support.crashes import Expected
from support.storms import Step
from support.written_round import WrittenRound


class LibraryRound(WrittenRound):
    """One image, with an overlay or without."""

    def __init__(self, seed: int, server: ImageServer, http: HttpClient) -> None:
        super().__init__(seed, http)
        self.overlay = "layer" if self.chance.random() < 0.5 else None

    def _steps(self) -> list[Step]:
        return [*super()._steps(), self._export, self._look]

    async def _begin(self) -> None:
        library = await Library.open(self.machine.platform)
        if self.chance.random() < 0.5:
            content = self.chance.randbytes(self.size)
            work = library.import_bytes(content, "disk")
            self.expected = Expected(content)
        else:
            work = library.create("disk", self.size)
        await self.machine.call("make", work)
        await self._open()  # an overlay is there from its first opening on

    async def _open_disk(self) -> LibraryDisk:
        options: dict[str, Any] = {"overlay": self.overlay} if self.overlay else {}
        work = open_disk(image="disk", platform=self.machine.platform, **options)
        disk = await self.machine.call("open", work)
        assert isinstance(disk, LibraryDisk)
        return disk

    async def _look(self) -> None:
        library = await Library.open(self.machine.platform)
        await self.machine.call("list", library.list())
        await self.machine.call("usage", library.usage())

    async def _export(self) -> None:
        await self._reopen()
        await self._close()
        library = await Library.open(self.machine.platform)
        overlays = [self.overlay] if self.overlay else []

        async def export() -> bytes:
            async with library.exporting("disk", overlays) as file:
                parts = [part async for part in file.parts]
            return b"".join(bytes(p.length) if isinstance(p, Hole) else p for p in parts)

        assert await self.machine.call("export", export()) == self.expected.content
