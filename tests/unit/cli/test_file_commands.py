"""`ls`, `cat` and `cp`: the files on a disk, as they come and where they go."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from support import file_images as images

OWNER = [str(os.getuid()), str(os.getgid())]


@pytest.fixture(scope="module")
def disk(tmp_path_factory):
    """An ext4 file system with folders, a link, and a link that leads out."""
    folder = tmp_path_factory.mktemp("ext")
    tree = folder / "tree"
    (tree / "etc" / "deep").mkdir(parents=True)
    (tree / "etc" / "fstab").write_text("proc\n")
    (tree / "etc" / "deep" / "big").write_bytes(images.BIG)
    (tree / "etc" / "fstab").chmod(0o4750)
    (tree / "etc" / "deep").chmod(0o755)
    os.utime(tree / "etc" / "fstab", (1_600_000_000, 1_600_000_000))
    (tree / "etc" / "link").symlink_to("fstab")
    (tree / "out").symlink_to(folder / "outside")
    return images.make_ext(folder / "disk.img", tree, "ext4", size=8 << 20)


def test_a_listing_is_short_or_long(run, disk):
    assert run("ls", disk, "/1/etc")[1].decode().split() == ["deep/", "fstab", "link@"]
    lines = run("ls", "-l", disk, "/1/etc")[1].decode().splitlines()
    assert lines[1].split() == ["-rwsr-x---", *OWNER, "5", "2020-09-13", "12:26", "fstab"]
    assert lines[0].startswith("drwxr-xr-x ")
    assert lines[2].startswith("lrwxrwxrwx ")
    assert lines[2].endswith("link@ -> fstab")
    assert run("ls", disk, "/1/etc/fstab")[1] == b"fstab\n"
    assert run("ls", disk)[1].startswith(b"1/")


def test_several_files_are_written_in_order(run, disk, tmp_path):
    status, out, _ = run("cat", disk, "/1/etc/fstab", "/1/etc/link", "/1/etc/deep/big")
    assert (status, out) == (0, b"proc\nproc\n" + images.BIG)
    assert run("cat", disk, "/1/etc")[0] == 1
    assert run("cat", disk, "/1/etc/fstab", "--json")[0] == 2


def test_a_folder_is_copied_with_all_that_is_in_it(run, result, disk, tmp_path):
    target = tmp_path / "copy"
    told = result("cp", "-r", disk, "/1/etc", target)
    size = 5 + len(images.BIG)
    assert told == {"files": 2, "folders": 2, "links": 1, "bytes": size, "skipped": []}
    assert (target / "fstab").read_text() == "proc\n"
    assert (target / "fstab").stat().st_mtime == 1_600_000_000
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE((target / "fstab").stat().st_mode) == 0o750 & ~mask  # and no setuid
    assert stat.S_IMODE((target / "deep").stat().st_mode) == 0o755 & ~mask
    assert (target / "deep" / "big").read_bytes() == images.BIG
    assert str((target / "link").readlink()) == "fstab"
    # Into a folder that is there, by its name; and a folder only with -r.
    assert run("cp", "-r", disk, "/1/etc", "/1/etc/fstab", target)[0] == 0
    assert (target / "etc" / "deep" / "big").read_bytes() == images.BIG
    assert run("cp", disk, "/1/etc", target)[0] == 2
    assert run("cp", disk, "/1/etc/fstab", "/1/etc/link", tmp_path / "none")[0] == 2
    assert run("cp", disk, "/1/none", target)[0] == 1


def test_no_file_gives_way_to_another_that_is_being_written(run, tmp_path):
    tree = tmp_path / "tree"
    tree.mkdir()
    for name in ("a.part", "a", "b", "b.part"):
        (tree / name).write_text(name)
    disk = images.make_ext(tmp_path / "disk.img", tree, "ext4", size=8 << 20)
    assert run("cp", "-r", disk, "/1", tmp_path / "copy")[0] == 0
    for name in ("a.part", "a", "b", "b.part"):
        assert (tmp_path / "copy" / name).read_text() == name


def test_a_device_is_written_to_and_not_replaced(run, disk):
    assert run("cat", disk, "/1/etc/fstab", "-o", "/dev/null")[0] == 0
    assert Path("/dev/null").is_char_device()


def test_all_of_a_disk_is_copied(run, disk, tmp_path):
    target = tmp_path / "all"
    target.mkdir(mode=0o710)
    assert run("cp", "-r", disk, "/", target)[0] == 0
    assert stat.S_IMODE(target.stat().st_mode) == 0o710  # a folder that was there stays as it was
    assert (target / "1" / "etc" / "fstab").read_text() == "proc\n"


def test_nothing_is_written_through_a_link(run, disk, tmp_path):
    target, elsewhere = tmp_path / "copy", tmp_path / "elsewhere"
    elsewhere.mkdir()
    target.mkdir()
    (target / "etc").symlink_to(elsewhere)
    status, _, err = run("cp", "-r", disk, "/1/etc", target)
    assert status == 2
    assert "symbolic link" in err
    assert not list(elsewhere.iterdir())


@pytest.mark.parametrize("name", [b"..\0\0\0", b"a/b\0\0"])
def test_a_name_that_leads_elsewhere_writes_nothing_there(run, disk, tmp_path, name):
    """A name of the image that is a path is refused, or shown with other characters."""
    data = disk.read_bytes()
    assert data.count(b"fstab") >= 1
    hostile = tmp_path / "hostile.img"
    hostile.write_bytes(data.replace(b"fstab", name))
    (tmp_path / "in").mkdir()
    run("cp", "-r", hostile, "/1/etc", tmp_path / "in" / "copy")
    there = {path.name for path in tmp_path.iterdir()}
    assert there <= {"hostile.img", "in", "caches", "data"}
    assert {path.name for path in (tmp_path / "in").iterdir()} <= {"copy"}
