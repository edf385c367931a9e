"""A round of the library: images and overlays that are written to, on files that fail and die.

What must hold: a disk reads as it was written; after a kill each sector is what was flushed last or
what was written since; a refused write changes nothing; damage is an error and never other content.
"""

from __future__ import annotations

import contextlib
import random
from typing import Any

from aero_browser_disk import Library, LibraryDisk, open_disk
from aero_browser_disk.errors import DiskError, StorageFullError
from aero_browser_disk.platform.base import HttpClient
from aero_browser_disk.testing.image_server import ImageServer
from aero_browser_disk.transfer.image_export import Hole
from support.storms import KilledError, Machine

SECTOR = 512
PLENTY = 1 << 40


class Expected:
    """What a disk holds, and what each of its sectors may hold after a crash."""

    def __init__(self, content: bytes) -> None:
        self.content = bytearray(content)
        self.may_be: dict[int, set[bytes]] = {}

    def write(self, offset: int, data: bytes) -> bytearray:
        """The content after a write that has begun: a crash may leave each sector old or new."""
        after = bytearray(self.content)
        after[offset : offset + len(data)] = data
        if data:
            for sector in range(offset // SECTOR, (offset + len(data) - 1) // SECTOR + 1):
                part = slice(sector * SECTOR, (sector + 1) * SECTOR)
                seen = self.may_be.setdefault(sector, {bytes(self.content[part])})
                seen.add(bytes(after[part]))
        return after

    def flushed(self) -> None:
        self.may_be.clear()

    def observe(self, found: bytes) -> None:
        """What a disk reads as after a write that storage broke off."""
        for at in range(0, len(found), SECTOR):
            part = found[at : at + SECTOR]
            allowed = self.may_be.get(at // SECTOR, {bytes(self.content[at : at + SECTOR])})
            assert part in allowed, f"sector {at // SECTOR} is wrong after a failed write"
        self.content[:] = found

    def take_over(self, found: bytes) -> None:
        """What is there after a crash, which must be what was promised."""
        assert len(found) == len(self.content), "another size"
        for at in range(0, len(found), SECTOR):
            part = found[at : at + SECTOR]
            allowed = self.may_be.get(at // SECTOR, {bytes(self.content[at : at + SECTOR])})
            assert part in allowed, f"sector {at // SECTOR} is wrong after a crash"
        self.content[:] = found
        self.flushed()


class LibraryRound:
    """One image, with an overlay or without, opened by one process after another."""

    def __init__(self, seed: int, server: ImageServer, http: HttpClient) -> None:
        self.chance = random.Random(seed)
        self.machine = Machine(self.chance, http)
        self.size = SECTOR * self.chance.choice([1, 8, 77, 300, 1000])
        self.overlay = "layer" if self.chance.random() < 0.5 else None
        self.disk: LibraryDisk | None = None
        self.expected = Expected(bytes(self.size))
        self.may_have_lost = False
        self.is_unsure = False

    async def run(self) -> None:
        """Raises when something does not hold."""
        await self._make()
        steps = [
            *([self._write] * 10),
            *([self._read] * 4),
            *([self._flush] * 2),
            self._discard,
            self._reopen,
            self._reopen,
            self._fill,
            self._fail_storage,
            self._kill,
            self._export,
            self._look,
            self._overreach,
        ]
        for _ in range(self.chance.randrange(4, 40)):
            step = self.chance.choice(steps)
            try:
                with contextlib.suppress(DiskError):
                    await step()
            except KilledError:
                await self._restart()
        await self._end()

    async def _make(self) -> None:
        library = await Library.open(self.machine.platform)
        if self.chance.random() < 0.5:
            content = self.chance.randbytes(self.size)
            work = library.import_bytes(content, "disk")
            self.expected = Expected(content)
        else:
            work = library.create("disk", self.size)
        await self.machine.call("make", work)
        await self._open()  # an overlay is there from its first opening on

    async def _open(self) -> LibraryDisk:
        if self.disk is None:
            options: dict[str, Any] = {"overlay": self.overlay} if self.overlay else {}
            work = open_disk(image="disk", platform=self.machine.platform, **options)
            disk = await self.machine.call("open", work)
            assert isinstance(disk, LibraryDisk)
            self.disk = disk
        if self.is_unsure:
            found = await self.machine.call("read all", self.disk.read(0, self.size))
            if not self.may_have_lost:
                self.expected.observe(found)
            self.is_unsure = False
        if self.may_have_lost:
            found = await self.machine.call("read all", self.disk.read(0, self.size))
            self.expected.take_over(found)
            self.may_have_lost = False
        return self.disk

    def _a_range(self) -> tuple[int, int]:
        offset = self.chance.randrange(self.size)
        longest = self.size - offset
        length = self.chance.choice([1, SECTOR, 4096, self.chance.randrange(longest + 1)])
        return offset, min(length, longest)

    async def _write(self) -> None:
        disk = await self._open()
        offset, length = self._a_range()
        await self._change(disk, offset, self.chance.randbytes(length), "write")

    async def _discard(self) -> None:
        disk = await self._open()
        offset, length = self._a_range()
        offset -= offset % SECTOR
        length -= length % SECTOR
        await self._change(disk, offset, bytes(length), "discard")

    async def _change(self, disk: LibraryDisk, offset: int, data: bytes, kind: str) -> None:
        after = self.expected.write(offset, data)
        work = disk.write(offset, data) if kind == "write" else disk.discard(offset, len(data))
        try:
            await self.machine.call(f"{kind} {offset} {len(data)}", work)
        except StorageFullError:
            await self._check(disk, offset, len(data))  # refused as a whole
            raise
        except DiskError:
            # Storage failed in the middle: which sectors are new is not promised.
            self.is_unsure = True
            raise
        self.expected.content[:] = after

    async def _read(self) -> None:
        offset, length = self._a_range()
        await self._check(await self._open(), offset, length)

    async def _check(self, disk: LibraryDisk, offset: int, length: int) -> None:
        found = await self.machine.call(f"read {offset} {length}", disk.read(offset, length))
        assert found == self.expected.content[offset : offset + length], "wrong bytes"

    async def _flush(self) -> None:
        await self.machine.call("flush", (await self._open()).flush())
        self.expected.flushed()

    async def _close(self) -> None:
        disk, self.disk = self.disk, None
        if disk is not None:
            self.may_have_lost = True
            await self.machine.call("close", disk.close())
            self.may_have_lost = False
            if not self.is_unsure:
                self.expected.flushed()

    async def _reopen(self) -> None:
        await self._close()
        await self._open()

    async def _overreach(self) -> None:
        disk = await self._open()
        for offset, length in ((self.size, 1), (-1, 1), (0, self.size + 1), (0, -1), (1 << 70, 1)):
            with contextlib.suppress(DiskError):
                await self.machine.call(f"read {offset} {length}", disk.read(offset, length))
                raise AssertionError("a read outside the disk")

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

    async def _fail_storage(self) -> None:
        operation = self.chance.choice(["open", "read", "write", "truncate", "allocate", "flush"])
        at, times = self.chance.randrange(1, 5), self.chance.choice([1, 3])
        self.machine.note(f"storage: {operation} fails from call {at} on, {times} times")
        self.machine.storage.fail(operation, at=at, times=times)

    async def _fill(self) -> None:
        storage = self.machine.storage
        free = self.chance.choice([0, 4096, 65536, PLENTY, PLENTY])
        self.machine.note(f"{free} bytes free")
        storage.quota = storage.used + free if self.chance.random() < 0.5 else PLENTY
        storage.device = storage.used_on_device + free

    async def _kill(self) -> None:
        at = self.chance.randrange(1, 12)
        self.machine.note(f"killed in change {at} from here")
        self.machine.storage.cut_power_at(at)
        if self.chance.random() < 0.3:
            raise KilledError

    async def _restart(self) -> None:
        await self.machine.restart()
        self.disk, self.may_have_lost = None, True  # its process is dead

    async def _end(self) -> None:
        """All is well again, so all must be there; after damage it is, or an error says so."""
        self.machine.note("all is well")
        storage = self.machine.storage
        storage._faults.clear()
        storage._cut_at = None
        storage.quota = storage.device = PLENTY
        with contextlib.suppress(DiskError):
            await self._close()
        disk = await self._open()
        await self._check(disk, 0, self.size)
        await self._write()
        await self._close()
        if self.chance.random() < 0.3 and self.machine.damage() is not None:
            with contextlib.suppress(DiskError):
                await self._check(await self._open(), 0, self.size)
        else:
            await self._check(await self._open(), 0, self.size)
        with contextlib.suppress(DiskError):
            await self._close()
