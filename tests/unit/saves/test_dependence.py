"""What changed of a base, and whether an overlay depends on it."""

from __future__ import annotations

import random
import struct

import pytest

from aero_browser_disk.disk import DiskInfo, RefusingWrites
from aero_browser_disk.saves.base_changes import changed_by_digests
from aero_browser_disk.saves.dependence import dependence
from aero_browser_disk.streaming.digest_list import digests_of
from aero_browser_disk.writable.range_set import RangeSet
from support.file_images import make_fat

CHUNK = 16 << 10
OLD = random.Random(1).randbytes(10 * CHUNK)


class Volumes:
    """A disk of two FAT partitions, and its next version with another second one."""

    def __init__(self, tmp_path):
        self.first = make_fat(tmp_path / "first", _tree(tmp_path / "a", "one"), 16).read_bytes()
        self.second = make_fat(tmp_path / "second", _tree(tmp_path / "b", "two"), 16).read_bytes()
        newer = make_fat(tmp_path / "newer", _tree(tmp_path / "c", "three"), 16).read_bytes()
        self.starts = (1 << 20, (1 << 20) + len(self.first))
        self.size = self.starts[1] + len(self.second)
        self.old = self.disk(self.second)
        self.new = self.disk(newer)

    def disk(self, second, kinds=(6, 6)):
        table = bytearray(512)
        for number, (start, length) in enumerate(
            zip(self.starts, (len(self.first), len(second)), strict=True)
        ):
            entry = (0, 0, 0, 0, kinds[number], 0, 0, 0, start // 512, length // 512)
            struct.pack_into("<8B2I", table, 446 + 16 * number, *entry)
        table[510:] = b"\x55\xaa"
        return bytes(table).ljust(1 << 20, b"\0") + self.first + second


def _tree(folder, text):
    folder.mkdir()
    (folder / "file.txt").write_text(text * 1000)
    return folder


@pytest.fixture
def volumes(tmp_path):
    return Volumes(tmp_path)


class Present(RefusingWrites):
    """A disk in memory."""

    def __init__(self, data):
        self.data = data
        self.info = DiskInfo(len(data), "now", 4096, True)

    async def read(self, offset, length):
        return self.data[offset : offset + length]


async def sorted_out(old, new, written):
    """How an overlay over `old` that has the `written` bytes depends on what `new` changed."""
    had, differing = RangeSet(), RangeSet()
    for start, stop in written:
        had.add(start, stop)
    for at in range(0, len(old), 4096):
        if old[at : at + 4096] != new[at : at + 4096]:
            differing.add(at, min(len(old), at + 4096))
    return await dependence(Present(new), had, differing)


async def test_a_partition_that_was_never_written_to_may_change(volumes):
    first = volumes.starts[0] + 40960
    found = await sorted_out(volumes.old, volumes.new, [(first, first + 4096)])
    assert found.independent
    assert not found.needed
    assert not found.hidden


@pytest.mark.parametrize(
    "why",
    ["it was written to", "volume group", "unknown", "the other is unknown", "table", "loader"],
)
async def test_else_all_of_a_disk_depends_on_the_rest(volumes, why):
    first, second = volumes.starts
    written = [(first + 40960, first + 45056)]
    old, new = bytearray(volumes.old), bytearray(volumes.new)
    if why == "it was written to":
        written.append((second + 512, second + 1024))
    elif why == "volume group":
        old[446 + 16 + 4] = new[446 + 16 + 4] = 0x8E
    elif why == "unknown":
        new[second : second + 65536] = random.Random(1).randbytes(65536)
    elif why == "the other is unknown":
        old[first : first + 65536] = new[first : first + 65536] = bytes(65536)
    elif why == "table":
        new[446 + 16 + 4] = 0x0E
    else:
        new[1024:2048] = bytes(range(256)) * 4
    found = await sorted_out(bytes(old), bytes(new), written)
    assert found.needed
    if why not in ("loader", "it was written to"):
        assert not found.independent


def test_what_changed_is_found_in_lists_of_one_form_only():
    before, after = (
        digests_of([OLD], CHUNK),
        digests_of([OLD[:CHUNK] + bytes(CHUNK) + OLD[2 * CHUNK :]], CHUNK),
    )
    assert list(changed_by_digests(before, after)) == [(CHUNK, 2 * CHUNK)]
    assert list(changed_by_digests(before, before)) == []
    assert changed_by_digests(before, digests_of([OLD], 2 * CHUNK)) is None
    assert changed_by_digests(before, digests_of([OLD[:-1]], CHUNK)) is None
