"""A file is found by its exact name first, whatever else has nearly that name."""

from __future__ import annotations

from pathlib import Path

import pytest

from aero_browser_disk.errors import NoSuchFileError
from aero_browser_disk.file_systems import DiskFiles
from aero_browser_disk.formats.raw_file import RawFileDisk
from support import file_images as images

TWINS = ("case.txt", "CASE.TXT", "Case.txt", "cASE.TXT")
FOLDERS = ("folder", "Folder", "FOLDER")
CROWD = 400  # names around them, so that a folder's index is a tree of several nodes


def write_twins(root: Path) -> None:
    """Files and folders whose names differ in case only, each with its own name as content."""
    for name in TWINS:
        (root / name).write_text(name)
    for name in FOLDERS:
        (root / name).mkdir()
        (root / name / "file").write_text(name)


async def read(files: DiskFiles, path: str) -> str:
    return (await files.read(path, 0, 100)).decode()


async def check_twins(files: DiskFiles) -> None:
    for name in TWINS:
        assert await read(files, f"/1/{name}") == name
        assert (await files.stat(f"/1/{name}")).name == name
    for name in FOLDERS:
        assert await read(files, f"/1/{name}/file") == name


@pytest.fixture(scope="module")
def twins_on_ntfs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = images.blank(tmp_path_factory.mktemp("twins") / "ntfs", 24 << 20)
    images.tool("mkntfs", "-F", "-Q", path)
    with images.mounted(path, "ntfs-3g") as folder:
        write_twins(folder)
        crowd = folder / "crowd"
        crowd.mkdir()
        for number in range(CROWD):  # written in several spellings, so that all nodes are split
            for name in (f"name-{number:04}.txt", f"NAME-{number:04}.TXT", f"Name-{number:04}.Txt"):
                (crowd / name).write_text(name)
    return path


async def test_names_that_differ_only_in_case_are_told_apart_on_ntfs(twins_on_ntfs: Path):
    await check_twins(DiskFiles(RawFileDisk.open(twins_on_ntfs)))


async def test_they_are_where_a_folder_has_a_tree_of_names(twins_on_ntfs: Path):
    files = DiskFiles(RawFileDisk.open(twins_on_ntfs))
    for number in range(0, CROWD, 7):
        for name in (f"name-{number:04}.txt", f"NAME-{number:04}.TXT", f"Name-{number:04}.Txt"):
            assert await read(files, f"/1/crowd/{name}") == name


async def test_another_spelling_finds_one_of_them_on_ntfs(twins_on_ntfs: Path):
    files = DiskFiles(RawFileDisk.open(twins_on_ntfs))
    assert await read(files, "/1/cAsE.tXt") in TWINS
    assert await read(files, "/1/FoLdEr/FILE") in FOLDERS
    with pytest.raises(NoSuchFileError):
        await files.stat("/1/case.tx")


@pytest.mark.parametrize("options", [["-R"], ["-J", "-joliet-long"]], ids=["Rock Ridge", "Joliet"])
async def test_they_are_on_a_disc(tmp_path: Path, options: list[str]):
    (tmp_path / "tree").mkdir()
    write_twins(tmp_path / "tree")
    files = DiskFiles(
        RawFileDisk.open(images.make_iso(tmp_path / "disc", tmp_path / "tree", *options))
    )
    if options == ["-R"]:
        await check_twins(files)
    entries = [e.name for e in (await files.list("/1")).entries if e.kind == "file"]
    for name in entries:  # genisoimage may rename some of them for Joliet
        assert (await files.stat(f"/1/{name}")).name == name


async def test_case_counts_on_ext_but_for_folders_that_fold_it(tmp_path: Path):
    tree = tmp_path / "tree"
    (tree / "folded").mkdir(parents=True)
    write_twins(tree)
    (tree / "folded" / "Straße.txt").write_text("found")
    path = images.make_ext(tmp_path / "ext", tree, "ext4", "-O", "casefold")
    files = DiskFiles(RawFileDisk.open(path))
    await check_twins(files)
    for wrong in ("/1/cAsE.tXt", "/1/folded/STRASSE.TXT"):
        with pytest.raises(NoSuchFileError):
            await files.stat(wrong)
    number = images.tool("debugfs", "-R", "stat folded", path).stdout.split()[1].decode()
    images.tool("debugfs", "-w", "-R", f"set_inode_field <{number}> flags 0x40080000", path)
    files = DiskFiles(RawFileDisk.open(path))
    for name in ("Straße.txt", "STRASSE.TXT", "straße.TXT"):
        assert await read(files, f"/1/folded/{name}") == "found"
