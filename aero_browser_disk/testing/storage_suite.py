"""The checks that every `Storage` and its `File`s must pass.

Subclass `StorageSuite`, say how to make an empty storage and how to access its bytes directly, and
name the class `Test...` for pytest (with pytest-asyncio), or hand it to `suite_runner`.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from ..errors import StorageBusyError, StorageFullError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from ..platform.base import File, ReadableBuffer, Storage


class StorageSuite:
    """The checks. Each is an `async def` without arguments and runs on an instance of its own."""

    far_offset = (1 << 32) + 4097
    """Where the far write goes. Set it lower where files are not sparse."""

    # ── for the subclass ──

    async def make(self) -> Storage:
        """An empty storage."""
        raise NotImplementedError

    async def clean_up(self, storage: Storage) -> None:
        """Undoes `make`. A check that failed may have left files open."""

    async def raw_read(self, storage: Storage, path: str) -> bytes:
        """All bytes of a closed file, not read through the storage."""
        raise NotImplementedError

    async def raw_write(self, storage: Storage, path: str, data: bytes) -> None:
        """Puts a file, with the folders that lead to it, not through the storage."""
        raise NotImplementedError

    @asynccontextmanager
    async def full_device(self) -> AsyncIterator[bool]:
        """Lets the device be full for a while; yields False where that cannot be done."""
        yield False

    # ── opening ──

    async def test_open_creates_the_file_and_its_folders(self) -> None:
        async with self._storage() as storage:
            file = await storage.open("a/b/c.bin")
            assert file.size() == 0
            file.close()
            assert await self.raw_read(storage, "a/b/c.bin") == b""
            assert await storage.list("a") == ["b"]

    async def test_open_keeps_what_is_there(self) -> None:
        async with self._storage() as storage:
            await self.raw_write(storage, "folder/file", b"there")
            for create in (True, False):
                file = await storage.open("folder/file", create=create)
                assert _content(file) == b"there"
                file.close()

    async def test_open_without_create_of_a_missing_file(self) -> None:
        async with self._storage() as storage:
            await self.raw_write(storage, "folder/other", b"x")
            for path in ("missing", "folder/missing", "no-folder/missing"):
                assert await _raises(FileNotFoundError, storage, path, create=False), path
            assert await storage.list("") == ["folder"]
            assert await storage.list("folder") == ["other"]

    async def test_a_file_has_one_holder(self) -> None:
        async with self._storage() as storage:
            first = await storage.open("file")
            assert await _raises(StorageBusyError, storage, "file", create=True)
            assert await _raises(StorageBusyError, storage, "file", create=False)
            first.write(b"still good", 0)
            first.close()
            second = await storage.open("file")
            assert _content(second) == b"still good"
            second.close()

    async def test_closing_twice_leaves_the_next_holder_alone(self) -> None:
        async with self._storage() as storage:
            first = await storage.open("file")
            first.close()
            second = await storage.open("file")
            first.close()
            assert await _raises(StorageBusyError, storage, "file", create=True)
            second.write(b"x", 0)
            second.close()

    async def test_files_are_independent(self) -> None:
        async with self._storage() as storage:
            files = [await storage.open(f"f/{number}") for number in range(5)]
            for number, file in enumerate(files):
                file.write(bytes([number]) * 100, 0)
            for number, file in enumerate(files):
                assert _content(file) == bytes([number]) * 100
                file.close()

    async def test_names_of_any_letters(self) -> None:
        async with self._storage() as storage:
            for name in ("with space", "ünïcode", "dotted.name.bin", "%41", "a" * 100):
                file = await storage.open(f"names/{name}")
                file.write(name.encode(), 0)
                file.close()
                assert await self.raw_read(storage, f"names/{name}") == name.encode()

    async def test_facts_tell_the_size_without_opening(self) -> None:
        async with self._storage() as storage:
            assert await storage.facts("a/b") is None
            file = await storage.open("a/b")
            file.write(b"0123456789", 0)
            facts = await storage.facts("a/b")
            file.close()
            free = await storage.facts("a/b")
            assert facts is not None
            assert free is not None
            assert free.size == 10

    # ── reading and writing ──

    async def test_write_and_read(self) -> None:
        async with self._file() as file:
            file.write(b"0123456789", 0)
            target = bytearray(4)
            assert file.read_into(target, 3) == 4
            assert target == b"3456"
            assert file.size() == 10

    async def test_overwrite_and_grow(self) -> None:
        async with self._file() as file:
            file.write(b"0123456789", 0)
            file.write(b"ab", 4)
            assert _content(file) == b"0123ab6789"
            file.write(b"xyz", 9)
            assert _content(file) == b"0123ab678xyz"

    async def test_a_gap_is_zeros(self) -> None:
        async with self._file() as file:
            file.write(b"a", 0)
            file.write(b"b", 5000)
            assert _content(file) == b"a" + bytes(4999) + b"b"

    async def test_buffers_may_lie_anywhere_in_memory(self) -> None:
        """A platform may read in another way to an address where the quick way is slow."""
        length = (2 << 20) + 123
        content = bytes(range(251)) * ((length + 4096) // 251 + 1)
        buffer = bytearray(length + 4096)
        async with self._file() as file:
            for shift in (*range(0, 64, 7), 2048, 4090):
                view = memoryview(buffer)[shift : shift + length]
                view[:] = content[shift : shift + length]
                file.write(view, 5)
                view[:] = bytes(length)
                assert file.read_into(view, 5) == length
                assert view == content[shift : shift + length]
                with view[:300] as part:
                    assert file.read_into(part, length - 95) == 100  # the file ends there
                    assert part[:100] == content[shift : shift + length][-100:]
                    assert part[100:] == content[shift + 100 : shift + 300]

    async def test_any_buffer_can_be_written(self) -> None:
        async with self._file() as file:
            data = bytes(range(256)) * 40
            buffers: list[ReadableBuffer] = [data, bytearray(data), memoryview(data)[3:7000]]
            for offset, buffer in enumerate(buffers):
                file.truncate(0)
                file.write(buffer, offset)
                assert _content(file) == bytes(offset) + bytes(buffer)

    async def test_what_was_written_does_not_follow_its_buffer(self) -> None:
        async with self._file() as file:
            buffer = bytearray(b"before")
            file.write(buffer, 0)
            buffer[:] = b"after!"
            assert _content(file) == b"before"

    async def test_nothing_can_be_written(self) -> None:
        async with self._file() as file:
            file.write(b"abc", 0)
            file.write(b"", 1)
            assert _content(file) == b"abc"

    async def test_read_fills_only_its_view(self) -> None:
        async with self._file() as file:
            file.write(b"0123456789", 0)
            target = bytearray(b"........")
            assert file.read_into(memoryview(target)[2:5], 7) == 3
            assert target == b"..789..."
            assert file.read_into(bytearray(), 0) == 0

    async def test_read_is_short_at_the_end(self) -> None:
        async with self._file() as file:
            assert file.read_into(bytearray(5), 0) == 0
            file.write(b"0123456789", 0)
            target = bytearray(8)
            assert file.read_into(target, 6) == 4
            assert target[:4] == b"6789"
            assert file.read_into(target, 10) == 0
            assert file.read_into(target, 1000) == 0

    async def test_large_chunks(self) -> None:
        async with self._file() as file:
            data = bytes(range(251)) * 20_000  # 5 MB, and no power of two
            file.write(data, 12_345)
            target = bytearray(len(data))
            assert file.read_into(target, 12_345) == len(data)
            assert target == data

    async def test_far_offsets(self) -> None:
        async with self._file() as file:
            file.write(b"far", self.far_offset)
            assert file.size() == self.far_offset + 3
            target = bytearray(5)
            assert file.read_into(target, self.far_offset - 2) == 5
            assert target == b"\0\0far"

    # ── truncating and flushing ──

    async def test_truncate_cuts(self) -> None:
        async with self._file() as file:
            file.write(b"0123456789", 0)
            file.truncate(4)
            assert (file.size(), _content(file)) == (4, b"0123")
            file.truncate(0)
            assert file.size() == 0

    async def test_truncate_grows_with_zeros(self) -> None:
        async with self._file() as file:
            file.write(b"0123456789", 0)
            file.truncate(4)
            file.truncate(8)
            assert _content(file) == b"0123\0\0\0\0"
            file.write(b"x", 10)
            assert _content(file) == b"0123" + bytes(6) + b"x"

    async def test_allocate_grows_and_leaves_the_rest_alone(self) -> None:
        async with self._file() as file:
            file.write(b"0123456789" * 1000, 0)
            file.allocate(3000, 300_000)
            assert file.size() == 303_000
            target = bytearray(3000)
            assert file.read_into(target, 0) == 3000
            assert target == b"0123456789" * 300
            file.write(b"there", 302_995)
            file.allocate(302_000, 2000)
            assert file.size() == 304_000
            file.allocate(0, 0)
            file.allocate(4000, 1000)
            assert file.size() == 304_000
            assert file.read_into(target, 0) == 3000
            assert target == b"0123456789" * 300

    async def test_what_was_allocated_can_be_written_on_a_full_device(self) -> None:
        """Where the subclass can fill the device: without that, it only allocates and writes."""
        async with self._file() as file:
            file.write(b"x" * 5000, 0)
            file.allocate(8192, 400_000)
            async with self.full_device():
                for offset in range(8192, 408_192, 4096):
                    file.write(bytes([offset >> 12 & 0xFF]) * min(4096, 408_192 - offset), offset)
                file.flush()
            target = bytearray(4096)
            for offset in range(8192, 400_000, 4096):
                assert file.read_into(target, offset) == 4096
                assert target == bytes([offset >> 12 & 0xFF]) * 4096

    async def test_what_cannot_be_allocated_is_refused_and_the_file_as_it_was(self) -> None:
        async with self._file() as file:
            file.write(b"0123456789", 0)
            async with self.full_device() as is_full:
                if not is_full:
                    return
                try:
                    file.allocate(0, 64 << 20)
                except StorageFullError:
                    pass
                else:
                    raise AssertionError("64 MiB were allocated on a full device")
                assert file.size() == 10
            file.allocate(4096, 4096)
            assert file.size() == 8192

    async def test_bytes_survive_close_and_reopen(self) -> None:
        async with self._storage() as storage:
            file = await storage.open("a/file")
            file.write(b"0123456789", 0)
            file.truncate(5)
            file.flush()
            file.close()
            assert await self.raw_read(storage, "a/file") == b"01234"
            file = await storage.open("a/file", create=False)
            assert _content(file) == b"01234"
            file.write(b"!", 5)
            file.close()
            assert await self.raw_read(storage, "a/file") == b"01234!"

    # ── folders ──

    async def test_list(self) -> None:
        async with self._storage() as storage:
            for path in ("b", "a/y", "a/x/deep", "ab", "C"):
                await self.raw_write(storage, path, b"")
            assert await storage.list("") == ["C", "a", "ab", "b"]
            assert await storage.list("a") == ["x", "y"]
            assert await storage.list("a/x") == ["deep"]

    async def test_list_of_a_missing_folder(self) -> None:
        async with self._storage() as storage:
            assert await storage.list("") == []
            assert await storage.list("missing") == []
            assert await storage.list("missing/deeper") == []

    async def test_remove_a_file(self) -> None:
        async with self._storage() as storage:
            for path in ("a/x", "a/xy"):
                await self.raw_write(storage, path, b"old")
            await storage.remove("a/x")
            assert await storage.list("a") == ["xy"]
            file = await storage.open("a/x")
            assert file.size() == 0
            file.close()

    async def test_remove_a_folder(self) -> None:
        async with self._storage() as storage:
            for path in ("a/x", "a/deep/y", "ab"):
                await self.raw_write(storage, path, b"old")
            await storage.remove("a")
            assert await storage.list("") == ["ab"]
            assert await storage.list("a") == []
            assert await _raises(FileNotFoundError, storage, "a/deep/y", create=False)

    async def test_remove_what_is_missing(self) -> None:
        async with self._storage() as storage:
            await self.raw_write(storage, "a/x", b"old")
            for path in ("missing", "a/missing", "missing/deeper"):
                await storage.remove(path)
            assert await storage.list("a") == ["x"]

    async def test_remove_what_is_open(self) -> None:
        async with self._storage() as storage:
            file = await storage.open("a/deep/x")
            file.write(b"kept", 0)
            for path in ("a/deep/x", "a/deep", "a"):
                try:
                    await storage.remove(path)
                except StorageBusyError:
                    continue
                raise AssertionError(f"{path} was removed while a file in it was open")
            assert _content(file) == b"kept"
            file.close()
            assert await self.raw_read(storage, "a/deep/x") == b"kept"
            await storage.remove("a")
            assert await storage.list("") == []

    # ── facts ──

    async def test_estimate(self) -> None:
        async with self._storage() as storage:
            estimate = await storage.estimate()
            assert 0 <= estimate.usage <= estimate.quota
            assert estimate.quota > 0

    async def test_kind(self) -> None:
        async with self._storage() as storage:
            assert storage.kind in ("opfs", "folder", "memory")

    # ── what the checks are made of ──

    @asynccontextmanager
    async def _storage(self) -> AsyncIterator[Storage]:
        storage = await self.make()
        try:
            yield storage
        finally:
            await self.clean_up(storage)

    @asynccontextmanager
    async def _file(self) -> AsyncIterator[File]:
        async with self._storage() as storage:
            file = await storage.open("folder/file")
            try:
                yield file
            finally:
                file.close()


def _content(file: File) -> bytes:
    target = bytearray(file.size() + 10)
    length = file.read_into(target, 0)
    assert length == file.size(), f"{length} of {file.size()} bytes were read"
    return bytes(target[:length])


async def _raises(kind: type[Exception], storage: Storage, path: str, *, create: bool) -> bool:
    """Whether opening fails so."""
    try:
        file = await storage.open(path, create=create)
    except kind:
        return True
    file.close()
    return False
