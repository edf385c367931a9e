"""The files on a disk: exact, whatever made them, and no image can make reading them go wrong."""

from __future__ import annotations

import asyncio
import contextlib
import random
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aero_browser_disk.disk import DiskInfo
from aero_browser_disk.errors import (
    DamagedFileSystemError,
    DiskError,
    InvalidOptionError,
    NoSuchFileError,
    UnknownFileSystemError,
    UnreadableFileError,
)
from aero_browser_disk.file_systems import DiskFiles
from aero_browser_disk.file_systems.lznt1 import decompress
from aero_browser_disk.formats.raw_file import RawFileDisk
from aero_browser_disk.open_disk import open_disk
from aero_browser_disk.testing.image_server import ImageServer
from support import file_images as images

MIB = 1 << 20


class BytesDisk:
    """As much of a disk as reading files takes, over bytes."""

    def __init__(self, data: bytes | bytearray, *, read_only: bool = True) -> None:
        self.data = data
        self.info = DiskInfo(len(data), "v", 512, read_only=read_only)
        self.reads: list[tuple[int, int]] = []

    async def read(self, offset: int, length: int) -> bytes:
        assert 0 <= offset <= offset + length <= len(self.data)
        self.reads.append((offset, length))
        return bytes(self.data[offset : offset + length])


async def volumes(files: DiskFiles) -> list[tuple[str, str, str]]:
    return [(e.name, e.description, e.label) for e in (await files.list("/")).entries]


async def whole(files: DiskFiles, path: str) -> bytes:
    return b"".join([chunk async for chunk in files.read_all(path, 999_999)])


# ── every kind ────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return images.write_tree(tmp_path_factory.mktemp("tree"))


@pytest.fixture(scope="module")
def linked_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = images.write_tree(tmp_path_factory.mktemp("linked"))
    (root / "link").symlink_to("folder/one")
    (root / "folder" / "up").symlink_to("../folder/deeper")
    (root / "absolute").symlink_to("/folder/up/still/file.dat")
    (root / "long link").symlink_to("folder/" + "./" * 60 + "one")
    (root / "circle").symlink_to("circle")
    with (root / "sparse").open("wb") as sparse:
        sparse.write(b"begin")
        sparse.seek(700_000)
        sparse.write(b"end")
    return root


SPARSE = b"begin" + bytes(700_000 - 5) + b"end"
LINKS = {
    "link": images.FILES["folder/one"],
    "absolute": images.FILES["folder/deeper/still/file.dat"],
    "long link": images.FILES["folder/one"],
    "folder/up/still/file.dat": images.FILES["folder/deeper/still/file.dat"],
    "sparse": SPARSE,
}
FRAGMENTS = {"left": images.fragmented(True), "right": images.fragmented(False)}
Maker = Callable[[Path, Path], Path]
KINDS: dict[str, tuple[str, str, Maker, dict[str, bytes]]] = {
    "FAT12": ("FAT12", "VOL", lambda p, t: images.make_fat(p, t, 12), {}),
    "FAT16": ("FAT16", "VOL", lambda p, t: images.make_fat(p, t, 16), {}),
    "FAT32": ("FAT32", "VOL", lambda p, t: images.make_fat(p, t, 32), {}),
    "exFAT": ("exFAT", "Vol", images.make_exfat, FRAGMENTS),
    "NTFS": (
        "NTFS",
        "Vol",
        images.make_ntfs,
        {
            **FRAGMENTS,
            "packed/text": images.compressible(),
            "packed/noise": images.BIG[:300_001],
            "sparse": bytes(2 * MIB) + b"end",
        },
    ),
    "ISO 9660": ("ISO 9660 (Rock Ridge)", "VOL", lambda p, t: images.make_iso(p, t, "-R"), LINKS),
    "Joliet": (
        "ISO 9660 (Joliet)",
        "VOL",
        lambda p, t: images.make_iso(p, t, "-J", "-joliet-long"),
        {},
    ),
}
EXT = {
    "ext2 of 1 KiB": ("ext2", "-b", "1024"),
    "ext2 old": ("ext2", "-I", "128", "-O", "^resize_inode"),
    "ext3": ("ext3",),
    "ext4": ("ext4",),
    "ext4 inline": ("ext4", "-O", "inline_data", "-I", "256"),
    "ext4 meta_bg": ("ext4", "-O", "meta_bg,^resize_inode", "-b", "1024"),
    "ext4 clusters": ("ext4", "-O", "bigalloc", "-b", "1024"),
    "ext4 narrow": ("ext4", "-O", "^64bit,^metadata_csum,sparse_super2"),
}
for name, (kind, *options) in EXT.items():
    KINDS[name] = (
        kind,
        "Vol",
        lambda p, t, kind=kind, options=options: images.make_ext(p, t, kind, *options),
        LINKS,
    )


@pytest.fixture(scope="module", params=KINDS)
def made(request, tmp_path_factory, tree, linked_tree):
    """An image of a kind: its path, what it should be called, and the files besides the tree's."""
    kind, label, make, more = KINDS[request.param]
    source = linked_tree if more is LINKS else tree
    return make(tmp_path_factory.mktemp("image") / "image", source), kind, label, more


@pytest.fixture
async def files(made):
    disk = RawFileDisk.open(made[0])
    yield DiskFiles(disk)
    await disk.close()


async def test_the_volume_is_named_and_every_file_is_exact(made, files):
    _, kind, label, more = made
    assert await volumes(files) == [("1", kind, label)]
    few = {
        n: d for n, d in images.FILES.items() if not n.startswith("many/") or n.endswith("77.txt")
    }
    for name, data in {**few, **more}.items():
        assert await whole(files, f"/1/{name}") == data, name
        assert (await files.stat(f"/1/{name}")).size == len(data)
        middle = len(data) // 3
        assert await files.read(f"/1/{name}", middle, 5001) == data[middle : middle + 5001]


async def test_a_folder_lists_all_that_is_in_it(files):
    listing = await files.list("/1/many")
    assert listing.complete
    assert sorted((e.name, e.kind, e.size) for e in listing.entries) == sorted(
        (images.many_name(n), "file", len(f"{n}\n")) for n in range(images.MANY)
    )
    root = {e.name: e for e in (await files.list("/1")).entries}
    assert {"folder", "many", "hello.txt", "empty", "big.bin"} <= set(root)
    assert (root["folder"].kind, root["folder"].size) == ("folder", None)
    assert (root["hello.txt"].size, root["hello.txt"].modified) == (6, images.EPOCH)
    assert not {".", ".."} & set(root)


async def test_a_folder_that_is_too_long_is_no_shorter_folder(made, files, monkeypatch):
    package = "aero_browser_disk.file_systems"
    monkeypatch.setattr(f"{package}.ext._MAX_FOLDER_BYTES", 4096)
    monkeypatch.setattr(f"{package}.iso9660._MAX_FOLDER_BYTES", 4096)
    monkeypatch.setattr(f"{package}.ntfs._MAX_BUFFERS", 8)
    if made[1].startswith(("FAT", "exFAT")):  # theirs cannot be longer than what is read
        assert len((await files.list("/1/many")).entries) == images.MANY
        return
    with pytest.raises(DamagedFileSystemError, match="a folder has"):
        await files.list("/1/many")
    if made[1] != "NTFS":  # its names are searched by their order
        with pytest.raises(DamagedFileSystemError, match="a folder has"):
            await files.stat("/1/many/nothing")
        with pytest.raises(DamagedFileSystemError, match="a folder has"):
            await files.path("/1/many/nothing").exists()


async def test_the_extents_of_a_file_are_where_its_bytes_are(made, files):
    data = made[0].read_bytes()
    extents = await files.extents("/1/big.bin")
    found = b"".join(data[e.disk_offset : e.disk_offset + e.length] for e in extents)
    assert found[: len(images.BIG)] == images.BIG
    where = await files.where(extents[0].disk_offset + 100)
    assert (where.volume, where.path) == ("1", "/1/big.bin")


async def test_what_is_not_there_or_no_folder_says_so(files):
    for path in ("/1/nothing", "/1/folder/one/below", "/9", "/9/x"):
        with pytest.raises(NoSuchFileError):
            await files.stat(path)
    with pytest.raises(UnreadableFileError, match="not a folder"):
        await files.list("/1/hello.txt")
    with pytest.raises(UnreadableFileError, match="not a file"):
        await files.read("/1/folder", 0, 1)
    assert await files.read("/1/hello.txt", 6, 10) == b""
    assert await files.read("/1/hello.txt", 1 << 60, 10) == b""


async def test_a_circle_of_links_leads_nowhere(made, files):
    if made[3] is LINKS:
        with pytest.raises(UnreadableFileError, match="run in a circle"):
            await files.read("/1/circle", 0, 1)
        entry = next(e for e in (await files.list("/1/")).entries if e.name == "link")
        assert (entry.kind, entry.target) == ("link", "folder/one")


async def test_a_link_at_the_end_of_a_path_is_told_if_asked(made, files):
    if made[3] is LINKS:
        link = await files.stat("/1/link", follow_links=False)
        assert (link.kind, link.target) == ("link", "folder/one")
        assert (await files.stat("/1/circle", follow_links=False)).kind == "link"
        beyond = await files.stat("/1/folder/up/still", follow_links=False)
        assert (beyond.name, beyond.kind) == ("still", "folder")


@pytest.mark.parametrize(
    ("path", "offset", "length"),
    [("1/x", 0, 1), ("", 0, 1), ("/1/x", -1, 1), ("/1/x", 0, -1), ("/1/x", 0, 17 * MIB)],
)
async def test_arguments_that_cannot_be_are_named(path, offset, length):
    with pytest.raises(InvalidOptionError):
        await DiskFiles(BytesDisk(bytes(4096))).read(path, offset, length)


# ── no image makes it hang, crash or take the memory ──────────────────────────────────────────────


async def walk(files: DiskFiles, max_files: int = 60) -> None:
    """Looks at everything there is, as far as it is readable."""
    paths = ["/"]
    while paths and max_files:
        max_files -= 1
        path = paths.pop()
        try:
            for entry in (await files.list(path)).entries[:20]:
                below = f"{path.rstrip('/')}/{entry.name}"
                if entry.kind in ("folder", "volume"):
                    paths.append(below)
                elif entry.kind == "file":
                    await files.read(below, 0, 100_000)
                    await files.extents(below)
        except DiskError:
            continue


@pytest.mark.parametrize("seed", range(4))
async def test_a_damaged_image_is_an_error_and_nothing_worse(made, seed):
    """Bytes are turned where the structures are; whatever comes of it is one of our errors."""
    original = made[0].read_bytes()
    data = bytearray(original)
    chance = random.Random(f"{made[1]} {seed}")
    touched = BytesDisk(original)
    await walk(DiskFiles(touched), 15)
    for _ in range(4**seed):
        offset, length = chance.choice(touched.reads)
        data[offset + chance.randrange(length)] = chance.randrange(256)
    async with asyncio.timeout(20):
        await walk(DiskFiles(BytesDisk(data)), 15)


@given(st.binary(max_size=4096), st.sampled_from([b"NTFS    ", b"EXFAT   ", b"MSDOS5.0"]))
def test_any_first_sector_is_taken_calmly(start, name):
    data = bytearray(start.ljust(70_000, b"\0"))
    data[0:3], data[3:11], data[510:512] = b"\xeb\x3c\x90", name, b"\x55\xaa"
    asyncio.run(walk(DiskFiles(BytesDisk(data)), 5))


@given(st.binary(max_size=400))
def test_any_superblock_is_taken_calmly(block):
    data = bytearray(70_000)
    data[1024 : 1024 + len(block)] = block
    data[1024 + 56 : 1024 + 58] = b"\x53\xef"
    asyncio.run(walk(DiskFiles(BytesDisk(data)), 5))


@given(st.binary(max_size=2048))
def test_any_compressed_chunk_is_taken_calmly(data):
    with contextlib.suppress(DamagedFileSystemError):
        assert len(decompress(data, 65536)) == 65536


@pytest.fixture
def chains(tmp_path):
    """A FAT16 volume of one large file, where its table begins, and the file's first cluster."""
    path = images.blank(tmp_path / "fat", 24 * MIB)
    images.tool("mkfs.fat", "-F", "16", "-s", "2", path)
    source = tmp_path / "big.bin"
    source.write_bytes(images.BIG)
    images.tool("mcopy", "-i", path, source, "::")
    data = bytearray(path.read_bytes())
    table = struct.unpack_from("<H", data, 14)[0] * 512
    return data, table, struct.unpack_from("<H", data, data.index(b"BIG     BIN") + 26)[0]


async def test_a_chain_that_runs_in_a_circle_is_told(chains):
    data, table, first = chains
    struct.pack_into("<H", data, table + 2 * (first + 1000), first + 900)
    with pytest.raises(DamagedFileSystemError, match="circle"):
        await whole(DiskFiles(BytesDisk(data)), "/1/big.bin")


async def test_a_chain_that_steps_back_by_one_is_followed(chains):
    """dissect.fat 3.13 takes it for one that steps on, and gives other bytes."""
    data, table, first = chains
    (extent,) = await DiskFiles(BytesDisk(data)).extents("/1/big.bin")
    a, b, c = (extent.disk_offset + n * 1024 for n in range(3))
    data[a:b], data[b:c] = data[b:c], data[a:b]
    for cluster, following in ((first + 1, first), (first, first + 2)):
        struct.pack_into("<H", data, table + 2 * cluster, following)
    struct.pack_into("<H", data, data.index(b"BIG     BIN") + 26, first + 1)
    assert await whole(DiskFiles(BytesDisk(data)), "/1/big.bin") == images.BIG


# ── partitions ────────────────────────────────────────────────────────────────────────────────────

MBR = """label: dos
start=2048, size=20480, type=c
start=22528, size=43008, type=5
start=24576, size=20480, type=83
start=47104, size=8192, type=82
start=65536, size=8192, type=83
"""
GPT = """label: gpt
start=2048, size=20480, type=U, name="EFI äö"
start=22528, size=70000, type=L, name=root
"""


@pytest.fixture(scope="module")
def small_fat(tmp_path_factory):
    path = tmp_path_factory.mktemp("small") / "fat"
    images.blank(path, 10 * MIB)
    images.tool("mkfs.fat", "-n", "BOOT", path)
    source = path.with_name("hello.txt")
    source.write_text("hello\n")
    images.tool("mcopy", "-i", path, source, "::")
    return path


async def test_primary_and_logical_partitions_go_by_linux_s_numbers(tmp_path, small_fat):
    path = images.partition(tmp_path / "disk", MBR, 64 * MIB, {2048: small_fat, 24576: small_fat})
    files = DiskFiles(RawFileDisk.open(path))
    entries = (await files.list("/")).entries
    assert [(e.name, e.description, e.offset, e.size) for e in entries] == [
        ("1", "FAT16", 2048 * 512, 20480 * 512),
        ("3", "nothing but zeros where it begins", 65536 * 512, 8192 * 512),
        ("5", "FAT16", 24576 * 512, 20480 * 512),
        ("6", "nothing but zeros where it begins", 47104 * 512, 8192 * 512),
    ]
    assert await files.read("/1/HELLO.TXT", 0, 99) == b"hello\n"
    with pytest.raises(UnknownFileSystemError, match="zeros"):
        await files.list("/3")
    assert (await files.where(100)).volume is None
    assert (await files.where(70000 * 512)).volume == "3"


async def test_a_gpt_is_read_and_its_spare_copy_where_it_is_broken(tmp_path, small_fat):
    path = images.partition(tmp_path / "disk", GPT, 64 * MIB, {2048: small_fat})
    expected = [("1", "FAT16", "BOOT"), ("2", "nothing but zeros where it begins", "root")]
    assert await volumes(DiskFiles(RawFileDisk.open(path))) == expected
    with path.open("r+b") as disk:
        disk.seek(512 + 40)
        disk.write(b"\xff")
    assert await volumes(DiskFiles(RawFileDisk.open(path))) == expected


async def test_a_chain_of_logical_partitions_in_a_circle_ends(tmp_path):
    path = images.partition(tmp_path / "disk", MBR, 64 * MIB, {})
    with path.open("r+b") as disk:
        table = 22528 * 512
        disk.seek(table + 446 + 16)
        entry = bytearray(disk.read(16))
        struct.pack_into("<I", entry, 8, 0)
        disk.seek(table + 446 + 16)
        disk.write(entry)
    assert [v[0] for v in await volumes(DiskFiles(RawFileDisk.open(path)))] == ["1", "3", "5"]


async def test_a_disc_with_a_partition_table_besides_is_both(tmp_path, tree, small_fat):
    iso = images.make_iso(tmp_path / "iso", tree, "-R")
    table = "label: dos\nstart=32768, size=20480, type=ef\n"
    with iso.open("r+b") as disk:
        disk.truncate(32 * MIB)
    images.tool("sfdisk", "-q", "--no-reread", "-w", "never", iso, input=table.encode())
    with iso.open("r+b") as disk:
        disk.seek(32768 * 512)
        disk.write(small_fat.read_bytes())
    files = DiskFiles(RawFileDisk.open(iso))
    assert [v[:2] for v in await volumes(files)] == [
        ("0", "ISO 9660 (Rock Ridge)"),
        ("1", "FAT16"),
    ]
    assert await files.read("/0/hello.txt", 0, 9) == await files.read("/1/hello.txt", 0, 9)


@pytest.mark.parametrize(
    ("offset", "signature", "name"),
    [(0, b"XFSB", "XFS"), (4086, b"SWAPSPACE2", "swap"), (0, b"LUKS\xba\xbe", "LUKS")],
)
async def test_what_cannot_be_read_is_named(offset, signature, name):
    data = bytearray(1 << 20)
    data[offset : offset + len(signature)] = signature
    (entry,) = (await DiskFiles(BytesDisk(data)).list("/")).entries
    assert name in entry.description
    assert name in entry.cannot
    with pytest.raises(UnknownFileSystemError, match=name):
        await DiskFiles(BytesDisk(data)).list("/1/")


# ── over the network ──────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """An ext4 image of 4 GiB with a system's tree of folders; the file is sparse."""
    folder = tmp_path_factory.mktemp("large")
    root = folder / "tree"
    for name in ("etc", "usr/bin", "usr/lib/modules/kernel/drivers", "var/log", "home/user"):
        (root / name).mkdir(parents=True)
        for number in range(300):
            (root / name / f"file-{number:03}").write_bytes(b"x" * (number * 37 % 9000))
    return images.make_ext(folder / "disk.img", root, "ext4", size=4 << 30)


@pytest.mark.parametrize("path", ["/1/usr/bin", "/1/usr/lib/modules/kernel/drivers"])
async def test_listing_a_folder_of_a_large_image_downloads_little(large, platform, path):
    with ImageServer({"disk.img": large}) as server:
        disk = await open_disk(server.url("disk.img"), allow_remote=True, platform=platform)
        listing = await DiskFiles(disk).list(path)
        assert len([e for e in listing.entries if e.kind == "file"]) == 300
        assert all(
            e.size == int(e.name[5:]) * 37 % 9000 for e in listing.entries if e.kind == "file"
        )
        sent = sum(request.bytes_sent for request in server.requests)
        assert sent <= 2 * MIB
        assert sent <= 512 << 10  # what it takes today, and some more
        await disk.close()


async def test_looking_for_files_is_no_part_of_a_boot(large, platform):
    with ImageServer({"disk.img": large}) as server:
        disk = await open_disk(server.url("disk.img"), allow_remote=True, platform=platform)
        await disk.read(8 * MIB, 512)
        await DiskFiles(disk).list("/1/etc")
        assert len(disk.boot_profile().blocks) == 1
        await disk.close()


async def test_a_disk_that_is_written_is_looked_at_anew(tmp_path, small_fat):
    disk = BytesDisk(bytearray(small_fat.read_bytes()), read_only=False)
    files = DiskFiles(disk)
    assert [e.name for e in (await files.list("/1")).entries] == ["hello.txt"]
    entry = disk.data.index(b"HELLO   TXT")
    disk.data[entry] = 0xE5
    assert (await files.list("/1")).entries == ()
