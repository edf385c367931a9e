"""What rounds of written disks share: reads and writes against a model, on files that fail and die.

What must hold: a disk reads as it was written; after a kill each sector is what was flushed last or
what was written since; a refused write changes nothing; damage is an error and never other content.
"""

from __future__ import annotations

import contextlib

from aero_browser_disk import LibraryDisk
from aero_browser_disk.errors import DiskError, StorageFullError
from aero_browser_disk.platform.base import HttpClient
from support.crashes import Expected
from support.storms import SECTOR, Round, Step


class WrittenRound(Round):
    """One disk that takes writes, opened by one process after another."""

    def __init__(self, seed: int, http: HttpClient) -> None:
        super().__init__(seed, http)
        self.size = SECTOR * self.chance.choice([1, 8, 77, 300, 1000])
        self.disk: LibraryDisk | None = None
        self.expected = Expected(bytes(self.size))
        self.may_have_lost = False
        self.is_unsure = False

    async def _open_disk(self) -> LibraryDisk:
        """Opens it on the machine."""
        raise NotImplementedError

    def _steps(self) -> list[Step]:
        return [
            *([self._write] * 10),
            *([self._read] * 4),
            *([self._flush] * 2),
            self._discard,
            self._reopen,
            self._reopen,
            self._fill,
            self._fail_storage,
            self._kill,
            self._overreach,
        ]

    def _forget(self) -> None:
        self.disk, self.may_have_lost = None, True

    async def _open(self) -> LibraryDisk:
        if self.disk is None:
            self.disk = await self._open_disk()
        if self.is_unsure or self.may_have_lost:
            found = await self.machine.call("read all", self.disk.read(0, self.size))
            if self.may_have_lost:
                self.expected.check_after_crash(found)
            else:
                self.expected.observe(found)
            self.is_unsure = self.may_have_lost = False
        return self.disk

    async def _write(self) -> None:
        disk = await self._open()
        offset, length = self._a_range(self.size, 4096)
        await self._change(disk, offset, self.chance.randbytes(length), "write")

    async def _discard(self) -> None:
        disk = await self._open()
        offset, length = self._a_range(self.size, 4096)
        offset -= offset % SECTOR
        length -= length % SECTOR
        await self._change(disk, offset, bytes(length), "discard")

    async def _change(self, disk: LibraryDisk, offset: int, data: bytes, kind: str) -> None:
        after = self.expected.begin(offset, data)
        work = disk.write(offset, data) if kind == "write" else disk.discard(offset, len(data))
        try:
            await self.machine.call(f"{kind} {offset} {len(data)}", work)
        except StorageFullError:
            await self._check(disk, offset, len(data))  # refused as a whole
            raise
        except DiskError:
            # It failed in the middle: which sectors are new is not promised.
            self.is_unsure = True
            raise
        self.expected.content[:] = after

    async def _read(self) -> None:
        disk = await self._open()
        await self._check(disk, *self._a_range(self.size, 4096))

    async def _check(self, disk: LibraryDisk, offset: int, length: int) -> None:
        found = await self.machine.call(f"read {offset} {length}", disk.read(offset, length))
        assert found == self.expected.content[offset : offset + length], "wrong bytes"

    async def _flush(self) -> None:
        await self.machine.call("flush", (await self._open()).flush())
        self.expected.flushed()

    async def _close(self) -> None:
        disk, self.disk = self.disk, None
        if disk is not None:
            had_lost, self.may_have_lost = self.may_have_lost, True
            await self.machine.call("close", disk.close())
            self.may_have_lost = had_lost  # what was not read since may still be either
            if not self.is_unsure and not had_lost:
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

    async def _end(self) -> None:
        """All is well again, so all must be there; after damage it is, or an error says so."""
        self.machine.heal()
        with contextlib.suppress(DiskError):
            await self._close()
        await self._check(await self._open(), 0, self.size)
        await self._write()
        await self._close()
        if self.chance.random() < 0.3 and self.machine.damage() is not None:
            with contextlib.suppress(DiskError):
                await self._check(await self._open(), 0, self.size)
        else:
            await self._check(await self._open(), 0, self.size)
        with contextlib.suppress(DiskError):
            await self._close()
