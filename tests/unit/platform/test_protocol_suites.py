"""What CPython's platform, memory and the streamed disk claim to be, they are; and the suites that
say so find what is broken."""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import asynccontextmanager, contextmanager
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest

from aero_browser_disk import open_disk
from aero_browser_disk.platform.cpython import (
    CpythonHttp,
    CpythonResponse,
    FolderLocks,
    FolderStorage,
    cpython_platform,
)
from aero_browser_disk.platform.memory import MemoryFile, MemoryLock, MemoryLocks, MemoryStorage
from aero_browser_disk.testing.disk_suite import DiskSuite
from aero_browser_disk.testing.http_suite import HTTP_SUITE_IMAGES, HttpSuite
from aero_browser_disk.testing.image_server import ImageServer
from aero_browser_disk.testing.locks_suite import LocksSuite
from aero_browser_disk.testing.storage_suite import StorageSuite
from aero_browser_disk.testing.suite_runner import check_names, check_suite, run_suite
from support.small_device import filled_device, small_device

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from aero_browser_disk.disk import Disk
    from aero_browser_disk.platform.base import Platform
    from aero_browser_disk.testing.synthetic_image import SyntheticImage


class TestFolderStorage(StorageSuite):
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.folder = tmp_path / "storage"

    async def make(self) -> FolderStorage:
        return FolderStorage(self.folder)

    async def raw_read(self, storage: FolderStorage, path: str) -> bytes:
        return (self.folder / path).read_bytes()

    async def raw_write(self, storage: FolderStorage, path: str, data: bytes) -> None:
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)


class TestFolderStorageOnASmallDevice(TestFolderStorage):
    """Which can really be full: no quota stands before it."""

    far_offset = 1 << 20

    @pytest.fixture(autouse=True, params=["tmpfs", "ext4"])
    def _folder(self, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[None]:
        with small_device(tmp_path, request.param, 16 << 20) as self.device:
            self.folder = self.device / "storage"
            yield

    @asynccontextmanager
    async def full_device(self) -> AsyncIterator[bool]:
        with filled_device(self.device):
            yield True


class TestFolderStorageWithoutFallocate(TestFolderStorageOnASmallDevice):
    """As on a system, or a file system, that has no such call."""

    @pytest.fixture(autouse=True)
    def _no_fallocate(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delattr(os, "posix_fallocate")


class MemorySuite(StorageSuite):
    far_offset = 1 << 20
    storage: MemoryStorage

    @asynccontextmanager
    async def full_device(self) -> AsyncIterator[bool]:
        quota, self.storage.quota = self.storage.quota, self.storage.used()
        yield True
        self.storage.quota = quota

    async def make(self) -> MemoryStorage:
        self.storage = MemoryStorage()
        return self.storage

    async def raw_read(self, storage: MemoryStorage, path: str) -> bytes:
        return bytes(storage.files[path])

    async def raw_write(self, storage: MemoryStorage, path: str, data: bytes) -> None:
        storage.files[path] = bytearray(data)


class TestMemoryStorage(MemorySuite):
    """As it is."""


class TestFolderLocks(LocksSuite):
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.folder = tmp_path

    async def make(self) -> FolderLocks:
        return FolderLocks(self.folder)


class TestMemoryLocks(LocksSuite):
    async def make(self) -> MemoryLocks:
        return MemoryLocks()


@contextmanager
def http_suite_server() -> Iterator[tuple[str, str, str]]:
    """The origins that `HttpSuite` wants."""
    with ImageServer(HTTP_SUITE_IMAGES) as server, socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # and does not listen
        refusing = f"http://127.0.0.1:{bound.getsockname()[1]}"
        yield server.origin, f"http://localhost:{server.port}", refusing


class TestHostHttp(HttpSuite):
    @pytest.fixture(autouse=True)
    def _server(self) -> Iterator[None]:
        with http_suite_server() as origins:
            self.origin, self.other_origin, self.refusing_origin = origins
            yield

    async def make(self) -> CpythonHttp:
        return CpythonHttp()


class StreamingDiskSuite(DiskSuite):
    block_size = 64 << 10
    cache_limit_bytes: int | None = None

    server: ImageServer
    folder: TemporaryDirectory[str]
    platform: Platform

    async def make(self, image: SyntheticImage) -> Disk:
        self.server = ImageServer({"disk.img": image})
        self.server.start()
        self.folder = TemporaryDirectory()
        self.platform = cpython_platform(self.folder.name)
        return await open_disk(
            self.server.url("disk.img"),
            allow_remote=True,
            block_size=self.block_size,
            cache_limit_bytes=self.cache_limit_bytes,
            platform=self.platform,
        )

    async def clean_up(self, disk: Disk) -> None:
        await self.platform.http.close()
        self.folder.cleanup()
        self.server.stop()


class TestStreamingDisk(StreamingDiskSuite):
    """Whose capacity is the whole image."""


class TestStreamingDiskOfSmallBlocksThatAlwaysEvicts(StreamingDiskSuite):
    block_size = 4 << 10
    cache_limit_bytes = 100_000


# ── the suites find what is broken ────────────────────────────────────────────────────────────────


async def failed(suite: type) -> set[str]:
    return {name for name, error in await run_suite(suite) if error is not None}


async def test_storage_suite_finds_a_lost_write() -> None:
    class LosesWrites(MemoryFile):
        def write(self, data: bytes | bytearray | memoryview, offset: int) -> None:
            super().write(bytes(len(data)), offset)

    class LosingStorage(MemoryStorage):
        async def open(self, path: str, *, create: bool = True) -> MemoryFile:
            await super().open(path, create=create)
            return LosesWrites(self, path)

    class LosingSuite(MemorySuite):
        async def make(self) -> MemoryStorage:
            return LosingStorage()

    found = await failed(LosingSuite)
    assert "test_write_and_read" in found
    assert "test_truncate_cuts" in found
    assert "test_list" not in found


async def test_storage_suite_finds_a_file_with_two_holders() -> None:
    class Lax(MemoryStorage):
        async def open(self, path: str, *, create: bool = True) -> MemoryFile:
            self.held.clear()
            return await super().open(path, create=create)

    class LaxSuite(MemorySuite):
        async def make(self) -> MemoryStorage:
            return Lax()

    assert "test_a_file_has_one_holder" in await failed(LaxSuite)


async def test_locks_suite_finds_a_wait_that_gives_up_before_it_has_a_response() -> None:
    class Hasty(MemoryLocks):
        async def acquire(self, name: str, timeout_s: float | None) -> MemoryLock | None:
            try:
                async with asyncio.timeout(timeout_s):
                    await asyncio.sleep(0.001)
            except TimeoutError:
                return None
            return await super().acquire(name, timeout_s)

    class HastySuite(LocksSuite):
        async def make(self) -> MemoryLocks:
            return Hasty()

    found = await failed(HastySuite)
    assert "test_a_free_lock_is_had_however_short_the_wait" in found
    assert "test_a_held_lock_is_had_by_nobody_else" not in found


async def test_http_suite_finds_a_client_that_never_aborts() -> None:
    class Hopeless(CpythonHttp):
        def __init__(self) -> None:
            super().__init__()
            self.aborts: list[Callable[[], None]] = []

        async def request(self, *arguments: object, **options: object) -> CpythonResponse:
            response = await super().request(*arguments, **options)  # type: ignore[arg-type]
            self.aborts.append(response.abort)
            response.abort = lambda: None  # type: ignore[method-assign]
            return response

        async def close(self) -> None:
            for abort in self.aborts:
                abort()
            await super().close()

    with http_suite_server() as origins:

        class HopelessSuite(HttpSuite):
            origin, other_origin, refusing_origin = origins

            async def make(self) -> Hopeless:
                return Hopeless()

            async def _requests(self, **wait_for: int) -> list[dict[str, object]]:
                return await super()._requests(**wait_for, timeout_s=1)

            # they would only wait for the same in vain
            test_abort_ends_a_read_that_waits = None
            test_abort_before_the_body_is_read = None
            test_cancelling_a_read_leaves_the_response_to_be_aborted = None

        found = await failed(HopelessSuite)
    assert "test_abort_frees_the_connection" in found
    assert "test_status_and_headers" not in found


async def test_disk_suite_finds_a_disk_that_shifts() -> None:
    class ShiftingSuite(StreamingDiskSuite):
        async def make(self, image: SyntheticImage) -> Disk:
            disk = await super().make(image)
            read = disk.read

            async def shifted(offset: int, length: int) -> bytes:
                data = await read(offset, length)
                return data[1:] + data[:1]

            disk.read = shifted  # type: ignore[method-assign]
            return disk

    found = await failed(ShiftingSuite)
    assert "test_reads_at_random" in found
    assert "test_info" not in found


async def test_a_failed_check_is_reported_with_its_traceback() -> None:
    class Suite:
        async def test_good(self) -> None:
            pass

        async def test_bad(self) -> None:
            raise ValueError("the reason")

        test_left_out = None

    assert check_names(Suite) == ["test_good", "test_bad"]
    (good, bad) = await run_suite(Suite)
    assert good == ("test_good", None)
    assert bad[1] is not None
    assert "test_bad" in bad[1]
    assert "the reason" in bad[1]
    with pytest.raises(AssertionError, match="1 of 2 checks failed"):
        await check_suite(Suite)


async def test_a_suite_without_checks_is_a_mistake() -> None:
    class Empty:
        pass

    with pytest.raises(AssertionError, match="0 of 0"):
        await check_suite(Empty)
