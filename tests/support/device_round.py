"""A round of the library on a real file system of a few megabytes, at times really full."""

from __future__ import annotations

import asyncio
import contextlib
import random
import tempfile
from pathlib import Path

from aero_browser_disk.platform.base import File, HttpClient, Platform
from aero_browser_disk.platform.cpython import FolderStorage
from aero_browser_disk.platform.memory import MemoryLocks
from aero_browser_disk.testing.image_server import ImageServer
from support.library_round import LibraryRound
from support.small_device import filled_device, small_device
from support.storms import KilledError, Machine, Step

DEVICE_BYTES = 4 << 20


class DeviceStorage(FolderStorage):
    """A folder on a device, and what a process has open there."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.root = root
        self.opened: list[File] = []

    # What one process has open, the next has not, though the folder is the same.
    __eq__ = object.__eq__
    __hash__ = object.__hash__

    async def open(self, path: str, *, create: bool = True) -> File:
        file = await super().open(path, create=create)
        self.opened.append(file)
        return file

    def kill(self) -> None:
        """Closes files as the system does for a process that was killed."""
        for file in self.opened:
            file.close()


class DeviceMachine(Machine):
    """A process whose storage is on a device."""

    def __init__(self, chance: random.Random, http: HttpClient, root: Path) -> None:
        super().__init__(chance, http)
        self.device = DeviceStorage(root)
        self._filling = contextlib.ExitStack()

    @property
    def platform(self) -> Platform:
        return Platform(self._http, self.device, self.locks, self.clock)

    def fill(self, left: int | None) -> None:
        """Lets the device have so many bytes left, or all that the disk does not take."""
        self._filling.close()
        if left is not None:
            self._filling.enter_context(filled_device(self.device.root.parent, left=left))

    async def restart(self) -> None:
        await self.end_tasks()
        self.note("restart after a kill")
        self.device.kill()
        self.device = DeviceStorage(self.device.root)
        self.locks = MemoryLocks()

    def heal(self) -> None:
        super().heal()
        self.fill(None)

    def damage(self, below: str = "") -> str | None:
        files = sorted(p for p in (self.device.root / below).rglob("*") if p.is_file())
        files = [path for path in files if path.stat().st_size]
        if not files:
            return None
        path = self.chance.choice(files)
        content = bytearray(path.read_bytes())
        at = self.chance.randrange(len(content))
        content[at] ^= 1 << self.chance.randrange(8)
        path.write_bytes(content)
        self.note(f"bit of {path.name} at {at} of {len(content)}")
        return path.name


class DeviceRound(LibraryRound):
    """As a round of the library; the files do not fail but for want of room."""

    def __init__(self, seed: int, server: ImageServer, http: HttpClient) -> None:
        super().__init__(seed, server, http)
        self._http = http

    async def run(self) -> None:
        with (
            tempfile.TemporaryDirectory() as folder,
            small_device(Path(folder), "tmpfs", DEVICE_BYTES) as device,
        ):
            root = device / "disks"
            root.mkdir()
            self.machine = DeviceMachine(self.chance, self._http, root)
            await super().run()
            await asyncio.sleep(0)

    def _steps(self) -> list[Step]:
        left_out = (self._fail_storage,)
        return [step for step in super()._steps() if step not in left_out] + [self._fill] * 3

    async def _fill(self) -> None:
        left = self.chance.choice([0, 4096, 65536, None, None])
        self.machine.note(f"{left} bytes free")
        assert isinstance(self.machine, DeviceMachine)
        self.machine.fill(left)

    async def _kill(self) -> None:
        raise KilledError
