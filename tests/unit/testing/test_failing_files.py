"""Files that fail on command: a correct storage until then, and an honest power cut."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from random import Random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aero_browser_disk.errors import StorageBusyError, StorageError, StorageFullError
from aero_browser_disk.testing.failing_files import (
    DEVICE_BLOCK,
    FATES,
    FailingFile,
    FailingStorage,
    Fragment,
    PowerCutError,
)
from aero_browser_disk.testing.storage_suite import StorageSuite
from aero_browser_disk.testing.suite_runner import run_suite

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aero_browser_disk.platform.base import Storage


class TestFailingStorageThatDoesNot(StorageSuite):
    far_offset = 1 << 20
    storage: FailingStorage

    async def make(self) -> FailingStorage:
        self.storage = FailingStorage()
        return self.storage

    @asynccontextmanager
    async def full_device(self) -> AsyncIterator[bool]:
        self.storage.device = self.storage.used_on_device
        yield True
        self.storage.device = 1 << 40

    async def raw_read(self, storage: Storage, path: str) -> bytes:
        assert isinstance(storage, FailingStorage)
        return storage.content(path)

    async def raw_write(self, storage: Storage, path: str, data: bytes) -> None:
        assert isinstance(storage, FailingStorage)
        storage.put(path, data)


def opened(storage: FailingStorage, path: str = "file") -> FailingFile:
    return asyncio.run(storage.open(path))


def flushed(content: bytes, **options: int) -> tuple[FailingStorage, FailingFile]:
    """A storage with one open file whose content is durable."""
    storage = FailingStorage(**options)
    storage.put("file", content)
    return storage, opened(storage)


# ── scripted failures ─────────────────────────────────────────────────────────────────────────────


def test_nth_write_fails_and_stores_nothing() -> None:
    storage, file = flushed(b"")
    storage.fail("write", at=2)
    file.write(b"one", 0)
    with pytest.raises(StorageError):
        file.write(b"two", 3)
    file.write(b"three", 3)
    assert storage.content("file") == b"onethree"


def test_a_short_write_stores_its_start() -> None:
    storage, file = flushed(b"----------")
    storage.fail("write", written=2, error=StorageFullError("file"))
    with pytest.raises(StorageFullError):
        file.write(b"abcdef", 1)
    assert storage.content("file") == b"-ab-------"


def test_failures_of_one_file_and_of_several_calls() -> None:
    storage = FailingStorage()
    first, second = opened(storage, "first"), opened(storage, "second")
    storage.fail("flush", path="second", times=2)
    first.flush()
    for _ in range(2):
        with pytest.raises(StorageError):
            second.flush()
    second.flush()


def test_every_kind_of_call_can_fail() -> None:
    storage, file = flushed(b"0123")
    for operation, call in (
        ("read", lambda: file.read_into(bytearray(2), 0)),
        ("write", lambda: file.write(b"x", 0)),
        ("truncate", lambda: file.truncate(1)),
        ("allocate", lambda: file.allocate(0, 1)),
        ("flush", file.flush),
        ("open", lambda: asyncio.run(storage.open("other"))),
        ("remove", lambda: asyncio.run(storage.remove("other"))),
    ):
        storage.fail(operation, error=StorageBusyError("why"))  # type: ignore[arg-type]
        with pytest.raises(StorageBusyError):
            call()
    assert storage.content("file") == b"0123"
    assert [operation for operation, _ in storage.operations[1:]] == [
        "read",
        "write",
        "truncate",
        "allocate",
        "flush",
        "open",
        "remove",
    ]


def test_quota_stores_what_fits() -> None:
    storage, file = flushed(b"01234567", quota=10)
    with pytest.raises(StorageFullError):
        file.write(b"abcdef", 6)
    assert storage.content("file") == b"012345abcd"
    file.write(b"x", 0)
    with pytest.raises(StorageFullError):
        file.truncate(11)
    storage.quota = 11
    file.write(b"y", 10)
    assert storage.content("file") == b"x12345abcdy"


async def test_storage_suite_finds_an_allocation_that_reserves_nothing() -> None:
    class Promises(FailingFile):
        def allocate(self, offset: int, length: int) -> None:
            self.truncate(max(self.size(), offset + length))

    class PromisingStorage(FailingStorage):
        async def open(self, path: str, *, create: bool = True) -> FailingFile:
            file = await super().open(path, create=create)
            file.__class__ = Promises
            return file

    class PromisingSuite(TestFailingStorageThatDoesNot):
        async def make(self) -> FailingStorage:
            self.storage = PromisingStorage()
            return self.storage

    assert {name for name, error in await run_suite(PromisingSuite) if error is not None} == {
        "test_what_was_allocated_can_be_written_on_a_full_device",
        "test_what_cannot_be_allocated_is_refused_and_the_file_as_it_was",
    }


def test_a_device_is_full_where_a_quota_is_not() -> None:
    storage, file = flushed(b"x" * 5000, device=4 * DEVICE_BLOCK)
    assert storage.used_on_device == 2 * DEVICE_BLOCK
    file.truncate(100 * DEVICE_BLOCK)
    assert (storage.used, storage.used_on_device) == (100 * DEVICE_BLOCK, 2 * DEVICE_BLOCK)
    with pytest.raises(StorageFullError):
        file.allocate(DEVICE_BLOCK, 8 * DEVICE_BLOCK)
    file.allocate(50 * DEVICE_BLOCK, 100)
    with pytest.raises(StorageFullError):
        file.write(b"y" * 2 * DEVICE_BLOCK, 60 * DEVICE_BLOCK + 1000)
    file.flush()
    content = storage.content("file")
    assert content[60 * DEVICE_BLOCK :][:8192] == bytes(1000) + b"y" * 3096 + bytes(4096)
    file.write(b"z" * DEVICE_BLOCK, 50 * DEVICE_BLOCK)
    file.truncate(DEVICE_BLOCK)
    file.allocate(10 * DEVICE_BLOCK, 3 * DEVICE_BLOCK)


def test_an_allocation_is_kept_or_lost() -> None:
    storage, file = flushed(b"x" * 100)
    file.allocate(4096, 8192)
    (fragment,) = storage.unflushed()
    assert (fragment.kind, fragment.offset, fragment.length) == ("allocate", 4096, 8192)
    kept, lost = storage.after_kill(), storage.after_power_cut(lambda _: "lost")
    assert (kept.used, kept.used_on_device) == (12288, 3 * DEVICE_BLOCK)
    assert (lost.used, lost.used_on_device) == (100, DEVICE_BLOCK)


def test_damage_is_on_the_medium() -> None:
    storage, file = flushed(b"0123")
    storage.damage("file", 1, b"X")
    target = bytearray(4)
    file.read_into(target, 0)
    assert target == b"0X23"
    assert storage.after_power_cut(lambda _: "lost").content("file") == b"0X23"


# ── power cuts ────────────────────────────────────────────────────────────────────────────────────


def test_what_was_flushed_is_kept_whatever_comes() -> None:
    storage, file = flushed(b"")
    file.write(b"durable", 0)
    file.flush()
    file.write(b"!", 7)
    assert storage.after_power_cut(lambda _: "lost").content("file") == b"durable"
    assert storage.after_kill().content("file") == b"durable!"
    assert storage.content("file") == b"durable!", "the storage itself stays as it is"


def test_closing_makes_nothing_durable() -> None:
    storage, file = flushed(b"old")
    file.write(b"new", 0)
    file.close()
    assert storage.after_power_cut(lambda _: "lost").content("file") == b"old"


def test_later_writes_may_be_kept_without_earlier_ones() -> None:
    storage, file = flushed(b"............")
    for number, text in enumerate((b"one", b"two", b"three")):
        file.write(text, 4 * number)
    first = storage.unflushed()[0].change
    after = storage.after_power_cut(lambda fragment: "lost" if fragment.change == first else "kept")
    assert after.content("file") == b"....two.three"


def test_writes_tear_between_sectors_only() -> None:
    storage, file = flushed(b"o" * 2000)
    file.write(b"n" * 1200, 500)
    fragments = storage.unflushed()
    assert [(fragment.offset, fragment.length) for fragment in fragments] == [
        (500, 12),
        (512, 512),
        (1024, 512),
        (1536, 164),
    ]
    after = storage.after_power_cut(lambda fragment: "kept" if fragment.offset == 1024 else "lost")
    assert after.content("file") == b"o" * 1024 + b"n" * 512 + b"o" * 464


def test_every_byte_may_tear_if_asked() -> None:
    storage, file = flushed(b"old", atom=1)
    file.write(b"NEW", 0)
    after = storage.after_power_cut(lambda fragment: "kept" if fragment.offset == 1 else "lost")
    assert after.content("file") == b"oEd"


def test_lost_tail_may_come_as_zeros_or_junk() -> None:
    storage, file = flushed(b"ab")
    file.write(b"cd", 2)
    assert storage.after_power_cut(lambda _: "zeros").content("file") == b"ab\0\0"
    junk = storage.after_power_cut(lambda _: "junk").content("file")
    assert junk[:2] == b"ab"
    assert len(junk) == 4
    assert junk[2] != ord("c")
    assert junk[3] != ord("d")


def test_a_kept_write_beyond_a_lost_one_leaves_zeros() -> None:
    storage, file = flushed(b"")
    file.write(b"a", 0)
    file.write(b"b", 3)
    after = storage.after_power_cut(lambda fragment: "kept" if fragment.offset == 3 else "lost")
    assert after.content("file") == b"\0\0\0b"


def test_truncation_is_kept_or_lost() -> None:
    storage, file = flushed(b"0123456789")
    file.truncate(3)
    assert storage.after_power_cut(lambda _: "lost").content("file") == b"0123456789"
    assert storage.after_power_cut(lambda _: "kept").content("file") == b"012"
    file.flush()
    assert storage.after_power_cut(lambda _: "lost").content("file") == b"012"


def test_a_file_that_was_never_flushed_may_be_gone() -> None:
    storage = FailingStorage()
    opened(storage).write(b"x", 0)
    assert storage.after_power_cut(lambda _: "lost").paths == ()
    only_created = storage.after_power_cut(lambda p: "kept" if p.kind == "create" else "lost")
    assert only_created.content("file") == b""


def test_nothing_is_open_after_it() -> None:
    storage, _file = flushed(b"x")
    opened(storage.after_kill()).close()


def test_power_goes_in_the_chosen_change() -> None:
    storage, file = flushed(b"")
    storage.cut_power_at(3)
    file.write(b"a", 0)
    file.flush()
    with pytest.raises(PowerCutError):
        file.write(b"b", 1)
    for call in (file.flush, lambda: file.write(b"c", 2), lambda: opened(storage, "other")):
        with pytest.raises(PowerCutError):
            call()
    file.close()
    assert storage.after_power_cut(lambda _: "lost").content("file") == b"a"
    assert storage.after_power_cut(lambda _: "kept").content("file") == b"ab"


def test_the_power_goes_in_a_change_that_does_not_fit_too() -> None:
    for grow in (lambda file: file.truncate(20), lambda file: file.allocate(0, 20)):
        storage, file = flushed(b"0" * 10, quota=10)
        storage.cut_power_at(1)
        with pytest.raises(PowerCutError):
            grow(file)


def test_a_kill_leaves_as_much_of_the_last_change_as_is_said() -> None:
    storage, file = flushed(b"0" * 100, atom=10)
    file.write(b"1" * 20, 0)
    file.write(b"2" * 35, 30)
    assert storage.after_kill().content("file") == storage.content("file")
    for kept in range(5):
        after = storage.after_power_cut(
            lambda f, kept=kept: "kept" if f.offset < 30 + 10 * kept else "lost"
        )
        assert storage.after_kill(kept).content("file") == after.content("file")


def test_a_flush_in_which_the_power_goes_has_not_happened() -> None:
    storage, file = flushed(b"old")
    file.write(b"new", 0)
    storage.cut_power_at(1)
    with pytest.raises(PowerCutError):
        file.flush()
    assert storage.after_power_cut(lambda _: "lost").content("file") == b"old"


def test_a_removal_in_which_the_power_goes_has_not_happened() -> None:
    storage = FailingStorage()
    storage.put("file", b"x")
    storage.cut_power_at(1)
    with pytest.raises(PowerCutError):
        asyncio.run(storage.remove("file"))
    assert storage.after_kill().paths == ("file",)


def test_no_handler_of_exceptions_sees_it() -> None:
    assert not issubclass(PowerCutError, Exception)


# ── with Hypothesis ───────────────────────────────────────────────────────────────────────────────

WRITES = st.lists(
    st.one_of(
        st.tuples(st.integers(0, 3000), st.binary(min_size=1, max_size=2000)),
        st.none(),  # a flush
    ),
    max_size=8,
)


def play(steps: list[tuple[int, bytes] | None], cut_at: int) -> tuple[FailingStorage, bytes, bytes]:
    """The storage at the cut, what was flushed by then, and what was written by then."""
    storage = FailingStorage()
    storage.put("file", b"")
    file = opened(storage)
    storage.cut_power_at(cut_at)
    durable = b""
    with suppress(PowerCutError):
        for step in steps:
            if step is None:
                file.flush()
                durable = storage.content("file")
            else:
                file.write(step[1], step[0])
    return storage, durable, storage.content("file")


@given(WRITES, st.integers(1, 9), st.randoms(use_true_random=False))
def test_a_power_cut_leaves_old_or_new_sectors(
    steps: list[tuple[int, bytes] | None], cut_at: int, random: Random
) -> None:
    """Of "kept" and "lost" fragments each sector is one of its states since the last flush."""
    storage, durable, written = play(steps, cut_at)
    after = storage.after_power_cut(lambda _: random.choice(("kept", "lost")))
    found = after.content("file")
    assert len(durable) <= len(found) <= len(written)
    touched = {fragment.offset // 512 for fragment in storage.unflushed()}
    for sector in range(-(-len(durable) // 512)):
        if sector not in touched:
            at = slice(sector * 512, min((sector + 1) * 512, len(durable)))
            assert found[at] == durable[at]


@given(WRITES, st.integers(1, 9), st.integers(0, 2**32))
def test_it_is_deterministic(steps: list[tuple[int, bytes] | None], cut_at: int, seed: int) -> None:
    contents, questions = [], []
    for _ in range(2):
        storage, _, _ = play(steps, cut_at)
        random, asked = Random(seed), []

        def fate(fragment: Fragment, random: Random = random, asked: list[Fragment] = asked) -> str:
            asked.append(fragment)
            return random.choice(FATES)

        contents.append(storage.after_power_cut(fate).content("file"))  # type: ignore[arg-type]
        questions.append(asked)
        assert tuple(asked) == storage.unflushed()
    assert contents[0] == contents[1]
    assert questions[0] == questions[1]
