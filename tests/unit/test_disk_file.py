"""A disk as a Python file: as `io` has it, exact, and plain-spoken where it cannot wait."""

from __future__ import annotations

import asyncio
import io
import os

import pytest

from aero_browser_disk.disk import DiskInfo
from aero_browser_disk.disk_file import DiskFile
from aero_browser_disk.errors import CannotWaitError, OutOfRangeError, ReadOnlyError
from aero_browser_disk.open_disk import open_disk
from support.samples import IMAGE


class WritableDisk:
    """A disk in memory whose every call has to be waited for."""

    def __init__(self, size: int) -> None:
        self.data = bytearray(size)
        self.info = DiskInfo(size, "v", 512, read_only=False)
        self.flushes = 0

    def try_read_into(self, offset, target) -> bool:
        return False

    async def read_into(self, offset, target) -> None:
        await asyncio.sleep(0)
        target[:] = self.data[offset : offset + len(target)]

    def try_write(self, offset, data) -> bool:
        return False

    async def write(self, offset, data) -> None:
        await asyncio.sleep(0)
        self.data[offset : offset + len(data)] = data

    async def flush(self) -> None:
        self.flushes += 1


@pytest.fixture
async def disk(server, platform):
    opened = await open_disk(
        server.url("disk.img"), allow_remote=True, platform=platform, read_ahead=False
    )
    yield opened
    await opened.close()


async def test_a_thread_reads_what_the_loop_fetches(disk):
    def parse(file: DiskFile) -> None:
        with io.BufferedReader(file, 4096) as buffered:
            for offset in (0, 1, 700_001, IMAGE.size - 3):
                buffered.seek(offset)
                assert buffered.read(5000) == IMAGE.read(offset, min(5000, IMAGE.size - offset))
            buffered.seek(0)
            assert buffered.read() == IMAGE.read(0, IMAGE.size)

    await asyncio.to_thread(parse, DiskFile(disk))


async def test_in_the_loop_s_own_thread_what_is_cached_is_read_and_the_rest_refused(disk):
    file = DiskFile(disk)
    assert file.read(512) == IMAGE.read(0, 512)
    file.seek(2_000_000)
    with pytest.raises(CannotWaitError, match="to_thread"):
        file.read(1)
    assert file.tell() == 2_000_000  # a read that failed moved nothing
    await disk.read(2_000_000, 1)
    assert file.read(1) == IMAGE.read(2_000_000, 1)


def test_a_runner_waits_where_there_is_no_loop():
    with asyncio.Runner() as runner:
        disk = WritableDisk(10_000)
        disk.data[5000:5005] = b"hello"
        file = DiskFile(disk, wait=runner.run)
        file.seek(5000)
        assert file.read(5) == b"hello"


def test_without_a_loop_or_a_runner_it_says_what_to_do():
    with pytest.raises(CannotWaitError, match=r"runner\.run"):
        DiskFile(WritableDisk(10)).read(1)


async def test_it_is_a_file_of_fixed_size(disk):
    file = DiskFile(disk)
    assert (file.readable(), file.seekable(), file.writable()) == (True, True, False)
    assert file.seek(0, os.SEEK_END) == file.size == IMAGE.size
    assert file.read(10) == b""
    assert file.seek(-10, os.SEEK_CUR) == IMAGE.size - 10
    assert file.seek(IMAGE.size + 50) == IMAGE.size + 50  # as of any file
    assert file.read(1) == b""
    for wrong in ((-1,), (-IMAGE.size - 1, os.SEEK_END), (0, 9)):
        with pytest.raises(ValueError, match=r"seek|whence"):
            file.seek(*wrong)
    for refused in (file.truncate, file.fileno):
        with pytest.raises(io.UnsupportedOperation):
            refused()
    with pytest.raises(ReadOnlyError):
        file.write(b"x")


async def test_a_closed_file_is_closed_and_its_disk_is_not(disk):
    file = DiskFile(disk)
    file.close()
    file.close()
    assert file.closed
    for call in (file.tell, file.readable, lambda: file.read(1), lambda: file.seek(0), file.flush):
        with pytest.raises(ValueError, match="closed file"):
            call()
    assert await disk.read(0, 10) == IMAGE.read(0, 10)


async def test_writes_reach_the_disk_and_flush_makes_them_last():
    disk = WritableDisk(100_000)

    def work(file: DiskFile) -> None:
        with io.BufferedRandom(file, 4096) as buffered:
            buffered.seek(10)
            buffered.write(b"abc" * 5000)
            buffered.seek(20)
            assert buffered.read(5) == (b"abc" * 5000)[10:15]
            buffered.flush()  # into the disk
            file.flush()  # for good
            assert disk.flushes == 1
            buffered.write(b"x")

    await asyncio.to_thread(work, DiskFile(disk))
    expected = bytearray(b"abc" * 5000)
    expected[15:16] = b"x"
    assert disk.data[10:15010] == expected
    assert disk.flushes == 2  # closing does it too


async def test_a_write_past_the_end_is_refused_whole():
    disk = WritableDisk(100)

    def work(file: DiskFile) -> None:
        file.seek(90)
        with pytest.raises(OutOfRangeError):
            file.write(bytes(11))
        assert file.write(b"x" * 10) == 10
        assert file.write(b"") == 0

    file = DiskFile(disk)
    await asyncio.to_thread(work, file)
    await asyncio.to_thread(file.close)
    assert bytes(disk.data) == bytes(90) + b"x" * 10


async def test_a_file_that_is_collected_unflushed_warns_and_waits_for_nothing():
    disk = WritableDisk(100)
    file = DiskFile(disk)
    await asyncio.to_thread(file.write, b"x")
    await asyncio.get_running_loop().shutdown_default_executor()  # its thread may have it still
    with pytest.warns(ResourceWarning, match="not closed"):
        del file
    assert disk.flushes == 0


async def test_a_file_that_is_collected_flushed_is_quiet(recwarn):
    disk = WritableDisk(100)
    file = DiskFile(disk)
    await asyncio.to_thread(file.write, b"x")
    await asyncio.to_thread(file.flush)
    await asyncio.get_running_loop().shutdown_default_executor()  # its thread may have it still
    del file
    assert disk.flushes == 1
    assert not [warning for warning in recwarn if "not closed" in str(warning.message)]


async def test_buffers_of_any_item_size_are_filled(disk):
    from array import array

    target = array("I", [0] * 100)
    assert DiskFile(disk).readinto(target) == 400
    assert target.tobytes() == IMAGE.read(0, 400)
