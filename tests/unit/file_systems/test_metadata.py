"""Times, modes and owners are what other readers of the same image say."""

from __future__ import annotations

import os
import re
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest

from aero_browser_disk.disk import DiskInfo
from aero_browser_disk.errors import NoSuchFileError, UnreadableFileError
from aero_browser_disk.file_systems import DiskFiles, Entry
from aero_browser_disk.file_systems.fat import dos_time
from aero_browser_disk.formats.raw_file import RawFileDisk
from support import file_images as images

MADE = 1_700_000_001.25


async def entries(image: Path, folder: str = "/1") -> tuple[dict[str, Entry], dict[str, Entry]]:
    """By name what a listing says and what `stat` says, of links themselves."""
    async with RawFileDisk.open(image) as disk:
        files = DiskFiles(disk)
        listed = {entry.name: entry for entry in (await files.list(folder)).entries}
        looked_at = {
            name: await files.stat(f"{folder}/{name}", follow_links=False) for name in listed
        }
        return listed, looked_at


def near(found: float | None, expected: float | None, within: float = 1e-6) -> bool:
    if found is None or expected is None:
        return found is expected
    return abs(found - expected) <= within


# ── ext: against debugfs ──────────────────────────────────────────────────────────────────────────

DEBUGFS_STAT = re.compile(
    r"Type: (?P<type>.*?) +Mode: +(?P<mode>\d+).*?"
    r"User: +(?P<uid>\d+) +Group: +(?P<gid>\d+)",
    re.DOTALL,
)
TYPES = {
    "regular": stat.S_IFREG,
    "directory": stat.S_IFDIR,
    "symlink": stat.S_IFLNK,
    "FIFO": stat.S_IFIFO,
    "character special": stat.S_IFCHR,
}
FIELDS = {"modified": "mtime", "accessed": "atime", "changed": "ctime", "created": "crtime"}


def debugfs_time(text: str, name: str) -> float | None:
    found = re.search(rf"\b{name}: 0x([0-9a-f]+)(?::([0-9a-f]+))? --", text)
    if found is None:
        return None
    seconds, extra = int(found[1], 16), int(found[2] or "0", 16)
    signed = seconds - (1 << 32) * (seconds >> 31)
    return signed + ((extra & 3) << 32) + (extra >> 2) / 1e9


@pytest.fixture(scope="module", params=["256", "128"])
def ext(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("ext")
    tree = images.write_tree(folder / "tree")
    (tree / "link").symlink_to("hello.txt")
    image = images.make_ext(folder / "image", tree, "ext4", "-I", request.param)
    changes = [
        "mknod pipe p",
        "mknod null c 1 3",
        "sif hello.txt mode 0104751",
        "sif hello.txt uid 70000",
        "sif hello.txt gid 131072",
        "sif folder mode 0041777",
        "sif empty mtime @0xF0000000",
    ]
    if request.param == "256":
        changes += [
            "sif empty mtime_extra 0",  # before 1970 with this, and without it
            "sif hello.txt mtime_extra 0x77359405",  # after 2038, with nanoseconds
            "sif hello.txt crtime @0x60000000",
        ]
    script = folder / "script"
    script.write_text("\n".join(changes))
    images.tool("debugfs", "-w", "-f", script, image)
    return image


async def test_ext_says_what_debugfs_says(ext):
    listed, looked_at = await entries(ext)
    assert {"hello.txt", "folder", "link", "pipe", "null", "empty"} <= set(listed)
    for name in sorted(listed):
        said = images.tool("debugfs", "-R", f'stat "{name}"', ext).stdout.decode()
        found = DEBUGFS_STAT.search(said)
        assert found is not None, said
        assert listed[name] == looked_at[name]
        entry = listed[name]
        assert entry.mode == TYPES[found["type"]] | int(found["mode"], 8), name
        assert (entry.uid, entry.gid) == (int(found["uid"]), int(found["gid"])), name
        for ours, theirs in FIELDS.items():
            assert near(getattr(entry, ours), debugfs_time(said, theirs)), (name, ours)
    assert (listed["hello.txt"].uid, listed["hello.txt"].gid) == (70000, 131072)
    assert (listed["empty"].modified or 0) < 0


async def test_the_root_of_an_ext_volume_has_its_own(ext):
    async with RawFileDisk.open(ext) as disk:
        files = DiskFiles(disk)
        assert (await files.stat("/1")).mode == stat.S_IFDIR | 0o755
        said = images.tool("debugfs", "-R", "stat /", ext).stdout.decode()
        assert (await files.stat("/1")).modified == debugfs_time(said, "mtime")
        assert (await files.list("/")).entries == (await files.stat("/1"),)
        assert stat.S_ISDIR((await files.stat("/")).mode or 0)


async def test_a_link_is_looked_at_itself_or_followed(tmp_path):
    tree = images.write_tree(tmp_path / "tree")
    (tree / "link").symlink_to("folder")
    (tree / "broken").symlink_to("nowhere")
    (tree / "circle").symlink_to("other circle")
    (tree / "other circle").symlink_to("circle")
    image = images.make_ext(tmp_path / "image", tree, "ext4")
    async with RawFileDisk.open(image) as disk:
        files = DiskFiles(disk)
        assert (await files.stat("/1/link")).kind == "folder"
        for name, target in (("link", "folder"), ("broken", "nowhere"), ("circle", "other circle")):
            entry = await files.stat(f"/1/{name}", follow_links=False)
            assert (entry.kind, entry.target) == ("link", target)
        one = await files.stat("/1/link/one", follow_links=False)  # only the last stays
        assert (one.kind, one.size) == ("file", 700)
        with pytest.raises(NoSuchFileError):
            await files.stat("/1/broken")
        with pytest.raises(UnreadableFileError, match="circle"):
            await files.stat("/1/circle")


# ── discs: against isoinfo, and the files that they were made of ──────────────────────────────────


@pytest.fixture
def odd_tree(tmp_path):
    """Files of which no two have the same mode, and times that differ."""
    tree = tmp_path / "tree"
    (tree / "deep" / "er").mkdir(parents=True)
    for number, mode in enumerate((0o600, 0o755, 0o444, 0o4711)):
        path = tree / f"file{number}"
        path.write_bytes(b"x" * number)
        path.chmod(mode)
        if os.geteuid() == 0:
            os.chown(path, 1000 + number, 70_000 + number)
            path.chmod(mode)  # changing the owner takes the set-user bit away
        os.utime(path, (images.EPOCH + 86_400 * number, images.EPOCH + 3_600 * number))
    (tree / "deep").chmod(0o1770)
    (tree / "link").symlink_to("file1")
    return tree


ISOINFO = re.compile(r"^(\S{10}) +\d+ +(\d+) +(\d+) .*\] +(.+?) *$", re.MULTILINE)


async def test_rock_ridge_says_what_isoinfo_and_the_files_say(odd_tree, tmp_path):
    image = images.make_iso(tmp_path / "image", odd_tree, "-R")
    listed, looked_at = await entries(image)
    assert listed == looked_at
    said = images.tool("isoinfo", "-R", "-l", "-i", image).stdout.decode()
    said = said.split("Directory listing of")[1]  # the root's
    lines = {
        name.split(" -> ")[0]: [letters, int(uid, 8), int(gid, 8)]
        for letters, uid, gid, name in ISOINFO.findall(said)
    }
    for name, entry in listed.items():
        letters = stat.filemode((entry.mode or 0) & ~0o7000)  # isoinfo does not show those bits
        assert [letters, entry.uid, entry.gid] == lines[name]
        of_file = (odd_tree / name).lstat()
        assert entry.mode == of_file.st_mode
        assert near(entry.modified, int(of_file.st_mtime))
        if entry.kind == "file":
            # What it was when the disc was made, which read the file.
            assert entry.accessed == images.EPOCH + 86_400 * int(name[-1])
            assert near(entry.changed, int(of_file.st_ctime))


async def test_a_folder_moved_for_being_too_deep_has_its_own_mode(tmp_path):
    deep = tmp_path / "tree" / "/".join(f"d{n}" for n in range(9))
    (deep / "last").mkdir(parents=True)
    deep.chmod(0o750)
    image = images.make_iso(tmp_path / "image", tmp_path / "tree", "-R")
    async with RawFileDisk.open(image) as disk:
        path = "/1/" + "/".join(f"d{n}" for n in range(9))
        assert (await DiskFiles(disk).stat(path)).mode == stat.S_IFDIR | 0o750


async def test_a_disc_without_rock_ridge_is_readable_by_all(odd_tree, tmp_path):
    image = images.make_iso(tmp_path / "image", odd_tree, "-J")
    listed, _ = await entries(image)
    assert listed["file0"].mode == stat.S_IFREG | 0o444
    assert listed["deep"].mode == stat.S_IFDIR | 0o555
    assert listed["file1"].modified == images.EPOCH + 3_600
    assert (listed["file1"].uid, listed["file1"].accessed) == (None, None)


# ── FAT: against mtools ───────────────────────────────────────────────────────────────────────────


async def test_fat_says_what_mtools_say(tmp_path):
    tree = images.write_tree(tmp_path / "tree")
    image = images.make_fat(tmp_path / "image", tree, 16)
    images.tool("mattrib", "-i", image, "+r", "::hello.txt")
    images.tool("mattrib", "-i", image, "+r", "::folder")
    listed, looked_at = await entries(image)
    assert listed == looked_at
    assert listed["hello.txt"].mode == stat.S_IFREG | 0o444
    assert listed["empty"].mode == stat.S_IFREG | 0o644
    assert listed["folder"].mode == stat.S_IFDIR | 0o755  # as Linux has it
    said = images.tool("mdir", "-i", image, "::hello.txt").stdout.decode()
    day, time = re.findall(r"\b(\d{4}-\d\d-\d\d) +(\d+:\d\d)\b", said)[0]
    made = datetime.fromtimestamp(listed["hello.txt"].modified or 0, UTC)
    assert (f"{made:%Y-%m-%d}", f"{made.hour}:{made:%M}") == (day, time)
    assert listed["hello.txt"].modified == images.EPOCH
    assert listed["hello.txt"].created == images.EPOCH
    accessed = listed["hello.txt"].accessed
    assert accessed is not None
    assert accessed % 86_400 == 0  # FAT has the day only


def test_dos_times_have_hundredths_if_they_have_any():
    noon = dos_time(0x2A21, 0x6000)  # 1 January 2001, 12:00
    assert noon == datetime(2001, 1, 1, 12, tzinfo=UTC).timestamp()
    assert dos_time(0x2A21, 0x6000, 199) == noon + 1.99
    assert dos_time(0, 0, 0) is None


# ── NTFS and exFAT: against ntfsinfo and what mounts them ─────────────────────────────────────────


async def test_ntfs_says_what_ntfsinfo_says(tmp_path):
    image = images.blank(tmp_path / "image", 16 << 20)
    images.tool("mkntfs", "-F", "-Q", image)
    with images.mounted(image, "ntfs-3g") as folder:
        (folder / "sub").mkdir()
        for name in ("plain", "locked"):
            (folder / name).write_bytes(b"x")
            os.utime(folder / name, (MADE + 1000, MADE))
        os.setxattr(folder / "locked", "system.ntfs_attrib_be", bytes.fromhex("00000001"))
    listed, looked_at = await entries(image)
    assert listed["locked"].mode == looked_at["locked"].mode == stat.S_IFREG | 0o444
    assert looked_at["plain"].mode == stat.S_IFREG | 0o644
    assert looked_at["sub"].mode == stat.S_IFDIR | 0o755
    assert near(looked_at["plain"].modified, MADE)
    for name in ("plain", "locked", "sub"):
        said = images.tool("ntfsinfo", "-F", f"/{name}", image).stdout.decode()
        said = said.split("$STANDARD_INFORMATION")[1].split("Dumping attribute")[0]
        for ours, theirs in {
            "created": "File Creation Time",
            "modified": "File Altered Time",
            "changed": "MFT Changed Time",
            "accessed": "Last Accessed Time",
        }.items():
            text = re.search(rf"{theirs}:\s+(.*\d)(?: UTC)?\s*$", said, re.MULTILINE)
            assert text is not None, said
            time = datetime.strptime(text[1], "%a %b %d %H:%M:%S %Y").replace(tzinfo=UTC)
            ours_of = getattr(looked_at[name], ours)
            assert ours_of is not None
            assert int(ours_of) == time.timestamp(), (name, ours)


async def test_exfat_says_what_a_mounted_one_says(tmp_path):
    image = images.blank(tmp_path / "image", 16 << 20)
    images.tool("mkfs.exfat", image)
    with images.mounted(image, "mount", "-t", "exfat-fuse", "-o", "loop") as folder:
        (folder / "sub").mkdir()
        (folder / "plain").write_bytes(b"x")
        os.utime(folder / "plain", (images.EPOCH + 1000, images.EPOCH + 4))
        mounted = {path.name: path.stat() for path in folder.iterdir()}
    listed, looked_at = await entries(image)
    assert listed == looked_at
    assert set(listed) == set(mounted)
    for name, entry in listed.items():
        assert entry.modified == mounted[name].st_mtime
        assert near(entry.accessed, mounted[name].st_atime, 2)
        assert near(entry.created, datetime.now(UTC).timestamp(), 3600)
    assert listed["plain"].mode == stat.S_IFREG | 0o644
    assert listed["sub"].mode == stat.S_IFDIR | 0o755


async def test_what_a_disk_says_of_itself_at_its_top():
    class Nothing:
        info = DiskInfo(1 << 20, "v", 512, read_only=True)

        async def read(self, offset: int, length: int) -> bytes:
            return bytes(length)

    top = await DiskFiles(Nothing()).stat("/")
    assert top.mode == stat.S_IFDIR | 0o555
