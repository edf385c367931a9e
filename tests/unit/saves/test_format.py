"""The format of a save: what is written is read, and what a server makes up is an error."""

from __future__ import annotations

import base64
import contextlib
import json
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aero_browser_disk.errors import DamagedSaveError, SaveTooLargeError, UnreadableSaveError
from aero_browser_disk.saves import packing, save_map
from aero_browser_disk.saves.content_index import ContentIndex, IndexedChunk, Item, runs_of
from aero_browser_disk.saves.packing import RAW, ZLIB, pack, unpack
from aero_browser_disk.saves.save_manifest import (
    SaveBase,
    SaveManifest,
    StoredChunk,
)
from aero_browser_disk.saves.save_map import CHUNK_SECTORS, ZEROS, SaveMap

MANIFEST = SaveManifest(
    SaveBase("an etag", 1 << 30, 512, "disk.img"),
    "a device",
    "2026-11-30T00:00:00Z",
    "ab" * 32,
    (StoredChunk("cd" * 32, 1000), StoredChunk("ef" * 32, 1)),
    (b"\0map",),
)


@st.composite
def maps(draw):
    """Rows in order, in chunks of an append-only log."""
    found, at, chunk, offset = SaveMap(), 0, 0, 0
    for _ in range(draw(st.integers(0, 30))):
        at += draw(st.integers(0, 1 << 30))
        if draw(st.booleans()):
            count = draw(st.integers(1, 1 << 40))
            found.add(at, count, ZEROS)
        else:
            count = draw(st.integers(1, CHUNK_SECTORS))
            if offset + count > CHUNK_SECTORS or draw(st.booleans()):
                chunk, offset = (
                    draw(st.integers(0, 99)),
                    draw(st.integers(0, CHUNK_SECTORS - count)),
                )
            found.add(at, count, chunk, offset)
            offset += count
        at += count
    return found


@given(maps())
def test_a_map_is_read_as_it_was_written(written):
    read = SaveMap.decode(written.encode(), written.end, 100)
    assert list(read) == list(written)
    assert sorted(read.by_chunk()) == sorted(read)


@given(st.binary(max_size=200), st.integers(1, 1 << 44), st.integers(0, 5))
def test_any_bytes_are_a_valid_map_or_an_error(encoded, sectors, chunks):
    try:
        found = SaveMap.decode(encoded, sectors, chunks)
    except ValueError:
        return
    end = 0
    for first, count, chunk, offset in found:
        assert end <= first < first + count <= sectors
        assert chunk == ZEROS or (0 <= chunk < chunks and offset + count <= CHUNK_SECTORS)
        end = first + count


@given(maps(), st.integers(0, 1 << 31), st.integers(1, 1 << 31))
def test_the_rows_of_a_range_are_those_that_touch_it(found, first, count):
    stop = first + count
    touching = [row for row in found if row[0] < stop and row[0] + row[1] > first]
    assert list(found.between(first, stop)) == touching


@pytest.mark.parametrize(
    "encoded",
    [
        b"\x00\x01",  # breaks off
        b"\x00\x00\x00",  # no sectors
        b"\x00\x01\x01",  # follows nothing
        b"\x00\x01\x02\x80\x04",  # behind the content of a chunk
        b"\x00\x01\x7f\x00",  # a chunk that there is not
        b"\xff" * 20,
        b"\x7f\x01\x00",  # beyond the end of the disk
    ],
)
def test_a_wrong_map_is_an_error(encoded):
    with pytest.raises(ValueError, match="its map"):
        SaveMap.decode(encoded, 100, 1)


def test_a_map_has_so_many_rows_and_no_more(monkeypatch):
    monkeypatch.setattr(save_map, "MAX_ROWS", 10)
    found = SaveMap()
    for at in range(11):
        found.add(2 * at, 1, ZEROS)
    with pytest.raises(SaveTooLargeError):
        found.encode()
    with pytest.raises(ValueError, match="rows"):
        SaveMap.decode(b"\1\1\0" * 11, 100, 0)


@pytest.mark.parametrize("content", [b"", b"a" * 1000, bytes(range(256)) * 3], ids=len)
@pytest.mark.parametrize("zstd", [True, False])
def test_content_is_unpacked_as_it_was_packed(monkeypatch, content, zstd):
    if not zstd:
        monkeypatch.setattr(packing, "has_zstd", lambda: False)
    stored = pack(content)
    assert unpack(stored, len(content)) == content
    assert len(stored) <= len(content) + 1
    if content:
        with pytest.raises(ValueError, match=r"more than|breaks off"):
            unpack(stored, len(content) - 1)


@given(st.binary(max_size=100))
def test_any_bytes_are_content_or_an_error(stored):
    with contextlib.suppress(ValueError):
        assert len(unpack(stored, 50)) <= 50


def test_a_bomb_is_not_unpacked():
    bomb = bytes((ZLIB,)) + zlib.compress(bytes(1 << 26))
    with pytest.raises(ValueError, match="longer"):
        unpack(bomb, 1000)
    with pytest.raises(ValueError, match="more than"):
        unpack(bytes((RAW,)) + bytes(1001), 1000)


def test_a_manifest_is_read_as_it_was_written():
    assert SaveManifest.decode(MANIFEST.encode(), "work") == MANIFEST


def altered(**changes):
    document = json.loads(MANIFEST.encode())
    for path, value in changes.items():
        at = document
        *names, last = path.split("__")
        for name in names:
            at = at[int(name) if isinstance(at, list) else name]
        at[last] = value
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    "encoded",
    [
        b"",
        b"[]",
        b"{}",
        b"\xff\xfe",
        b"[" * 100_000,
        b"9" * 100_000,
        MANIFEST.encode().replace(b'"device"', b'"digest"', 1),
        altered(digest="AB" * 32),
        altered(map="no base64!"),
        altered(map=""),
        altered(version=1.0),
        altered(requires=None),
        altered(base__size=0),
        altered(base__size=1 << 60),
        altered(base__size=True),
        altered(base__version=""),
        altered(base__sector_size=513),
        altered(base=None),
        altered(chunks=[{"sha256": "cd" * 32, "length": 1}] * 2),
        altered(chunks=[7]),
        altered(chunks__0__length=1 << 20),
        altered(device="x" * 201),
        altered(device=7),
    ],
)
def test_a_hostile_manifest_is_an_error(encoded):
    with pytest.raises(DamagedSaveError):
        SaveManifest.decode(encoded, "work")


@pytest.mark.parametrize(
    "changes", [{"version": 2}, {"requires": ["lz4"]}, {"encryption": {"algorithm": "ROT13"}}]
)
def test_a_manifest_of_a_later_release_says_so(changes):
    with pytest.raises(UnreadableSaveError, match="newer release"):
        SaveManifest.decode(altered(**changes), "work")


@given(st.recursive(st.none() | st.integers() | st.text() | st.floats(), st.lists, max_leaves=5))
def test_no_value_in_a_manifest_is_anything_but_an_error(value):
    for name in ("base", "chunks", "map", "digest", "encryption", "requires", "device"):
        try:
            SaveManifest.decode(altered(**{name: value}), "work")
        except (DamagedSaveError, UnreadableSaveError):
            continue
        assert value is None or name in ("chunks", "device", "requires")


def test_a_manifest_that_would_be_too_long_is_not_written():
    chunks = tuple(StoredChunk(f"{n:064x}", 1) for n in range((1 << 16) + 1))
    with pytest.raises(SaveTooLargeError):
        SaveManifest(MANIFEST.base, "", "", "ab" * 32, chunks, (b"x",)).encode()
    with pytest.raises(SaveTooLargeError):
        SaveManifest(MANIFEST.base, "", "", "ab" * 32, (), (bytes(7 << 20),)).encode()


def test_text_of_a_server_prints():
    read = SaveManifest.decode(altered(device="a\x1b[2Jb"), "work")
    assert base64.b64encode(read.device.encode()) == base64.b64encode("a\ufffd[2Jb".encode())


@given(st.integers(1, 255))
def test_runs_of_a_mask_are_its_bits(mask):
    assert sum(((1 << count) - 1) << start for start, count in runs_of(mask)) == mask


def test_an_index_is_read_as_it_was_written():
    index = ContentIndex([IndexedChunk(b"a" * 32, 10, 8), IndexedChunk(b"b" * 32, 20, 16)])
    index.add(Item(5, 1, 0xFF, b"h" * 16, 1, 8))
    index.add(Item(6, 1, 0x0F, b"i" * 16, 0, 0))
    index.add(Item(7, 1, 0xFF, bytes(16), ZEROS, 0))
    index.add(Item(8, 9, 0xFF, bytes(16), ZEROS, 0))
    read = ContentIndex.decode(index.encode())
    assert (read.chunks, list(read)) == (index.chunks, list(index))
    assert len(read) == 3
    assert read.find(16) == read[2]
    assert read.find(17) is None
    for length in range(0, len(index.encode()), 7):
        with pytest.raises(ValueError):  # noqa: PT011 - of struct, array or its own
            ContentIndex.decode(index.encode()[:length])
