"""The map in parts, and the manifest as what changed, against the whole of both."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aero_browser_disk.errors import DamagedSaveError
from aero_browser_disk.saves.content_index import ContentIndex, IndexedChunk, Item
from aero_browser_disk.saves.encryption import SaveSecret
from aero_browser_disk.saves.last_manifest import LastManifest
from aero_browser_disk.saves.manifest_change import manifest_change
from aero_browser_disk.saves.map_parts import next_parts, read_map
from aero_browser_disk.saves.packing import pack
from aero_browser_disk.saves.save_manifest import SaveBase, SaveManifest, StoredChunk
from aero_browser_disk.saves.save_map import ZEROS, SaveMap

SECTORS = 4096
NAMES = [bytes([number]) * 32 for number in range(1, 60)]


def manifest(names, parts, *, encryption=None, seal=b"", **fields):
    base = SaveBase("an etag", SECTORS * 512, 512, "disk.img")
    chunks = tuple(StoredChunk(name.hex(), 5000) for name in names)
    made = SaveManifest(base, "here", "now", "ab" * 32, chunks, parts, encryption, seal)
    return replace(made, **fields)


def map_of(sectors):
    """A map of sectors that each have a chunk and an offset, or `ZEROS`."""
    found = SaveMap()
    for sector, (chunk, offset) in sorted(sectors.items()):
        found.add(sector, 1, chunk, 0 if chunk == ZEROS else offset)
    return found


contents = st.tuples(st.integers(ZEROS, 5), st.integers(0, 100))
written = st.dictionaries(st.integers(0, SECTORS - 1), contents, max_size=40)


@given(written, written)
def test_a_map_over_another_covers_it(below, over):
    assert map_of(below).overlaid(map_of(over)) == map_of({**below, **over})


@given(written, written)
def test_the_rows_that_changed_make_the_new_map_of_the_old(before, more):
    after = {**before, **more}
    changed = map_of(after).changed_from(map_of(before))
    assert map_of(before).overlaid(changed) == map_of(after)
    if set(before) - set(more):
        assert map_of(more).changed_from(map_of(before)) is None


@given(st.lists(written, min_size=1, max_size=24))
async def test_every_generation_is_read_as_it_was_written(pushes):
    disk, before = {}, None
    for push in pushes:
        disk |= push
        parts = await next_parts(map_of(disk), before, None)
        if before is not None and len(parts) > len(before.parts):
            assert parts[:-1] == before.parts
        before = manifest(NAMES[:6], parts)
        read = SaveManifest.decode(before.encode(), "work")
        assert await read_map(read, None) == map_of(disk)


async def test_a_small_change_is_a_small_part():
    disk = {sector: (sector % 50, sector % 90) for sector in range(SECTORS)}
    names = NAMES[:50]
    before = manifest(names, await next_parts(map_of(disk), None, None))
    for push in range(100):
        disk[40 * push % SECTORS] = (push % 50, 99)
        parts = await next_parts(map_of(disk), before, None)
        grown = len(parts) > len(before.parts)
        assert len(parts) <= 17
        assert not grown or len(parts[-1]) < 40
        before = manifest(names, parts)
    assert sum(map(len, parts)) < 2 * len(pack(map_of(disk).encode()))


async def test_parts_of_an_encrypted_save_belong_together():
    cipher = await SaveSecret(None, b"k" * 32).begin()
    first, second = {1: (0, 0), 9: (1, 0)}, {1: (0, 0), 9: (1, 8)}

    async def sealed(names, parts):
        seal = await cipher.seal((name.hex() for name in names), parts)
        return manifest(names, parts, encryption=cipher.encryption, seal=seal)

    before = await sealed(NAMES[:2], await next_parts(map_of(first), None, cipher))
    parts = await next_parts(map_of(second), before, cipher)
    assert parts[0] == before.parts[0]
    assert len(parts) == 2
    found = await sealed(NAMES[:2], parts)
    assert await read_map(found, cipher) == map_of(second)
    swapped = found.chunks[::-1]
    for wrong in (
        replace(found, chunks=swapped),
        replace(found, parts=parts[::-1]),
        replace(found, parts=parts[:1]),
        replace(found, seal=before.seal),
        replace(found, seal=b""),
    ):
        with pytest.raises(ValueError):  # noqa: PT011 - what AES-GCM or the length of it says
            await read_map(wrong, cipher)


async def test_a_row_that_nothing_covers_names_a_chunk_that_is_there():
    parts = (pack(map_of({1: (3, 0), 2: (0, 0)}).encode()), pack(map_of({1: (1, 0)}).encode()))
    assert await read_map(manifest(NAMES[:2], parts), None) == map_of({1: (1, 0), 2: (0, 0)})
    with pytest.raises(ValueError, match="not there"):
        await read_map(manifest(NAMES[:2], parts[:1]), None)


async def test_a_save_of_an_earlier_release_is_read_and_then_written_in_parts():
    rows = map_of({1: (0, 0)})
    old = manifest(NAMES[:1], (pack(rows.encode()),), has_parts=False)
    document = json.loads(old.encode())
    assert (document["requires"], type(document["map"])) == ([], str)
    assert "seal" not in document
    read = SaveManifest.decode(old.encode(), "work")
    assert read == old
    assert await read_map(read, None) == rows
    assert await next_parts(rows, read, None) == old.parts
    for requires in (["map-parts"], []):
        document = json.loads((old if requires else manifest(NAMES[:1], old.parts)).encode())
        document["requires"] = requires
        with pytest.raises(DamagedSaveError):
            SaveManifest.decode(json.dumps(document).encode(), "work")


@given(st.lists(st.lists(st.sampled_from(NAMES), max_size=12), min_size=2, max_size=6))
def test_chunks_keep_their_numbers_while_they_can(generations):
    before = ()
    for used in generations:
        index = ContentIndex(IndexedChunk(name, 5000, 8) for name in used)
        for number in range(len(used)):
            index.add(Item(number, 1, 0xFF, b"h" * 16, number, 0))
        found = index.compacted(before)
        order = [chunk.sha256 for chunk in found.chunks]
        assert sorted(order) == sorted(set(used))
        assert [found.chunks[item.chunk].sha256 for item in found] == list(used)
        moved = [n for n, name in enumerate(before) if name in used and order[n : n + 1] != [name]]
        assert all(number >= len(order) for number in moved)
        before = tuple(order)


def changed(before, change):
    """What a server makes of the change."""
    document = json.loads(change)
    parts = (
        part.encode() if isinstance(part, str) else before[part[0] : sum(part)]
        for part in document["parts"]
    )
    made = b"".join(parts)
    assert hashlib.sha256(made).hexdigest() == document["sha256"]
    return made


lists = st.lists(st.sampled_from(NAMES), unique=True, max_size=40)
blobs = st.lists(st.binary(min_size=1, max_size=80), min_size=1, max_size=12).map(tuple)


@given(lists, lists, blobs, blobs, st.booleans())
def test_a_change_makes_the_new_manifest_of_the_old(names, others, parts, more, appends):
    old = manifest(names, parts)
    new = manifest([*names, *others] if appends else others, (*parts, *more) if appends else more)
    new = replace(new, created="later", chunks=tuple(dict.fromkeys(new.chunks)))
    change = manifest_change(old.encode(), old, new)
    assert change is None or changed(old.encode(), change) == new.encode()


def test_the_change_of_a_small_push_is_small():
    old = manifest([hashlib.sha256(name).digest() for name in NAMES], (bytes(5000), b"part"))
    chunks = (*old.chunks[:7], StoredChunk("ee" * 32, 9000), *old.chunks[8:])
    new = replace(old, chunks=chunks, parts=(*old.parts, b"another"), digest="cd" * 32)
    change = manifest_change(old.encode(), old, new)
    assert changed(old.encode(), change) == new.encode()
    assert len(change) < 500
    assert LastManifest(old.encode()).change(new) == change
    assert LastManifest(b"no manifest").change(new) is None
