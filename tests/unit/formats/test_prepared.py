"""A prepared image reads as the disk it was made of; nothing that it says is believed unproved."""

from __future__ import annotations

import base64
import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from aero_browser_disk.errors import (
    DamagedImageError,
    DiskError,
    IntegrityError,
    UnsupportedImageError,
)
from aero_browser_disk.formats import recognise
from aero_browser_disk.formats.layout import LayoutReader
from aero_browser_disk.formats.prepared.boot_bundle import BootBundle, BundlePart
from aero_browser_disk.formats.prepared.chunk_codec import RAW, ZSTD
from aero_browser_disk.formats.prepared.chunk_table import (
    NO_CHUNK,
    PAGE,
    ChunkTable,
    Entry,
    TableWriter,
    decode_page,
    depth_of,
    encode_page,
)
from aero_browser_disk.formats.prepared.layout import PreparedLayout
from aero_browser_disk.formats.prepared.manifest import MAX_MANIFEST, Manifest
from aero_browser_disk.formats.prepared.stored_files import StoredFile, stored_file
from support import layouts
from support.prepared import MemoryFiles, bytes_of, files_of, pack
from support.qemu import MIB, patchy_disk
from support.readme import GUIDE, blocks

CHUNK = 64 << 10
FILE = stored_file(b"a file")


def manifest(**changes: Any) -> Manifest:
    table = StoredFile(bytes(32), 16 + 40 * 4)
    return replace(Manifest(4 * CHUNK, 512, CHUNK, "zstd", bytes(32), table, 512), **changes)


def document(**changes: Any) -> bytes:
    fields = {**json.loads(manifest().encode()), **changes}
    return json.dumps({name: value for name, value in fields.items() if value != "out"}).encode()


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """4 MiB and a bit, of noise, text and holes; a chunk of it is there twice."""
    path = patchy_disk(tmp_path_factory.mktemp("raw") / "disk.img", 4 * MIB + 5 * 512)
    with path.open("r+b") as file:
        twice = random.Random(8).randbytes(CHUNK)
        for chunk in (3, 40):
            file.seek(chunk * CHUNK)
            file.write(twice)
    return path


@pytest.fixture
async def folder(raw: Path, tmp_path: Path) -> Path:
    await pack(raw, tmp_path / "prepared")
    return tmp_path / "prepared"


def layout_of(files: dict[str, bytes]) -> PreparedLayout:
    return PreparedLayout(Manifest.decode(files["manifest.json"]), MemoryFiles(files))


# ── reading ───────────────────────────────────────────────────────────────────────────────────────


async def test_it_reads_as_the_disk_it_was_made_of(folder: Path, raw: Path) -> None:
    await layouts.check(layout_of(files_of(folder)), bytes_of(raw))


async def test_zeros_are_not_stored_and_equal_chunks_once(folder: Path, raw: Path) -> None:
    layout = layout_of(files_of(folder))
    data = bytes_of(raw)
    chunks = [data[at : at + CHUNK] for at in range(0, len(data), CHUNK)]
    distinct = {chunk for chunk in chunks if any(chunk)}
    assert layout.manifest.stored_chunks == len(distinct)
    assert len(files_of(folder)) == len(distinct) + 2, "the manifest and the root page"
    assert (await layout.table.entry(3)) == (await layout.table.entry(40))


async def test_parts_of_a_chunk_read_it_once(folder: Path, raw: Path) -> None:
    layout = layout_of(files_of(folder))
    reader, data = LayoutReader(layout), bytes_of(raw)
    at = 3 * CHUNK
    await reader.read(at, 512)
    files = layout.files
    assert isinstance(files, MemoryFiles)
    before = files.read_count
    for offset in range(at, at + CHUNK, 4096):
        assert await reader.read(offset, 4096) == data[offset : offset + 4096]
    assert files.read_count == before


async def test_a_wrong_byte_anywhere_is_an_error_and_never_data(folder: Path, raw: Path) -> None:
    files, data, chance = files_of(folder), bytes_of(raw), random.Random(1)
    for path in [path for path in files if path != "manifest.json"]:
        at = chance.randrange(len(files[path]))
        spoilt = bytearray(files[path])
        spoilt[at] ^= 1 << chance.randrange(8)
        for wrong in (bytes(spoilt), files[path][:-1], files[path] + b"x", b""):
            reader = LayoutReader(layout_of({**files, path: wrong}))
            failures = 0
            for offset in range(0, len(data), CHUNK):
                length = min(CHUNK, len(data) - offset)
                try:
                    assert await reader.read(offset, length) == data[offset : offset + length]
                except IntegrityError:
                    failures += 1
            assert failures, path


# ── the manifest ──────────────────────────────────────────────────────────────────────────────────


def test_a_manifest_is_read_as_it_was_written() -> None:
    key = Ed25519PrivateKey.generate()
    plain = manifest(boot=FILE, extra={"x-tool": {"made": "by hand", "ünï": [1, "€"]}})
    signed = replace(plain, signature=key.sign(plain.signed_bytes))
    for written in (plain, signed):
        assert Manifest.decode(written.encode()) == written


async def test_a_signature_covers_all_of_it() -> None:
    key = Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes_raw()
    plain = manifest(boot=FILE, extra={"x-note": "ü"})
    signed = replace(plain, signature=key.sign(plain.signed_bytes))
    assert await Manifest.decode(signed.encode()).is_signed_by(public)
    assert not await plain.is_signed_by(public)
    for change in (
        {"size": 5 * CHUNK},
        {"table": FILE},
        {"boot": None},
        {"image_version": b"1" * 32},
        {"extra": {}},
    ):
        assert not await replace(signed, **change).is_signed_by(public), change


def test_signed_bytes_are_those_of_rfc_8785() -> None:
    made = manifest(extra={"x-b": "\u20ac\n", "x-a": 1})
    text = made.signed_bytes.decode()
    assert text.startswith('{"chunk_size":65536,"compression":"zstd","format":"aero-disk-prepared"')
    assert text.endswith(',"version":1,"x-a":1,"x-b":"€\\n"}')


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"version": 2}, "version 2"),
        ({"version": "next"}, '"next"'),
        ({"version": True}, "true"),
        ({"requires": ["dictionary"]}, "dictionary"),
        ({"compression": "lzma9"}, "lzma9"),
        ({"sector_size": 1024}, "1024"),
    ],
)
def test_what_is_newer_is_refused_by_its_name(changes: dict[str, Any], name: str) -> None:
    with pytest.raises(UnsupportedImageError) as refused:
        Manifest.decode(document(**changes))
    assert name in str(refused.value)
    assert "newer release" in str(refused.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"size": 0},
        {"size": -1},
        {"size": 1 << 60},
        {"size": 1.5},
        {"size": True},
        {"size": "out"},
        {"chunk_size": 3000},
        {"chunk_size": 1 << 30},
        {"image_version": "AB" * 32},
        {"image_version": 5},
        {"table": None},
        {"table": {"sha256": "00" * 32, "length": 5, "page_entries": 100}},
        {"table": {"sha256": "00" * 32, "length": 1 << 30, "page_entries": 512}},
        {"table": {"sha256": "../../etc/passwd", "length": 5, "page_entries": 512}},
        {"boot": {"sha256": "00" * 32}},
        {"signature": "short"},
        {"signature": base64.b64encode(bytes(63)).decode()},
        {"stored": []},
        {"a_field": 1},
    ],
)
def test_what_contradicts_itself_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(DamagedImageError):
        Manifest.decode(document(**changes))


def test_fields_of_other_tools_are_passed_over() -> None:
    assert Manifest.decode(document(**{"x-made-by": [1]})).extra == {"x-made-by": [1]}


def test_a_name_that_is_there_twice_is_refused() -> None:
    twice = document()[:-1] + b', "size": 4096}'
    with pytest.raises(DamagedImageError):
        Manifest.decode(twice)
    with pytest.raises(DamagedImageError):
        Manifest.decode(document() + b" " * MAX_MANIFEST)


@settings(max_examples=300)
@given(st.data())
def test_any_manifest_is_read_or_refused(data: st.DataObject) -> None:
    values = (
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.text())
    )
    names = st.sampled_from([*sorted(json.loads(document())), "boot", "signature"])
    changes = data.draw(st.dictionaries(names, values, max_size=3))
    encoded = document(**changes)
    cut = data.draw(st.integers(0, len(encoded)))
    for given_bytes in (encoded, encoded[:cut], encoded[cut:]):
        try:
            found = Manifest.decode(given_bytes)
        except DiskError:
            continue
        assert 0 < found.size < 1 << 54


def test_a_manifest_is_recognised() -> None:
    assert recognise(document()).name == "prepared"
    assert recognise(manifest().encode()).is_streamable
    assert recognise(b'{"error": "not found"}').name == "json"


def test_the_guide_shows_a_manifest_and_a_bundle_that_are_right() -> None:
    shown = [b.text for b in blocks("json") if b.page == GUIDE / "prepared-images.md"]
    found = Manifest.decode(shown[0].encode())
    assert found.boot is not None
    assert json.loads(shown[0]) == json.loads(found.encode())
    assert BootBundle.decode(shown[1].encode(), found.size).blocks[:5] == (0, 1, 2, 3, 2048)


# ── the table ─────────────────────────────────────────────────────────────────────────────────────


class Pages:
    """Pages as `TableWriter` writes them and `ChunkTable` loads them."""

    def __init__(self) -> None:
        self.pages: dict[StoredFile, bytes] = {}
        self.loaded: list[int] = []

    def write(self, data: bytes) -> StoredFile:
        file = stored_file(data)
        self.pages[file] = data
        return file

    async def load(self, file: StoredFile, offset: int) -> bytes:
        self.loaded.append(file.length)
        return self.pages[file]


def table_of(entries: list[Entry], page_entries: int) -> tuple[ChunkTable, Pages]:
    pages = Pages()
    writer = TableWriter(len(entries), page_entries, pages.write)
    for entry in entries:
        writer.add(entry)
    root = writer.finish()
    made = manifest(size=len(entries) * CHUNK, table=root, page_entries=page_entries)
    return ChunkTable(made, pages.load), pages


@settings(deadline=None)
@given(
    st.lists(st.sampled_from([0, 0, 0, 1, 2, 3]), min_size=1, max_size=9000),
    st.sampled_from([16, 32]),
)
async def test_a_table_of_any_depth_has_every_entry(numbers: list[int], page_entries: int) -> None:
    entries = [
        Entry(ZSTD, stored_file(bytes([number]))) if number else NO_CHUNK for number in numbers
    ]
    table, pages = table_of(entries, page_entries)
    assert [await table.entry(chunk) for chunk in range(len(entries))] == entries
    named = [(chunk, entry) async for chunk, entry in table.files()]
    assert [found for found in named if found[0] >= 0] == [
        (chunk, entry) for chunk, entry in enumerate(entries) if entry is not NO_CHUNK
    ]
    assert {entry.file for chunk, entry in named if chunk < 0} == set(pages.pages)


async def test_a_terabyte_begins_with_a_few_pages() -> None:
    chunks = (1 << 40) // (256 << 10)
    assert depth_of(chunks, 512) == 3
    pages = Pages()
    writer = TableWriter(chunks, 512, pages.write)
    entry = Entry(ZSTD, FILE)
    for _ in range(chunks):
        writer.add(entry)
    root = writer.finish()
    table = ChunkTable(
        manifest(size=1 << 40, chunk_size=256 << 10, table=root, page_entries=512), pages.load
    )
    assert await table.entry(chunks - 1) == entry
    assert sum(pages.loaded) < 42_000
    assert len(pages.loaded) == 3


@pytest.mark.parametrize(
    "page",
    [
        b"",
        encode_page(0, [NO_CHUNK] * 3),
        encode_page(1, [NO_CHUNK] * 4),
        encode_page(0, [Entry(PAGE, FILE)] * 4),
        encode_page(0, [Entry(9, FILE)] * 4),
        encode_page(0, [Entry(ZSTD, StoredFile(bytes(32), CHUNK + 1))] * 4),
        encode_page(0, [Entry(RAW, StoredFile(bytes(32), CHUNK - 1))] * 4),
        encode_page(0, [NO_CHUNK] * 4)[:-1] + b"\1",
        encode_page(0, [NO_CHUNK] * 4)[:-5] + b"\1\0\0\0\0",
        b"AEROTAB2" + encode_page(0, [NO_CHUNK] * 4)[8:],
    ],
)
async def test_a_page_that_contradicts_itself_is_refused(page: bytes) -> None:
    table, pages = table_of([NO_CHUNK] * 4, 512)
    for file in pages.pages:
        pages.pages[file] = page
    with pytest.raises(DamagedImageError):
        await table.entry(0)


@given(st.binary(max_size=200), st.integers(0, 4))
def test_any_page_is_read_or_refused(data: bytes, count: int) -> None:
    for page in (data, encode_page(0, [NO_CHUNK] * count)[:16] + data):
        try:
            assert len(decode_page(page, 0, count, CHUNK)) == count
        except DamagedImageError:
            continue


# ── boot bundles ──────────────────────────────────────────────────────────────────────────────────


def test_a_bundle_is_read_as_it_was_written() -> None:
    parts = (
        BundlePart(ZSTD, FILE, (5, 6, 7, 1)),
        BundlePart(RAW, StoredFile(b"2" * 32, 512), (9,)),
    )
    bundle = BootBundle(10 * 4096 - 3584, 4096, parts)
    assert BootBundle.decode(bundle.encode(), bundle.size) == bundle
    assert bundle.blocks == (5, 6, 7, 1, 9)
    assert bundle.length_of(parts[1]) == 512
    with pytest.raises(ValueError, match="another disk"):
        BootBundle.decode(bundle.encode(), bundle.size + 512)


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"block_size": 5000},
        {"parts": [{}]},
        {"parts": [{"sha256": "00", "length": 1, "kind": "raw", "runs": [0, 1]}]},
        {"parts": [{"sha256": "00" * 32, "length": 1, "kind": "gzip", "runs": [0, 1]}]},
        {"parts": [{"sha256": "00" * 32, "length": 1, "kind": "raw", "runs": [0]}]},
        {"parts": [{"sha256": "00" * 32, "length": 1, "kind": "raw", "runs": [0, 2, 1, 1]}]},
        {"parts": [{"sha256": "00" * 32, "length": 1, "kind": "raw", "runs": [0, 1 << 40]}]},
        {"parts": [{"sha256": "00" * 32, "length": 1, "kind": "raw", "runs": [99, 1]}]},
        {"parts": [{"sha256": "00" * 32, "length": 1 << 40, "kind": "raw", "runs": [0, 1]}]},
        {"parts": [{"sha256": "00" * 32, "length": 1, "kind": "raw", "runs": []}]},
    ],
)
def test_a_bundle_that_contradicts_itself_is_refused(change: dict[str, Any]) -> None:
    bundle = json.loads(BootBundle(40960, 4096, (BundlePart(RAW, FILE, (1,)),)).encode())
    with pytest.raises(ValueError, match=r"."):
        BootBundle.decode(json.dumps({**bundle, **change}).encode(), 40960)
