"""The checks that every writable disk must pass, in addition to `DiskSuite`.

Subclass `WritableDiskSuite` as a `DiskSuite`, with `reopen` for a disk that lasts.
"""

from __future__ import annotations

import asyncio
from functools import partial
from random import Random
from typing import TYPE_CHECKING

from ..errors import DiskClosedError, OutOfRangeError
from .disk_suite import DiskSuite

if TYPE_CHECKING:
    from ..disk import Disk
    from ..platform.base import ReadableBuffer

SECTOR = 512


class WritableDiskSuite(DiskSuite):
    """The checks of `DiskSuite`, and those of writing."""

    async def reopen(self, disk: Disk) -> Disk:
        """The same disk, opened again after it was closed here."""
        raise NotImplementedError

    # ── what was written is read ──

    async def test_it_takes_writes(self) -> None:
        async with self._disk() as disk:
            assert not disk.info.read_only

    async def test_writes_at_every_edge(self) -> None:
        async with self._disk() as disk:
            model = bytearray(self._bytes(0, self.size))
            near = (-513, -512, -1, 0, 1, 511, 512, 513)
            steps = {512, 4096, disk.info.block_size, 100_000}
            edges = {number * step + delta for step in steps for number in (0, 3) for delta in near}
            edges |= {self.size + delta for delta in near}
            lengths = (1, 2, 511, 512, 513, 4096, 9000)
            for number, start in enumerate(sorted(e for e in edges if 0 <= e < self.size)):
                data = _data(number, min(lengths[number % len(lengths)], self.size - start))
                await disk.write(start, data)
                model[start : start + len(data)] = data
                first, last = max(0, start - 5000), min(self.size, start + len(data) + 5000)
                assert await disk.read(first, last - first) == model[first:last], start
            assert await disk.read(0, self.size) == model

    async def test_anything_in_any_order(self) -> None:
        for seed in range(4):
            await self._anything(Random(seed))  # noqa: S311 - the same at every run

    async def _anything(self, random: Random) -> None:
        async with self._disk() as disk:
            model = bytearray(self._bytes(0, self.size))
            for number in range(150):
                start = random.randrange(self.size)
                longest = random.choice([SECTOR, 4096, 20_000, 300_000])
                length = min(random.randrange(longest + 1), self.size - start)
                what = random.random()
                if what < 0.5:
                    data = _data(number, length)
                    await disk.write(start, data)
                    model[start : start + length] = data
                elif what < 0.6:
                    await disk.discard(start, length)
                    model[start : start + length] = bytes(length)
                elif what < 0.7:
                    await disk.flush()
                else:
                    assert await disk.read(start, length) == model[start : start + length]
            assert await disk.read(0, self.size) == model

    async def test_the_whole_disk_in_one_write(self) -> None:
        async with self._disk() as disk:
            data = _data(1, self.size)
            await disk.write(0, data)
            assert await disk.read(0, self.size) == data
            await disk.flush()
            assert await disk.read(0, self.size) == data

    async def test_any_buffer_can_be_written(self) -> None:
        async with self._disk() as disk:
            data = _data(2, 3000)
            buffers: list[ReadableBuffer] = [data, bytearray(data), memoryview(data)]
            for number, buffer in enumerate(buffers):
                await disk.write(number * 10_000 + 7, buffer)
                assert await disk.read(number * 10_000 + 7, 3000) == data

    async def test_what_was_written_is_the_disks_own(self) -> None:
        async with self._disk() as disk:
            for length in (700, 4096, 200_000):
                data = bytearray(_data(3, length))
                before = bytes(data)
                await disk.write(0, data)
                data[:] = bytes(length)
                assert await disk.read(0, length) == before

    async def test_writing_nothing(self) -> None:
        async with self._disk() as disk:
            for offset in (0, 1, self.size):
                await disk.write(offset, b"")
                assert disk.try_write(offset, b"")
                await disk.discard(offset, 0)
            assert await disk.read(0, self.size) == self._bytes(0, self.size)

    async def test_try_write_is_there_or_not_at_all(self) -> None:
        async with self._disk() as disk:
            model = bytearray(self._bytes(0, self.size))
            for number, start in enumerate((0, 511, 8192, self.size - 100, 300_001)):
                data = _data(number, 100)
                if disk.try_write(start, data):
                    model[start : start + 100] = data
                assert await disk.read(start, 100) == model[start : start + 100]
            assert await disk.read(0, self.size) == model

    async def test_reads_and_writes_at_once(self) -> None:
        async with self._disk() as disk:
            model = bytearray(self._bytes(0, self.size))

            async def write(number: int) -> None:
                data = _data(number, 3000)
                await disk.write(number * 12_345, data)
                model[number * 12_345 : number * 12_345 + 3000] = data
                assert await disk.read(number * 12_345, 3000) == data

            reads = (disk.read(number * 20_000, 9000) for number in range(40))
            await asyncio.gather(*(write(number) for number in range(60)), *reads)
            assert await disk.read(0, self.size) == model

    async def test_writes_at_once_to_parts_of_one_sector(self) -> None:
        async with self._disk() as disk:
            parts = [_data(number, 64) for number in range(8)]
            await asyncio.gather(
                *(disk.write(51_200 + 64 * number, part) for number, part in enumerate(parts))
            )
            assert await disk.read(51_200, 512) == b"".join(parts)

    # ── discarding ──

    async def test_what_is_discarded_reads_as_zeros(self) -> None:
        async with self._disk() as disk:
            model = bytearray(self._bytes(0, self.size))
            await disk.write(100_000, _data(4, 50_000))
            model[100_000:150_000] = _data(4, 50_000)
            for start, length in (
                (110_000, 20_000),
                (0, 4096),
                (5000, 100),
                (self.size - 9000, 9000),
            ):
                await disk.discard(start, length)
                model[start : start + length] = bytes(length)
                assert await disk.read(0, self.size) == model, start
            await disk.write(112_000, b"again")
            model[112_000:112_005] = b"again"
            assert await disk.read(0, self.size) == model

    async def test_all_can_be_discarded(self) -> None:
        async with self._disk() as disk:
            await disk.discard(0, self.size)
            assert await disk.read(0, self.size) == bytes(self.size)
            await disk.flush()
            assert disk.stats().used_bytes <= 4096

    # ── lasting ──

    async def test_what_was_flushed_lasts(self) -> None:
        await self._lasts(flush=True)

    async def test_closing_flushes(self) -> None:
        await self._lasts(flush=False)

    async def _lasts(self, *, flush: bool) -> None:
        disk = await self.make(self._image())
        model = bytearray(self._bytes(0, self.size))
        for turn in range(3):
            for number in range(20):
                start, data = (number * 49_999 + turn) % (self.size - 6000), _data(number, 5000)
                await disk.write(start, data)
                model[start : start + 5000] = data
            await disk.discard(turn * 200_000, 50_000)
            model[turn * 200_000 : turn * 200_000 + 50_000] = bytes(50_000)
            if flush:
                await disk.flush()
            await disk.close()
            disk = await self.reopen(disk)
            assert await disk.read(0, self.size) == model
        await disk.close()
        await self.clean_up(disk)

    async def test_the_version_tells_what_was_flushed(self) -> None:
        disk = await self.make(self._image())
        first = disk.info.version
        await disk.close()
        disk = await self.reopen(disk)
        assert disk.info.version == first, "opening changed nothing"
        await disk.write(0, b"x")
        await disk.flush()
        second = disk.info.version
        assert second != first
        await disk.flush()
        assert disk.info.version == second
        await disk.close()
        disk = await self.reopen(disk)
        assert disk.info.version == second
        await disk.close()
        await self.clean_up(disk)

    # ── bounds, counters, closing ──

    async def test_writes_outside_are_refused(self) -> None:
        async with self._disk() as disk:
            size = self.size
            for offset, length in ((-1, 1), (size - 1, 2), (size, 1), (size + 1, 0), (1 << 63, 1)):
                for call in (
                    partial(disk.write, offset, bytes(length)),
                    partial(disk.discard, offset, length),
                ):
                    try:
                        await call()
                    except OutOfRangeError as error:
                        assert (error.offset, error.length) == (offset, length)  # noqa: PT017
                    else:
                        raise AssertionError(f"{length} bytes at {offset} were not refused")
            assert await disk.read(0, size) == self._bytes(0, size)

    async def test_stats_count_what_was_written(self) -> None:
        async with self._disk() as disk:
            before = disk.stats().bytes_written
            await disk.write(0, bytes(1000))
            await disk.write(500, bytes(1000))
            assert disk.stats().bytes_written - before == 2000

    async def test_a_closed_disk_takes_no_writes(self) -> None:
        async with self._disk() as disk:
            await disk.close()
            for call in (partial(disk.write, 0, b"x"), partial(disk.discard, 0, 1), disk.flush):
                try:
                    await call()
                except DiskClosedError:
                    continue
                raise AssertionError("a closed disk was written to")


def _data(seed: int, length: int) -> bytes:
    return Random(seed).randbytes(length)  # noqa: S311 - the same at every run
