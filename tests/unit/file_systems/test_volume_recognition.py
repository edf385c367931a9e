"""Small FAT32 volumes, floppies without a description, UDF beside ISO 9660, impossible numbers."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from aero_browser_disk.errors import DamagedFileSystemError
from aero_browser_disk.file_systems import DiskFiles
from aero_browser_disk.formats.raw_file import RawFileDisk
from aero_browser_disk.formats.recognition import recognise
from support import file_images as images

MIB = 1 << 20


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder of one file."""
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "hello.txt").write_text("hello\n")
    return tree


@pytest.fixture
def hello(tree: Path) -> Path:
    return tree / "hello.txt"


async def check_hello(path: Path, kind: str) -> None:
    files = DiskFiles(RawFileDisk.open(path))
    (volume,) = (await files.list("/")).entries
    assert volume.description == kind
    assert volume.cannot is None
    assert await files.read("/1/hello.txt", 0, 99) == b"hello\n"


def put_in_fat32(path: Path, sector: int, data: bytes) -> None:
    """Writes `hello.txt` into cluster 3: mtools takes a volume of few clusters for FAT16."""
    image = bytearray(path.read_bytes())
    (reserved,) = struct.unpack_from("<H", image, 14)
    tables, (per_table,) = image[16], struct.unpack_from("<I", image, 36)
    for table in range(tables):
        at = (reserved + table * per_table) * sector + 3 * 4
        image[at : at + 4] = b"\xff\xff\xff\x0f"
    root = (reserved + tables * per_table) * sector
    entry = b"HELLO   TXT\x20\x18" + bytes(7) + struct.pack("<HHHHI", 0, 0, 0x5021, 3, len(data))
    image[root : root + 32] = entry.ljust(32, b"\0")
    image[root + sector : root + sector + len(data)] = data
    information = struct.unpack_from("<H", image, 48)[0] * sector
    (free,) = struct.unpack_from("<I", image, information + 488)
    struct.pack_into("<I", image, information + 488, free - 1)
    path.write_bytes(image)


@pytest.mark.parametrize("size", [1, 32, 33], ids="{} MiB".format)
@pytest.mark.parametrize("sector", [512, 4096])
async def test_a_fat32_with_few_clusters_is_fat32(tmp_path: Path, size, sector):
    path = images.blank(tmp_path / "fat", size * MIB)
    images.tool("mkfs.fat", "-F", "32", "-S", str(sector), "-s", "1", path)
    put_in_fat32(path, sector, b"hello\n")
    images.tool("fsck.fat", "-n", path)
    await check_hello(path, "FAT32")


@pytest.mark.parametrize("kib", [160, 180, 320, 360, 720, 1200, 1440, 2880])
async def test_a_floppy_without_a_description_is_read_by_its_size(tmp_path: Path, hello: Path, kib):
    path = images.blank(tmp_path / "floppy", kib << 10)
    images.tool("mformat", "-i", path, "-f", str(kib), "::")
    images.tool("mcopy", "-i", path, hello, "::")
    with path.open("r+b") as floppy:
        floppy.write(b"\xeb\x2a\x90" + bytes(509))
    await check_hello(path, "FAT12")
    assert "FAT" in recognise(path.read_bytes()[:4096], size=kib << 10).title


@pytest.mark.parametrize("jump", [b"\x60\x38\x90", b"\0\0\0", b"\xfa\xfc\x33"], ids=bytes.hex)
async def test_a_floppy_that_begins_with_another_instruction_is_read(
    tmp_path: Path, hello: Path, jump
):
    path = images.blank(tmp_path / "floppy", 720 << 10)
    images.tool("mformat", "-i", path, "-f", "720", "::")
    images.tool("mcopy", "-i", path, hello, "::")
    with path.open("r+b") as floppy:
        floppy.write(jump)
        floppy.seek(510)
        floppy.write(bytes(2))
    await check_hello(path, "FAT12")


async def test_what_only_looks_like_a_floppy_is_none(tmp_path: Path):
    """A floppy's size and a description, but no table: any sector may look like a description."""
    path = images.blank(tmp_path / "floppy", 1440 << 10)
    images.tool("mformat", "-i", path, "-f", "1440", "::")
    with path.open("r+b") as floppy:
        floppy.write(b"\0\0\0")
        floppy.seek(512)
        floppy.write(bytes(3))
    (volume,) = (await DiskFiles(RawFileDisk.open(path)).list("/")).entries
    assert volume.description == "no file system known here"


@pytest.mark.parametrize("options", [["-R"], ["-J"], []], ids=["Rock Ridge", "Joliet", "plain"])
async def test_udf_is_named_where_it_is_beside_iso_9660(tmp_path: Path, tree: Path, options):
    for udf in ([], ["-udf"]):
        path = images.make_iso(tmp_path / "disc", tree, *options, *udf)
        files = DiskFiles(RawFileDisk.open(path))
        (volume,) = (await files.list("/")).entries
        assert ("UDF" in volume.description) == bool(udf)
        assert "ISO 9660" in volume.description
        assert await files.read("/1/hello.txt", 0, 99) == b"hello\n"


async def test_a_disc_of_udf_alone_is_named(tmp_path: Path, tree: Path):
    path = images.make_iso(tmp_path / "disc", tree, "-udf")
    data = bytearray(path.read_bytes())
    first = data.index(b"BEA01") - 1
    data[32768 : 32768 + 6144] = data[first : first + 6144]
    path.write_bytes(data)
    (volume,) = (await DiskFiles(RawFileDisk.open(path)).list("/")).entries
    assert volume.description == "UDF"


async def test_a_time_that_is_none_does_not_hide_a_file(tmp_path: Path, tree: Path):
    path = images.make_iso(tmp_path / "disc", tree, "-R")
    data = bytearray(path.read_bytes())
    at = 0
    while (at := data.find(b"TF", at)) >= 0:
        if data[at + 3] == 1:  # the times of a file become ones of 17 digits, of the year 0
            data[at + 4] = 0x82
            data[at + 5 : at + 22] = b"0000010100000000\0"
        at += 2
    path.write_bytes(data)
    files = DiskFiles(RawFileDisk.open(path))
    assert [e.name for e in (await files.list("/1")).entries] == ["hello.txt"]
    assert await files.read("/1/hello.txt", 0, 99) == b"hello\n"


async def test_a_file_that_is_said_to_be_larger_than_any_is_an_error_and_no_number(
    tmp_path: Path, tree: Path
):
    path = images.make_ext(tmp_path / "ext", tree, "ext4", "-O", "^metadata_csum")
    images.tool("debugfs", "-w", "-R", f"set_inode_field hello.txt size {(1 << 63) - 1}", path)
    files = DiskFiles(RawFileDisk.open(path))
    sizes = {e.name: e.size for e in (await files.list("/1")).entries}
    assert sizes["hello.txt"] is None
    for read in (files.read("/1/hello.txt", 0, 1), files.extents("/1/hello.txt")):
        with pytest.raises(DamagedFileSystemError, match="9,223,372,036,854,775,807 bytes"):
            await read
