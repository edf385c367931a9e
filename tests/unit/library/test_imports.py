"""Imports into the library: formats, streams, names; and exports of what was imported."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from aero_browser_disk.errors import (
    DamagedImageError,
    HybridImageError,
    InvalidOptionError,
    OddSizeError,
    ReadOnlyError,
    UnsupportedImageError,
)
from aero_browser_disk.formats.zstandard import zstd_module
from aero_browser_disk.library.library import Library
from aero_browser_disk.platform.byte_source import (
    BytesSource,
    SourceIdentity,
    pulled,
)
from aero_browser_disk.transfer.image_export import Hole
from support.libraries import CONTENT, content, named
from support.qemu import MIB, needs_qemu, patchy_disk, qemu_img, same_disk
from support.vhd_files import vhd_footer


@pytest.fixture
def library(platform) -> Library:
    return Library(platform)


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


def hybrid() -> bytes:
    """The image of a CD with a partition table in front."""
    data = bytearray(64 * 2048)
    data[32769:32774] = b"CD001"
    data[510:512] = b"\x55\xaa"
    data[450] = 0x17
    data[458:462] = (256).to_bytes(4, "little")
    return bytes(data)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
async def test_a_cd_that_is_a_disk_as_well_is_imported_as_what_is_said(library, pack):
    data = pack(hybrid())
    with pytest.raises(HybridImageError, match="both is a CD and a disk as well"):
        await library.import_bytes(data, "both", media="ask")
    assert await library.list() == []
    with pytest.raises(InvalidOptionError):
        await library.import_bytes(data, "both", media="floppy")

    await library.import_bytes(data, "by itself")
    await library.import_bytes(data, "cd", media="cd")
    await library.import_bytes(data, "disk", media="disk")
    assert {entry.name: entry.media for entry in await library.list()} == {
        "by itself": "cd",
        "cd": "cd",
        "disk": "disk",
    }
    async with await library.open_image("disk") as disk:
        assert disk.info.sector_size == 512
        await disk.write(0, b"x")
    await library.import_bytes(bytes(512), "other", media="ask")  # asks nothing of a disk


async def test_an_import_of_such_a_cd_goes_on_as_what_it_was_begun(library):
    """It is asked for once."""
    source, begun = BytesSource(hybrid()), SourceIdentity("both.iso", 64 * 2048, "")
    stopped = asyncio.CancelledError()

    class Broken(BytesSource):
        reads = 0

        async def read(self, offset: int, length: int) -> bytes:
            self.reads += offset == 0
            if self.reads > 1:  # the first one recognises the file
                raise stopped
            return await super().read(offset, length)

    with pytest.raises(asyncio.CancelledError):
        await library.import_source(Broken(hybrid()), begun, media="disk", keep=True)
    assert (await named(library, "both")).state == "importing"
    entry = await library.import_source(source, begun, media="ask")
    assert (entry.state, entry.media) == ("ready", "disk")


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
