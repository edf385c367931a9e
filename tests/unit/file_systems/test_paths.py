"""Paths on a disk walk as `pathlib` walks the same files, awaited and not."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from aero_browser_disk import DiskFile, sync
from aero_browser_disk.errors import NoSuchFileError, UnreadableFileError
from aero_browser_disk.file_systems import AsyncFilePath, DiskFiles, ImageFile
from aero_browser_disk.formats.raw_file import RawFileDisk
from support import file_images as images

PATTERNS = [
    "*",
    "*.txt",
    "etc/*.conf",
    "etc/h?st[sx]",
    "**/*.conf",
    "**/deep/*",
    "etc/**/*.conf",
    "**/etc/**/*",
    "**/**/*.txt",
    "link/*",
    "*/deep/*.conf",
    "*/../a.txt",
    "etc/hosts",
    "etc/nothing",
    "missing/*",
    "a.txt/*",
    ".hidden",
    ".*",
    "circle/*",
    "[*]",
]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("paths") / "tree"
    (root / "etc" / "deep").mkdir(parents=True)
    (root / "empty").mkdir()
    for name in (
        "a.txt",
        ".hidden",
        "etc/a.conf",
        "etc/hosts",
        "etc/deep/b.conf",
        "etc/deep/c.txt",
    ):
        (root / name).write_text(f"{name}\n")
    (root / "link").symlink_to("etc")
    (root / "broken").symlink_to("nowhere")
    (root / "circle").symlink_to("circle")
    (root / "etc" / "up").symlink_to("/")  # of the volume
    return root


@pytest.fixture(scope="module")
def image(tree: Path) -> Path:
    return images.make_ext(tree.parent / "image", tree, "ext4")


@pytest.fixture
async def root(image):
    async with RawFileDisk.open(image) as disk:
        yield DiskFiles(disk).path("/1")


@pytest.fixture
def plain_root(image, sync_session):
    """The same for code that does not await."""
    with sync.open_disk(path=image) as disk:
        yield disk.files.path("/1")


def expected(tree: Path, pattern: str) -> set[str]:
    """What pathlib finds; of the machine's own, `etc/up` leads to somewhere else."""
    found = {path.relative_to(tree).as_posix() for path in tree.glob(pattern)}
    return {path for path in found if not path.startswith("etc/up/")}


def relative(paths: list[object]) -> list[str]:
    return [str(path).removeprefix("/1/") for path in paths if not is_of_mkfs(str(path))]


def is_of_mkfs(path: str) -> bool:
    return path.startswith("/1/lost+found")


@pytest.mark.parametrize("pattern", PATTERNS)
async def test_glob_finds_what_pathlib_finds(root, tree, pattern):
    found = relative([path async for path in root.glob(pattern)])
    assert set(found) == expected(tree, pattern)
    assert len(found) == len(set(found))


@pytest.mark.parametrize("pattern", ["**/*.conf", "link/*", "*"])
def test_glob_without_awaiting_finds_the_same(plain_root, tree, pattern):
    assert set(relative(list(plain_root.glob(pattern)))) == expected(tree, pattern)


async def test_two_stars_at_the_end_are_folders_and_files(root):
    found = relative([path async for path in root.glob("etc/**")])
    inside = ["a.conf", "hosts", "up", "deep", "deep/b.conf", "deep/c.txt"]
    assert sorted(found) == sorted(["etc", *(f"etc/{name}" for name in inside)])


async def test_a_pattern_that_is_none_says_so(root):
    for pattern in ("", "/etc/*"):
        with pytest.raises(ValueError, match="not a relative pattern"):
            await anext(root.glob(pattern))


async def test_all_that_is_below_is_walked(root, tree):
    found = {
        str(folder).removeprefix("/1").lstrip("/"): (set(folders), set(files))
        async for folder, folders, files in root.walk()
    }
    walked = {
        folder.removeprefix(str(tree)).lstrip("/"): (set(folders), set(files))
        for folder, folders, files in os.walk(tree)
    }
    links = {"link", "up"}  # os.walk counts links to folders as folders
    for folder, (folders, files) in walked.items():
        expected_folders = folders - links
        ours_folders, ours_files = found[folder]
        assert ours_folders - {"lost+found"} == expected_folders
        assert ours_files == files | (folders & links)


def test_what_is_taken_out_is_not_walked(plain_root):
    seen = []
    for folder, folders, _ in plain_root.walk():
        seen.append(folder.name)
        folders[:] = [name for name in folders if name != "deep"]
    assert "etc" in seen
    assert "deep" not in seen


async def test_a_path_says_what_it_leads_to(root):
    assert await (root / "etc" / "hosts").is_file()
    assert await (root / "link").is_dir()
    assert await (root / "link").is_symlink()
    assert not await (root / "etc").is_symlink()
    assert str(await (root / "link").readlink()) == "etc"
    assert str(await (root / "etc" / "up" / "link" / "hosts").resolve()) == "/1/etc/hosts"
    assert str(await (root / "..").resolve()) == "/1"
    for name in ("broken", "circle", "nothing", "a.txt/below"):
        assert not await (root / name).exists()
        assert not await (root / name).is_file()
    for name in ("broken", "circle"):
        assert await (root / name).exists(follow_symlinks=False)
        assert (await (root / name).lstat()).kind == "link"
    with pytest.raises(UnreadableFileError, match="circle"):
        await (root / "circle").stat()
    with pytest.raises(UnreadableFileError, match="not a symbolic link"):
        await (root / "etc").readlink()
    with pytest.raises(NoSuchFileError):
        await (root / "nothing").stat()
    with pytest.raises(UnreadableFileError, match="not a folder"):
        await anext((root / "a.txt").iterdir())


async def test_files_are_opened_and_read_by_path(root):
    hosts = root / "etc" / "hosts"
    assert await hosts.read_text() == "etc/hosts\n"
    assert await hosts.read_bytes() == b"etc/hosts\n"
    async with hosts.open() as file:
        assert await file.read(3) == b"etc"
    assert {path.name async for path in root.iterdir()} >= {"etc", "link", ".hidden"}
    top = root.parent
    assert [str(path) async for path in top.iterdir()] == ["/1"]
    assert [str(path) async for path in top.glob("*/etc/hosts")] == ["/1/etc/hosts"]


def test_paths_compute_as_pathlib_does(image):
    root = AsyncFilePath(None, "//1")  # type: ignore[arg-type]
    path = root / "etc" / "a.tar.gz"
    assert str(path) == "/1/etc/a.tar.gz"
    assert (path.name, path.stem, path.suffix) == ("a.tar.gz", "a.tar", ".gz")
    assert path.suffixes == [".tar", ".gz"]
    assert path.parts == ("/", "1", "etc", "a.tar.gz")
    assert [str(above) for above in path.parents] == ["/1/etc", "/1", "/"]
    assert str(path.with_suffix(".xz")) == "/1/etc/a.tar.xz"
    assert str(path.with_name("b")) == "/1/etc/b"
    assert str(path.relative_to(root)) == "etc/a.tar.gz"
    assert path.is_relative_to("/1/etc")
    assert path.match("*.gz")
    assert str(root / "/2") == "/2"
    assert root.joinpath("x", "y") == root / "x/y"
    assert len({root / "x", root / "x"}) == 1
    assert sorted([root / "b", root / "a"]) == [root / "a", root / "b"]
    with pytest.raises(TypeError, match=r"use open\(\)"):
        os.fspath(path)


def test_text_and_bytes_without_awaiting(plain_root):
    hosts = plain_root / "etc" / "hosts"
    with hosts.open("r") as text:
        assert text.readlines() == ["etc/hosts\n"]
    with hosts.open("rb", buffering=1 << 16) as file:
        assert file.read() == b"etc/hosts\n"
    with pytest.raises(io.UnsupportedOperation):
        hosts.open("a")
    assert min(path.name for path in plain_root.iterdir()) == ".hidden"
    assert plain_root.exists()
    assert (plain_root / "link").resolve() == plain_root / "etc"


async def test_a_volume_that_cannot_be_read_is_passed_over(tmp_path, image):
    script = "label: dos\nstart=2048, size=65536, type=83\nstart=67584, size=2048, type=82\n"
    disk_file = images.partition(tmp_path / "disk", script, 36 << 20, {2048: image})
    async with RawFileDisk.open(disk_file) as disk:
        top = DiskFiles(disk).path()
        assert [str(path) async for path in top.glob("*/etc/hosts")] == ["/1/etc/hosts"]
        assert "/1/etc/hosts" in [str(path) async for path in top.rglob("hosts")]
        assert [folders async for folder, folders, _ in top.walk() if str(folder) == "/"] == [["1"]]


# ── open files ────────────────────────────────────────────────────────────────────────────────────


async def test_lines_are_read_by_code_that_awaits(root, tmp_path):
    tree = tmp_path / "lines"
    tree.mkdir()
    text = b"".join(b"%d\n" % number * (number % 50) for number in range(20_000)) + b"end"
    (tree / "lines").write_bytes(text)
    image = images.make_ext(tmp_path / "image", tree, "ext4", size=64 << 20)
    async with (
        RawFileDisk.open(image) as disk,
        await DiskFiles(disk).open("/1/lines") as file,  # awaited before it is entered
    ):
        assert [line async for line in file] == text.splitlines(keepends=True)
        file.seek(0)
        assert await file.readline(3) == io.BytesIO(text).readline(3)
        target = bytearray(10)
        file.seek(-3, io.SEEK_END)
        assert await file.readinto(target) == 3
        assert target[:3] == b"end"
        assert await file.readline() == b""
    with pytest.raises(ValueError, match="closed file"):
        file.seek(0)


def test_a_file_cut_short_while_it_is_open_ends_there(tmp_path, plain_root):
    long, short = tmp_path / "long", tmp_path / "short"
    for folder, size in ((long, 300_000), (short, 200_000)):
        folder.mkdir()
        (folder / "file").write_bytes(b"x" * size)
    before = images.make_fat(tmp_path / "before", long, 12)
    after = images.make_fat(tmp_path / "after", short, 12)
    with sync.open_library() as library:
        library.create("work", before.stat().st_size)
    with sync.open_disk(image="work") as disk:
        disk.write(0, before.read_bytes())
        with disk.files.open("/1/file") as file:
            awaited = sync.run(lambda: disk.files.asynchronous.open("/1/file"))
            disk.write(0, after.read_bytes())
            assert len(file.read()) == 200_000
            assert len(sync.run(awaited.read)) == 200_000


def test_what_is_left_is_read_in_few_large_reads(tmp_path, plain_root):
    tree = tmp_path / "big"
    tree.mkdir()
    (tree / "big").write_bytes(images.BIG)
    image = images.make_ext(tmp_path / "image", tree, "ext4")
    calls = []

    def counted(call):
        calls.append(call)
        return sync.run(lambda: call)

    with sync.open_disk(path=image) as disk:
        raw = ImageFile(disk.files.asynchronous, "/1/big", len(images.BIG), counted)
        with io.BufferedReader(raw, 65536) as file:
            assert file.read(10) == images.BIG[:10]
            assert file.read() == images.BIG[10:]
        assert len(calls) < 8
        del calls[:]
        with DiskFile(disk._disk, wait=counted) as whole:
            assert whole.read() == image.read_bytes()
        assert len(calls) < 40
