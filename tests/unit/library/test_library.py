"""Local images by name: made, imported, opened, copied, exported, removed; after a crash too."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import random
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import pytest

from aero_browser_disk import open_disk
from aero_browser_disk.errors import (
    DamagedImageError,
    DataCutError,
    ImageBusyError,
    InvalidOptionError,
    NameTakenError,
    NoSuchImageError,
    OddSizeError,
    ReadOnlyError,
    SourceChangedError,
    SourceError,
    StorageFullError,
    StorageUnavailableError,
    UnfinishedImportError,
    UnsupportedImageError,
)
from aero_browser_disk.formats.recognition import TAIL_LENGTH
from aero_browser_disk.formats.zstandard import zstd_module
from aero_browser_disk.library.library import Library
from aero_browser_disk.platform.byte_source import (
    BytesSource,
    SourceIdentity,
    pulled,
    stream_of,
)
from aero_browser_disk.platform.chunks import CELL, BytesChunk
from aero_browser_disk.platform.memory import MemoryChannels, MemoryLocks, MemoryStorage
from aero_browser_disk.records.record import Record, read_record, write_record
from aero_browser_disk.testing.behaviour import Behaviour
from aero_browser_disk.testing.failing_files import FATES, FailingStorage, PowerCutError
from aero_browser_disk.testing.image_server import ImageServer
from aero_browser_disk.transfer.image_export import Hole
from support.qemu import MIB, needs_qemu, patchy_disk, qemu_img, same_disk
from support.vhd_files import vhd_footer

CONTENT = random.Random(4).randbytes(300_000 // 512 * 512) + bytes(2 * MIB) + b"end".ljust(512)


@pytest.fixture
def library(platform) -> Library:
    return Library(platform)


async def named(library, name):
    return next(entry for entry in await library.list() if entry.name == name)


async def content(library, name, overlays=()) -> bytes:
    async with library.exporting(name, overlays) as file:
        return b"".join([bytes(p.length) if isinstance(p, Hole) else p async for p in file.parts])


# ── what there is ─────────────────────────────────────────────────────────────────────────────────


async def test_a_blank_image_takes_next_to_nothing(library):
    entry = await library.create("blank", 40 << 30)
    assert entry.size == 40 << 30
    assert entry.used_bytes < 1 << 20
    assert (entry.kind, entry.state, entry.media, entry.is_open) == (
        "image",
        "ready",
        "disk",
        False,
    )
    disk = await library.open_image("blank")
    assert await disk.read((40 << 30) - 512, 512) == bytes(512)
    await disk.close()


async def test_what_is_written_is_there_when_it_is_opened_again(library, platform):
    await library.create("disk", MIB)
    disk = await open_disk(image="disk", platform=platform)
    await disk.write(1000, b"hello")
    await disk.flush()
    version = disk.info.version
    await disk.close()
    again = await open_disk(image="disk", platform=platform)
    assert await again.read(999, 7) == b"\0hello\0"
    assert again.info.version == version == (await named(library, "disk")).version
    await again.close()


async def test_an_image_is_open_once(library, platform):
    await library.create("disk", MIB)
    disk = await library.open_image("disk")
    assert (await named(library, "disk")).is_open
    other = Library(platform)
    for act in (
        lambda: other.open_image("disk"),
        lambda: other.remove("disk"),
        lambda: other.duplicate("disk", "copy"),
        lambda: other.resize("disk", 2 * MIB),
    ):
        with pytest.raises(ImageBusyError, match="another tab"):
            await act()
    await disk.close()
    await disk.close()
    await (await other.open_image("disk")).close()
    assert [entry.name for entry in await library.list()] == ["disk"]


async def test_no_disk_is_larger_than_javascript_can_count(library):
    for wrong in (0, -512, 2**53, 2**70):
        with pytest.raises(InvalidOptionError):
            await library.create("disk", wrong)
    assert await library.list() == []
    await library.create("disk", 2**53 - 512)
    with pytest.raises(InvalidOptionError):
        await library.resize("disk", 2**53)
    disk = await library.open_image("disk")
    await disk.write(2**53 - 1024, b"last")
    assert await disk.read(2**53 - 1024, 4) == b"last"
    await disk.close()


async def test_names(library):
    await library.create("  Caf\u0065\u0301 ", MIB)
    with pytest.raises(NameTakenError):
        await library.create("Caf\u00e9", MIB)
    await library.create("other", MIB)
    with pytest.raises(NameTakenError):
        await library.rename("other", "Caf\u00e9")
    renamed = await library.rename("other", "third")
    assert renamed.name == "third"
    assert (await library.open_image(renamed.id)) is not None
    for wrong in ("", "  ", "a\nb", "x" * 201, "images/x", None, 5):
        with pytest.raises(InvalidOptionError):
            await library.create(wrong, MIB)
    for act in (library.open_image, library.remove):
        with pytest.raises(NoSuchImageError):
            await act("missing")
    with pytest.raises(NoSuchImageError):
        await library.rename("missing", "x")


@pytest.mark.parametrize("size", [1, 513, 4095])
async def test_sizes_are_whole_sectors(library, size):
    with pytest.raises(OddSizeError):
        await library.create("odd", size)
    assert await library.list() == []


async def test_resizing(library):
    await library.import_bytes(CONTENT, "disk")
    await library.resize("disk", 8 * MIB)
    assert await content(library, "disk") == CONTENT.ljust(8 * MIB, b"\0")
    await library.resize("disk", len(CONTENT))
    with pytest.raises(DataCutError):
        await library.resize("disk", MIB)
    assert (await named(library, "disk")).size == len(CONTENT)
    await library.resize("disk", 512, cut=True)
    assert await content(library, "disk") == CONTENT[:512]
    with pytest.raises(OddSizeError):
        await library.resize("disk", 513)


async def test_a_copy_is_independent(library):
    await library.import_bytes(CONTENT, "disk")
    copy = await library.duplicate("disk", "copy")
    disk = await library.open_image("copy")
    await disk.write(0, b"changed")
    await disk.close()
    assert await content(library, "disk") == CONTENT
    assert await content(library, "copy") == b"changed" + CONTENT[7:]
    assert copy.used_bytes < 1.5 * MIB, "holes stay holes"
    with pytest.raises(NameTakenError):
        await library.duplicate("disk", "copy")
    assert len(await library.list()) == 2


async def test_removing(library, platform):
    entry = await library.create("disk", MIB)
    await library.remove("disk")
    assert await library.list() == []
    assert await platform.storage.list(entry.id) == []
    with pytest.raises(NoSuchImageError):
        await library.remove("disk")


async def test_without_lasting_storage_there_is_no_library(platform):
    with pytest.raises(StorageUnavailableError):
        await Library.open(replace(platform, storage=MemoryStorage()))


async def test_usage_counts_what_is_there(library):
    await library.import_bytes(CONTENT, "disk")
    usage = await library.usage()
    assert usage.images == (await named(library, "disk")).used_bytes >= 300_000
    assert usage.overlays == usage.caches == 0
    assert usage.images <= usage.used < usage.quota


# ── importing ─────────────────────────────────────────────────────────────────────────────────────


@needs_qemu
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("raw", []),
        ("qcow2", []),
        ("qcow2", ["-c"]),
        ("vpc", ["-o", "subformat=dynamic,force_size=on"]),
        ("vpc", ["-o", "subformat=fixed,force_size=on"]),
        ("vhdx", []),
        ("vmdk", []),
        ("vmdk", ["-o", "subformat=streamOptimized"]),
        ("vdi", []),
    ],
)
async def test_an_import_and_an_export_are_what_qemu_says(library, tmp_path: Path, kind, options):
    raw, made, out = (tmp_path / name for name in ("disk.img", f"disk.{kind}", "out.img"))
    qemu_img("convert", "-f", "raw", "-O", kind, *options, patchy_disk(raw), made)
    seen = []
    entry = await library.import_path(made, report=seen.append)
    assert entry.name == "disk"
    assert entry.used_bytes < 5 * MIB, "zeros take no storage"
    assert seen[-1].done == seen[-1].total == made.stat().st_size
    size = await library.export_to_path("disk", out)
    assert size == out.stat().st_size == raw.stat().st_size
    assert same_disk(made, kind, out, "raw")
    assert same_disk(raw, "raw", out, "raw")


@needs_qemu
@pytest.mark.parametrize("compress", ["gzip", "zstd"])
async def test_a_compressed_export_is_what_went_in_and_can_be_imported(
    library, tmp_path: Path, compress
):
    raw, packed = patchy_disk(tmp_path / "disk.img", 80 * MIB), tmp_path / "packed"
    await library.import_path(raw)
    async with library.exporting("disk", compress=compress) as file:
        assert file.name == f"disk.img{'.gz' if compress == 'gzip' else '.zst'}"
        assert file.size == 80 * MIB
    size = await library.export_to_path("disk", packed, compress=compress)
    assert size < 5 * MIB
    unpack = gzip.decompress if compress == "gzip" else zstd_module(None).decompress
    assert unpack(packed.read_bytes()) == raw.read_bytes()
    again = await library.import_path(packed, name="again")
    assert again.format == compress
    await library.export_to_path("again", tmp_path / "again.img")
    assert same_disk(raw, "raw", tmp_path / "again.img", "raw")


@pytest.mark.parametrize("compress", [None, "gzip", "zstd"])
async def test_a_blank_disk_is_exported_quickly(library, compress):
    await library.create("blank", 4 << 30)
    sent = 0
    async with library.exporting("blank", compress=compress) as file:
        async for part in file.parts:
            sent += 0 if isinstance(part, Hole) else len(part)
    assert sent < 6 * MIB


async def test_zstandard_of_a_blank_disk_is_a_disk(library):
    await library.create("blank", 33 * MIB)
    async with library.exporting("blank", compress="zstd") as file:
        data = b"".join([part async for part in file.parts])
    assert zstd_module(None).decompress(data) == bytes(33 * MIB)


async def test_an_unknown_compression_is_refused_before_anything_is_opened(library):
    await library.create("disk", MIB)
    with pytest.raises(InvalidOptionError):
        async with library.exporting("disk", compress="rar"):
            pass


async def chunks(data: bytes, step: int) -> AsyncIterator[bytes]:
    for at in range(0, len(data), step):
        yield data[at : at + step]


@pytest.mark.parametrize("step", [100, 4097, 70_000, 3 * MIB])
async def test_a_stream_of_any_chunks(library, step):
    identity = SourceIdentity("disk.img", None, "")
    entry = await library.import_stream(chunks(CONTENT, step), identity)
    assert entry.size == len(CONTENT)
    assert await content(library, "disk") == CONTENT


async def test_a_stream_that_is_pulled(library):
    waiting = [b"", CONTENT[:1000], CONTENT[1000:], None]

    async def pull():
        return waiting.pop(0)

    await library.import_stream(pulled(pull), SourceIdentity("x", len(CONTENT), ""))
    assert await content(library, "x") == CONTENT


async def test_a_cd_is_read_only_and_has_larger_sectors(library):
    data = bytearray(64 * 2048)
    data[32769:32774] = b"CD001"
    await library.import_bytes(bytes(data), "cd")
    assert (await named(library, "cd")).media == "cd"
    disk = await library.open_image("cd")
    assert disk.info.sector_size == 2048
    assert disk.info.read_only
    with pytest.raises(ReadOnlyError):
        await disk.write(0, b"x")
    await disk.close()
    over = await library.open_image("cd", ["work"])
    await over.write(0, b"x")
    await over.close()


async def test_a_fixed_vhd_in_a_gzip_loses_its_footer(library, tmp_path):
    disk = b"boot".ljust(8192, b"\0")
    packed = gzip.compress(disk + vhd_footer(size=8192))
    entry = await library.import_bytes(packed, "disk")
    assert entry.size == 8192
    assert await content(library, "disk") == disk


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", UnsupportedImageError),
        (b"<!doctype html><html>", UnsupportedImageError),
        (b"KDMV" + bytes(600), UnsupportedImageError),
        (bytes(1000), OddSizeError),
        (gzip.compress(bytes(1000)), OddSizeError),
        (gzip.compress(b""), UnsupportedImageError),
        (gzip.compress(bytes(5000))[:-4], DamagedImageError),
        (gzip.compress(b"PK\3\4" + bytes(600)), UnsupportedImageError),
        (gzip.compress(b"QFI\xfb\0\0\0\3" + bytes(600)), UnsupportedImageError),
        (gzip.compress(gzip.compress(b"x")), UnsupportedImageError),
        (b"QFI\xfb\0\0\0\3" + bytes(600), UnsupportedImageError),
        (bytes(1024) + b"conectix" + bytes(52) + b"\0\0\0\2" + bytes(448), UnsupportedImageError),
    ],
    ids=range(12),
)
async def test_what_is_no_disk_is_refused_and_leaves_nothing(library, platform, data, error):
    with pytest.raises(error):
        await library.import_bytes(data, "bad")
    assert await library.list() == []
    assert await platform.storage.list("images") == []


async def test_a_file_may_be_imported_as_what_it_is_said_to_be(library, tmp_path: Path):
    """What begins like another format and is none, and what a guest made look like one."""
    pretender = b"QFI\xfb\0\0\0\3" + bytes(1016)
    path = tmp_path / "pretender.img"
    path.write_bytes(pretender)
    with pytest.raises(UnsupportedImageError, match="name its format: raw"):
        await library.import_path(path)
    entry = await library.import_path(path, format="raw")
    assert await content(library, entry.name) == pretender
    with pytest.raises(DamagedImageError):
        await library.import_path(path, name="other", format="vmdk")
    with pytest.raises(InvalidOptionError):
        await library.import_path(path, name="other", format="nothing")
    assert [image.name for image in await library.list()] == ["pretender"]


@pytest.mark.parametrize("packed", [False, True])
async def test_a_file_of_an_odd_size_is_padded_with_consent(library, packed):
    data = gzip.compress(b"x" * 1000) if packed else b"x" * 1000
    entry = await library.import_bytes(data, "disk", pad=True)
    assert entry.size == 1024
    assert await content(library, "disk") == (b"x" * 1000).ljust(1024, b"\0")


async def test_names_come_from_the_file(library):
    for file_name, name in [
        ("C:\\images\\Windows 95.img.gz", "Windows 95"),
        ("debian.qcow2", "debian"),
        ("debian.raw.xz", "debian 2"),
        ("folder/debian.iso", "debian 3"),
        (".img", ".img"),
        ("a\nb.img", "a\ufffdb"),
        ("", "image"),
        ("x" * 300, "x" * 150),
    ]:
        identity = SourceIdentity(file_name, 512, file_name)
        entry = await library.import_source(BytesSource(b"x" * 512), identity)
        assert entry.name == name


# ── imports that break off ────────────────────────────────────────────────────────────────────────


class Unreliable(BytesSource):
    """Fails at an offset, once."""

    def __init__(self, data: bytes, fails_at: int) -> None:
        super().__init__(data)
        self.fails_at = fails_at
        self.reads = 0

    async def read(self, offset, length):
        self.reads += 1
        if offset >= self.fails_at and length > TAIL_LENGTH:
            raise SourceError("disk.img", "it was moved")
        return await super().read(offset, length)


class Foreign:
    """A source whose bytes are in memory that is not Python's, as a browser's are."""

    def __init__(self, source: BytesSource, chunk: type[BytesChunk] = BytesChunk) -> None:
        self.size = source.size
        self.read = source.read
        self.chunk = chunk

    async def read_chunk(self, offset, length):
        return self.chunk(await self.read(offset, length))


class UncopiedChunk(BytesChunk):
    """Gives no more to Python than a few cells at a time."""

    def copy(self, start, stop):
        assert stop - start < 16 * CELL, "it went through Python's memory"
        return super().copy(start, stop)


@pytest.fixture(params=[lambda source: source, Foreign], ids=["in memory", "foreign memory"])
def source_of(request):
    """What makes of a source one that is to be imported."""
    return request.param


BIG = random.Random(9).randbytes(6 * MIB) + bytes(6 * MIB) + random.Random(8).randbytes(6 * MIB)
IDENTITY = SourceIdentity("big.img", len(BIG), "12345")


@pytest.fixture
def careful(checkpoints) -> Library:
    """A library that notes after each chunk how far an import is."""
    return Library(checkpoints)


async def test_an_import_that_broke_off_is_listed_and_continued(careful, source_of):
    with pytest.raises(SourceError):
        await careful.import_source(source_of(Unreliable(BIG, 12 * MIB)), IDENTITY)
    entry = await named(careful, "big")
    assert entry.state == "importing"
    assert entry.done == 12 * MIB
    assert entry.size == len(BIG)
    with pytest.raises(UnfinishedImportError):
        await careful.open_image("big")
    done = await careful.import_source(BytesSource(BIG), IDENTITY)
    assert done.id == entry.id
    assert done.state == "ready"
    assert await content(careful, "big") == BIG


async def test_an_import_that_broke_off_at_once_is_continued_from_there(library, source_of):
    """However little time it had."""
    with pytest.raises(SourceError):
        await library.import_source(source_of(Unreliable(BIG, 4 * MIB)), IDENTITY)
    assert (await named(library, "big")).done == 4 * MIB
    source = Stalling(BIG, 12 * MIB)
    work = asyncio.ensure_future(library.import_source(source_of(source), IDENTITY, keep=True))
    await source.stalled.wait()
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    done = (await named(library, "big")).done
    assert 8 * MIB <= done <= 12 * MIB  # as far as it was written when it was cancelled
    await library.import_source(BytesSource(BIG), IDENTITY)
    assert await content(library, "big") == BIG


async def test_a_format_that_is_named_is_not_recognised(library, tmp_path):
    """A guest can write another format's header to a raw disk, whichever way it comes in."""
    packed = gzip.compress(BIG[:MIB], 1)
    packed += bytes(-len(packed) % 512)
    identity = SourceIdentity("disk.img", len(packed), "")
    path = tmp_path / "disk.img"
    path.write_bytes(packed)
    with ImageServer({"disk.img": path}) as server:
        url = server.url("disk.img")
        await library.import_path(path, name="path", format="raw")
        await library.import_bytes(packed, "bytes", format="raw")
        stream = stream_of(BytesSource(packed))
        await library.import_stream(stream, identity, name="stream", format="raw")
        await library.import_url(url, allow_remote=True, name="url", format="raw")
        server.behaviour = Behaviour(ignore_range=True)
        await library.import_url(url, allow_remote=True, name="whole", format="raw")
        for name in ("path", "bytes", "stream", "url", "whole"):
            assert await content(library, name) == packed
        with pytest.raises(UnsupportedImageError, match="qcow2"):
            await library.import_url(url, allow_remote=True, format="qcow2")
    with pytest.raises(InvalidOptionError):
        await library.import_stream(stream_of(BytesSource(packed)), identity, format="none")


async def test_how_far_an_import_is_is_noted_each_second(checkpoints):
    """For a kill, after which nothing can be noted."""
    checkpoints.clock.step_s = 0.6
    library = Library(checkpoints)
    source = Stalling(BIG, 12 * MIB)
    work = asyncio.ensure_future(library.import_source(source, IDENTITY))
    await source.stalled.wait()
    assert (await named(library, "big")).done >= 6 * MIB
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work


@pytest.mark.parametrize(
    "other",
    [
        replace(IDENTITY, modified="99"),
        replace(IDENTITY, name="other.img"),
        replace(IDENTITY, size=len(BIG) + 512),
    ],
    ids=lambda identity: identity.name + identity.modified,
)
async def test_an_import_is_not_continued_with_another_file(careful, other):
    with pytest.raises(SourceError):
        await careful.import_source(Unreliable(BIG, 12 * MIB), IDENTITY)
    with pytest.raises(SourceChangedError):
        await careful.import_source(BytesSource(BIG.ljust(other.size, b"\0")), other, name="big")
    assert (await named(careful, "big")).state == "importing", "it can still be continued"
    anew = await careful.import_source(BytesSource(BIG.ljust(other.size, b"\0")), other)
    assert anew.name in ("big 2", "other")


async def test_a_file_that_changed_behind_its_facts_is_found_out(careful):
    with pytest.raises(SourceError):
        await careful.import_source(Unreliable(BIG, 12 * MIB), IDENTITY)
    changed = bytearray(BIG)
    changed[5 * MIB] ^= 1
    with pytest.raises(SourceChangedError, match="content"):
        await careful.import_source(BytesSource(bytes(changed)), IDENTITY)


async def test_a_compressed_import_is_continued_too(careful):
    packed = gzip.compress(BIG, 1)
    identity = replace(IDENTITY, name="big.img.gz", size=len(packed))
    with pytest.raises(SourceError):
        await careful.import_source(Unreliable(packed, 8 * MIB), identity)
    assert (await named(careful, "big")).done > 4 * MIB
    await careful.import_source(BytesSource(packed), identity)
    assert await content(careful, "big") == BIG


class Stalling(BytesSource):
    """Never gives what lies past an offset."""

    def __init__(self, data: bytes, stops_at: int) -> None:
        super().__init__(data)
        self.stops_at = stops_at
        self.stalled = asyncio.Event()

    async def read(self, offset, length):
        if offset >= self.stops_at and length > TAIL_LENGTH:
            self.stalled.set()
            await asyncio.Event().wait()
        return await super().read(offset, length)


@pytest.mark.parametrize("keep", [False, True])
async def test_an_import_that_is_cancelled_is_gone_unless_it_is_to_be_kept(
    careful, platform, source_of, keep
):
    source = Stalling(BIG, 8 * MIB)
    work = asyncio.ensure_future(careful.import_source(source_of(source), IDENTITY, keep=keep))
    await source.stalled.wait()
    assert (await named(careful, "big")).is_open
    with pytest.raises(ImageBusyError):
        await Library(platform).remove("big")
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert [entry.state for entry in await careful.list()] == (["importing"] if keep else [])
    await careful.import_source(BytesSource(BIG), IDENTITY)
    assert await content(careful, "big") == BIG


async def test_an_import_that_finds_a_full_storage_is_kept_and_continued(platform, source_of):
    storage = LastingMemory(quota=8 * MIB)
    library = Library(replace(platform, storage=storage, locks=MemoryLocks()))
    with pytest.raises(StorageFullError):
        await library.import_source(source_of(BytesSource(BIG)), IDENTITY)
    assert (await named(library, "big")).state == "importing"
    storage.quota = 1 << 40
    await library.import_source(BytesSource(BIG), IDENTITY)
    assert await content(library, "big") == BIG


@pytest.mark.parametrize("tail", [0, 1, 700, CELL + 1])
async def test_what_is_in_foreign_memory_is_imported_without_a_copy(library, tail):
    """Zeros take no storage, wherever they lie, and odd ends are kept."""
    chance = random.Random(12)
    cells = [chance.choice([bytes(CELL), chance.randbytes(CELL)]) for _ in range(600)]
    data = chance.randbytes(5 * MIB) + b"".join(cells) + bytes(2 * MIB) + chance.randbytes(MIB)
    data += chance.randbytes(tail)
    identity = SourceIdentity("foreign.img", len(data), "")
    made = await library.import_source(
        Foreign(BytesSource(data), UncopiedChunk), identity, pad=True
    )
    assert (await content(library, "foreign")).rstrip(b"\0") == data.rstrip(b"\0")
    assert made.size == -(-len(data) // 512) * 512
    dense = sum(any(data[at : at + CELL]) for at in range(0, len(data), CELL)) * CELL
    assert made.used_bytes < dense + MIB


async def test_a_source_that_became_shorter_is_an_error(library, source_of):
    source = BytesSource(BIG)
    source.size = len(BIG) + MIB
    with pytest.raises(SourceError, match="it ends after"):
        await library.import_source(source_of(source), replace(IDENTITY, size=source.size))


# ── crashes, tabs, pruning ────────────────────────────────────────────────────────────────────────


class LastingMemory(MemoryStorage):
    """Memory that passes for a storage that lasts."""

    @property
    def kind(self):
        return "opfs"


async def test_what_a_crash_left_half_made_or_half_removed_is_cleared(library, platform):
    storage = platform.storage
    kept = await library.import_bytes(CONTENT, "kept")
    going = await library.create("going", MIB)
    record = await read_record(storage, going.id)
    await write_record(storage, going.id, replace(record, state="removing"))
    making = await library.create("making", MIB)
    await write_record(storage, making.id, replace(record, name="making", state="creating"))
    (await storage.open("images/0123/record")).close()  # nothing was written to it
    (await storage.open("overlays/0123/sectors")).close()
    unfinished = await library.create("unfinished", MIB)
    await write_record(storage, unfinished.id, replace(record, name="u", state="importing"))
    assert {entry.id for entry in await library.list()} == {kept.id, unfinished.id}
    assert set(await storage.list("images")) == {kept.id[7:], unfinished.id[7:]}
    assert await storage.list("overlays") == []


async def test_data_without_a_record_is_kept_and_can_be_named(library, platform):
    entry = await library.import_bytes(CONTENT, "disk")
    await platform.storage.remove(f"{entry.id}/record")
    (found,) = await library.list()
    assert found.name.startswith("recovered-")
    await library.rename(found.name, "saved")
    assert await content(library, "saved") == CONTENT
    assert (await named(library, "saved")).size == len(CONTENT)


@pytest.mark.parametrize("change", [1, 2, 3, 4])
async def test_a_record_that_is_being_written_is_the_old_one_or_the_new(change):
    storage = FailingStorage()
    record = Record("one", 512, 1.0, 1.0)
    await write_record(storage, "images/x", record)
    await write_record(storage, "images/x", replace(record, name="two"))
    storage.cut_power_at(change)
    with contextlib.suppress(PowerCutError):
        await write_record(storage, "images/x", replace(record, name="three"))
    for fate in FATES:
        after = storage.after_power_cut(lambda _, fate=fate: fate)
        name = (await read_record(after, "images/x")).name
        assert name == "three" if change > 3 else name in ("two", "three")


async def test_a_record_holds_the_longest_of_everything(platform):
    long = "\U0001f4be" * 1000
    record = Record(
        long, 512, 1.0, 1.0, base="x", base_name=long, version=long,
        source=SourceIdentity(long, 1, long),
    )  # fmt: skip
    await write_record(platform.storage, "images/x", record)
    assert (await read_record(platform.storage, "images/x")).base_name == long[:200]


async def test_other_tabs_hear_of_changes(platform):
    channels = MemoryChannels()
    here = Library(replace(platform, channels=channels))
    there = Library(replace(platform, channels=channels))
    heard = []
    channel = there.watch(heard.append)
    entry = await here.create("disk", MIB)
    await asyncio.sleep(0)
    assert entry.id in heard
    heard.clear()
    await here.rename("disk", "new")
    await asyncio.sleep(0)
    assert heard == [entry.id]
    channel.close()
    await here.remove("new")
    await asyncio.sleep(0)
    assert heard == [entry.id]
    assert here.watch(print) is not None
    here.close()


async def test_caches_are_listed_pruned_and_removed(library, platform, server):
    disk = await open_disk(
        f"{server.url('disk.img')}?token=secret", allow_remote=True, platform=platform
    )
    await disk.read(0, 100_000)
    (entry,) = await library.list()
    assert (entry.kind, entry.is_open, entry.size) == ("cache", True, disk.info.size)
    assert entry.name == f"{server.url('disk.img')}?…"
    assert entry.version == disk.info.version
    assert await library.prune(keep_bytes=0, dry_run=False) == [], "it is open"
    with pytest.raises(ImageBusyError):
        await library.remove(entry.id)
    await disk.close()
    await library.import_bytes(CONTENT, "mine")
    assert await library.prune(keep_bytes=1 << 40, unused_for_s=3600) == []
    (would,) = await library.prune(keep_bytes=0)
    assert would.id == entry.id
    assert len(await library.list()) == 2, "a dry run removes nothing"
    assert await library.prune(unused_for_s=-1, dry_run=False) != []
    assert [e.name for e in await library.list()] == ["mine"]
    with pytest.raises(NoSuchImageError):
        await library.remove(entry.id)
    with pytest.raises(InvalidOptionError):
        await library.prune(kinds=["image"])


async def test_no_secret_of_an_address_is_stored(library, platform, server, tmp_path):
    url = server.url("disk.img").replace("://", "://user:hunter2@") + "?sig=hunter3#hunter4"
    disk = await open_disk(url, allow_remote=True, overlay="work", platform=platform)
    await disk.write(0, b"x")
    await disk.close()
    stored = b"".join(f.read_bytes() for f in tmp_path.rglob("*") if f.is_file())
    for secret in (b"hunter2", b"hunter3", b"hunter4"):
        assert secret not in stored


async def test_an_export_that_is_given_up_lets_the_image_go(library):
    await library.import_bytes(CONTENT, "disk")
    async with library.exporting("disk") as file, aclosing(file.parts) as parts:
        await anext(parts)
    await (await library.open_image("disk")).close()


async def test_what_else_is_in_the_storage_is_never_cleared(platform):
    kept = ("states/machine-1.json", "quick-start/snapshot")
    for path in kept:
        file = await platform.storage.open(path)
        file.write(b"a user's", 0)
        file.close()
    library = Library(platform)
    assert await library.list() == []
    assert not await library.prune(
        unused_for_s=-1.0, keep_bytes=0, kinds=("cache", "import"), dry_run=False
    )
    for path in kept:
        assert await platform.storage.facts(path) is not None, path


async def test_an_export_leaves_a_file_named_part_alone(platform, tmp_path):
    other = tmp_path / "out.img.part"
    other.write_bytes(b"somebody's")
    async with Library.open(platform) as library:
        await library.create("work", 1 << 20)
        assert await library.export_to_path("work", tmp_path / "out.img") == 1 << 20
    assert other.read_bytes() == b"somebody's"
    assert [path.name for path in tmp_path.glob("*.part")] == ["out.img.part"]
    assert not list(tmp_path.glob(".*.part"))
