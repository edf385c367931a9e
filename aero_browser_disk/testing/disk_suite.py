"""The checks that every disk must pass; writable ones also pass `writable_disk_suite`.

Subclass `DiskSuite`, say how to make a disk over given bytes, and name the class `Test...` for
pytest (with pytest-asyncio), or hand it to `suite_runner`.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import fields
from functools import partial
from random import Random
from typing import TYPE_CHECKING

from ..disk import DiskStats
from ..errors import DiskClosedError, DiskError, OutOfRangeError, ReadOnlyError
from .synthetic_image import SyntheticImage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from ..disk import Disk

_WAIT_S = 10.0
_LEVELS = ("requests_in_flight", "cached_bytes", "cached_blocks", "cache_limit_bytes")


class DiskSuite:
    """The checks. Each is an `async def` without arguments and runs on an instance of its own."""

    size = 1_000_003
    """Bytes in the image of most checks: a few blocks, the last of them short and odd."""

    sizes: tuple[int, ...] = (1, 511, 512, 513, 4096, 65_536, 131_073)
    """Sizes of images that are read whole."""

    # ── for the subclass ──

    async def make(self, image: SyntheticImage) -> Disk:
        """An open disk that has the bytes of `image`, none of them read yet."""
        raise NotImplementedError

    async def clean_up(self, disk: Disk) -> None:
        """Undoes `make`; the disk is closed before."""

    # ── what it is ──

    async def test_info(self) -> None:
        async with self._disk() as disk:
            assert disk.info.size == self.size
            assert disk.info.block_size >= 1
            assert disk.info.version

    # ── reading ──

    async def test_images_of_any_size(self) -> None:
        for size in self.sizes:
            async with self._disk(size) as disk:
                assert disk.info.size == size
                assert await disk.read(0, size) == _bytes(0, size, size), size

    async def test_reads_at_every_edge_of_a_block(self) -> None:
        async with self._disk() as disk:
            block = disk.info.block_size
            near = (-513, -512, -1, 0, 1, 511, 512, 513)
            edges = {number * block + delta for number in range(4) for delta in near}
            edges |= {self.size + delta for delta in near}
            starts = sorted(edge for edge in edges if 0 <= edge < self.size)
            for start in starts:
                for length in (1, 2, 512, block - 1, block, block + 1, 2 * block + 1):
                    length = min(length, self.size - start)  # noqa: PLW2901 - cut at the end
                    assert await disk.read(start, length) == self._bytes(start, length)

    async def test_reads_at_random(self) -> None:
        random = Random(1)  # noqa: S311 - the same at every run
        async with self._disk() as disk:
            for _ in range(200):
                start = random.randrange(self.size)
                length = random.randrange(min(self.size - start, 10_000) + 1)
                assert await disk.read(start, length) == self._bytes(start, length)

    async def test_first_and_last_byte(self) -> None:
        async with self._disk() as disk:
            assert await disk.read(self.size - 1, 1) == self._bytes(self.size - 1, 1)
            assert await disk.read(0, 1) == self._bytes(0, 1)

    async def test_the_whole_disk_in_one_read(self) -> None:
        async with self._disk() as disk:
            assert await disk.read(0, self.size) == self._bytes(0, self.size)

    async def test_reading_nothing(self) -> None:
        async with self._disk() as disk:
            for offset in (0, 1, self.size - 1, self.size):
                assert await disk.read(offset, 0) == b""
                await disk.read_into(offset, bytearray())

    async def test_the_same_bytes_again(self) -> None:
        async with self._disk() as disk:
            for _ in range(3):
                assert await disk.read(1000, 5000) == self._bytes(1000, 5000)

    async def test_a_read_is_the_callers_own(self) -> None:
        async with self._disk() as disk:
            target = bytearray(1000)
            await disk.read_into(0, target)
            target[:] = bytes(1000)
            assert await disk.read(0, 1000) == self._bytes(0, 1000)

    async def test_read_fills_its_view_and_no_more(self) -> None:
        async with self._disk() as disk:
            target = bytearray(b"." * 2000)
            await disk.read_into(100, memoryview(target)[500:1500])
            expected = b"." * 500 + self._bytes(100, 1000) + b"." * 500
            assert target == expected

    async def test_many_reads_at_once(self) -> None:
        random = Random(2)  # noqa: S311 - the same at every run
        async with self._disk() as disk:

            async def one() -> None:
                start = random.randrange(self.size - 5000)
                assert await disk.read(start, 5000) == self._bytes(start, 5000)

            await asyncio.gather(*(one() for _ in range(60)))

    # ── without waiting ──

    async def test_try_read_is_right_when_it_reads(self) -> None:
        async with self._disk() as disk:
            for _ in range(2):
                for offset in (0, 511, self.size - 100):
                    target = bytearray(100)
                    if disk.try_read_into(offset, target):
                        assert target == self._bytes(offset, 100)
                    assert await disk.read(offset, 100) == self._bytes(offset, 100)

    async def test_try_read_keeps_the_bounds(self) -> None:
        async with self._disk() as disk:
            for offset, length in ((-1, 1), (self.size, 1), (self.size - 1, 2), (1 << 60, 1)):
                try:
                    disk.try_read_into(offset, bytearray(length))
                except OutOfRangeError as error:
                    assert (error.offset, error.length) == (offset, length)  # noqa: PT017
                else:
                    raise AssertionError(f"{length} bytes at {offset} were not refused")

    # ── bounds ──

    async def test_reads_outside_are_refused(self) -> None:
        async with self._disk() as disk:
            size = self.size
            for offset, length in (
                (-1, 1),
                (-1, 0),
                (0, -1),
                (0, size + 1),
                (size - 1, 2),
                (size, 1),
                (size + 1, 0),
                (1 << 63, 1),
                (-(1 << 63), 10),
            ):
                try:
                    await disk.read(offset, length)
                except OutOfRangeError as error:
                    found = (error.offset, error.length, error.size)
                    assert found == (offset, length, size)
                else:
                    raise AssertionError(f"{length} bytes at {offset} were not refused")
            assert await disk.read(0, 10) == self._bytes(0, 10)

    async def test_a_view_that_reaches_outside_is_left_alone(self) -> None:
        async with self._disk() as disk:
            target = bytearray(b"." * 100)
            try:
                await disk.read_into(self.size - 50, target)
            except OutOfRangeError:
                assert target == b"." * 100
            else:
                raise AssertionError("a read over the end was not refused")

    # ── giving up and closing ──

    async def test_a_cancelled_read_spoils_nothing(self) -> None:
        async with self._disk() as disk:
            for turns in range(6):
                reading = asyncio.ensure_future(disk.read(0, self.size))
                for _ in range(turns):
                    await asyncio.sleep(0)
                reading.cancel()
                await asyncio.wait({reading}, timeout=_WAIT_S)
                assert reading.done(), "the cancelled read still waits"
                start = turns * self.size // 7
                assert await disk.read(start, 1000) == self._bytes(start, 1000)
            assert await disk.read(0, self.size) == self._bytes(0, self.size)

    async def test_cancelling_one_of_two_readers_leaves_the_other(self) -> None:
        async with self._disk() as disk:
            first = asyncio.ensure_future(disk.read(0, 1000))
            second = asyncio.ensure_future(disk.read(0, 1000))
            await asyncio.sleep(0)
            first.cancel()
            assert await asyncio.wait_for(second, _WAIT_S) == self._bytes(0, 1000)

    async def test_a_closed_disk_reads_no_more(self) -> None:
        async with self._disk() as disk:
            await disk.read(0, 100)
            await disk.close()
            await disk.close()
            for call in (lambda: disk.read(0, 1), lambda: disk.read_into(0, bytearray(1))):
                try:
                    await call()
                except DiskClosedError:
                    continue
                raise AssertionError("a closed disk was read")
            try:
                disk.try_read_into(0, bytearray(1))
            except DiskClosedError:
                return
            raise AssertionError("a closed disk was read without waiting")

    async def test_closing_ends_reads_that_wait(self) -> None:
        async with self._disk() as disk:
            reading = asyncio.ensure_future(disk.read(0, self.size))
            await asyncio.sleep(0)
            await asyncio.wait_for(disk.close(), _WAIT_S)
            await asyncio.wait({reading}, timeout=_WAIT_S)
            assert reading.done(), "a read outlives its disk"
            error = reading.exception()
            if error is None:
                assert reading.result() == self._bytes(0, self.size)
            else:
                assert isinstance(error, DiskError), repr(error)

    # ── writing, to a disk that is read-only ──

    async def test_a_read_only_disk_refuses_writes(self) -> None:
        async with self._disk() as disk:
            if not disk.info.read_only:
                return
            for call in (
                partial(disk.write, 0, b"x" * 512),
                partial(disk.write, 0, b""),
                partial(disk.discard, 0, 512),
            ):
                try:
                    await call()
                except ReadOnlyError:
                    continue
                raise AssertionError("a write to a read-only disk was not refused")
            try:
                disk.try_write(0, b"x")
            except ReadOnlyError:
                pass
            else:
                raise AssertionError("a write without waiting was not refused")
            await disk.flush()
            assert await disk.read(0, 1000) == self._bytes(0, 1000)

    # ── counters ──

    async def test_stats_count_what_was_read(self) -> None:
        async with self._disk() as disk:
            before = disk.stats()
            await disk.read(0, 1000)
            await disk.read(500, 1000)
            await disk.read(self.size - 3, 3)
            after = disk.stats()
            assert after.bytes_read - before.bytes_read == 2003
            assert after.hits + after.misses > before.hits + before.misses
            for field in fields(DiskStats):
                old, new = getattr(before, field.name), getattr(after, field.name)
                if isinstance(new, int):
                    assert new >= 0, field.name
                    if field.name not in _LEVELS:
                        assert new >= old, field.name

    async def test_refused_reads_are_not_counted(self) -> None:
        async with self._disk() as disk:
            before = disk.stats()
            try:
                await disk.read(self.size, 1)
            except OutOfRangeError:
                assert disk.stats() == before
            else:
                raise AssertionError("a read over the end was not refused")

    # ── what the checks are made of ──

    @asynccontextmanager
    async def _disk(self, size: int | None = None) -> AsyncIterator[Disk]:
        disk = await self.make(self._image(size))
        try:
            yield disk
        finally:
            await disk.close()
            await self.clean_up(disk)

    def _image(self, size: int | None = None) -> SyntheticImage:
        return SyntheticImage(self.size if size is None else size, seed=3)

    def _bytes(self, offset: int, length: int) -> bytes:
        return _bytes(offset, length, self.size)


def _bytes(offset: int, length: int, size: int) -> bytes:
    expected = SyntheticImage(size, seed=3).read(offset, length)
    assert len(expected) == length
    return expected
