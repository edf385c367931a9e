"""A round of an overlay over a remote image: server faults and file faults, kills, a full device.

What must hold is what holds for every written disk; the server may only make calls fail.
"""

from __future__ import annotations

from typing import Any

from aero_browser_disk import LibraryDisk, open_disk
from aero_browser_disk.errors import DiskError
from aero_browser_disk.platform.base import HttpClient
from aero_browser_disk.remote.retry import RetryPolicy
from aero_browser_disk.testing.image_content import ServedImage
from aero_browser_disk.testing.image_server import ImageServer
from aero_browser_disk.testing.synthetic_image import SyntheticImage
from support.crashes import Expected
from support.remote_round import behave, misbehave
from support.storms import Step
from support.written_round import WrittenRound

PATIENT_S = 20.0  # where the server behaves and opening must succeed, on a busy machine too


class OverlayRound(WrittenRound):
    """One version of an image on one server, with one overlay over it, or two."""

    def __init__(self, seed: int, server: ImageServer, http: HttpClient) -> None:
        super().__init__(seed, http)
        self.server = server
        self.block = self.chance.choice([4096, 16384])
        self.layers = self.chance.choice([["top"], ["middle", "top"]])
        self.image = SyntheticImage(self.size, self.chance.randrange(1 << 30))
        server.add("disk.img", self.image)
        self.expected = Expected(self.image.read(0, self.size))
        self.timeout_s = PATIENT_S

    async def _begin(self) -> None:
        await self._open()  # an overlay is there from its first opening on
        await self._close()
        self.timeout_s = 0.2  # a server that stalls is given up soon

    def _steps(self) -> list[Step]:
        return [
            *super()._steps(),
            *([self._misbehave] * 3),
            self._behave,
            self._damage_cache,
            self._replace_image,
        ]

    async def _open_disk(self) -> LibraryDisk:
        chance = self.chance
        options: dict[str, Any] = {
            "block_size": self.block,
            "cache_limit_bytes": chance.choice([None, None, 0, self.block]),
            "concurrency": chance.choice([None, 1, 2]),
            "read_ahead": chance.random() < 0.5,
            "timeout_s": self.timeout_s,
            "retry": RetryPolicy(tries=chance.choice([1, 3]), base_s=0.001, cap_s=0.01),
        }
        work = open_disk(
            self.server.url("disk.img"),
            allow_remote=True,
            overlay=self.layers,
            platform=self.machine.platform,
            **options,
        )
        disk = await self.machine.call(f"open {options}", work)
        assert isinstance(disk, LibraryDisk)
        return disk

    async def _misbehave(self) -> None:
        misbehave(self.machine, self.server, self.size, self.block)

    async def _behave(self) -> None:
        self.machine.note("the server behaves")
        behave(self.server)

    async def _damage_cache(self) -> None:
        """Blocks of the image: what is damaged is fetched again."""
        await self._close()
        self.machine.damage("cache")

    async def _replace_image(self) -> None:
        """For a while another version is there, over which the overlay must not open."""
        await self._close()
        behave(self.server)
        served = self.server.image("disk.img")
        other = SyntheticImage(self.size, self.image.seed + 1)
        self.server._images["disk.img"] = ServedImage(other)
        self.machine.note("another version")
        try:
            disk = await self._open_disk()
        except DiskError:
            return
        finally:
            self.server._images["disk.img"] = served
        try:
            found = await self.machine.call("read all", disk.read(0, self.size))
        except DiskError:
            return  # it was opened by its cache, while the server was said to be unchanged
        finally:
            await self.machine.call("close", disk.close())
        self.expected.check_after_crash(found)

    async def _end(self) -> None:
        behave(self.server)
        self.timeout_s = PATIENT_S
        await super()._end()
