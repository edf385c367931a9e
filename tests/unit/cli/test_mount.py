"""`mount`: a disk's files to the programs of this computer, read-only, whatever its server does.

Where FUSE is not to be had the tests with `mount` are skipped; those of the operations are not.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from aero_browser_disk import sync
from aero_browser_disk.cli.mounted_disk import DISK_FILE, MountedDisk, inside_volume
from aero_browser_disk.testing.behaviour import Behaviour
from aero_browser_disk.testing.image_server import ImageServer
from support import file_images as images

COMMAND = [sys.executable, "-m", "aero_browser_disk.cli.main"]


@pytest.fixture(scope="module")
def ext(tmp_path_factory) -> Path:
    """An ext4 volume with links in it, some of which lead out of it."""
    folder = tmp_path_factory.mktemp("ext")
    tree = images.write_tree(folder / "tree")
    (tree / "absolute").symlink_to("/folder/one")
    (tree / "folder" / "escape").symlink_to("../../../../folder/one")
    (tree / "dangling").symlink_to("nowhere")
    os.mkfifo(tree / "pipe")
    (tree / "hello.txt").chmod(0o640)
    return images.make_ext(folder / "disk.img", tree, "ext4")


@dataclass
class Mounted:
    folder: Path
    process: subprocess.Popen
    errors: str = ""
    """What it wrote on standard error, once it has ended."""


@pytest.fixture
def mount(cache, tmp_path):
    """Mounts a disk in a folder, and unmounts it by Ctrl+C."""
    reason = why_not()
    if reason:
        pytest.skip(reason)

    @contextlib.contextmanager
    def mounts(*arguments: str | Path) -> Iterator[Mounted]:
        folder = tmp_path / "mount"
        folder.mkdir()
        command = [*COMMAND, "mount", *map(str, arguments), str(folder)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        with subprocess.Popen(command, text=True, **pipes) as process:
            mounted = Mounted(folder, process)
            try:
                line = process.stdout.readline()
                assert "mounted" in line, process.stderr.read()
                yield mounted
            finally:
                process.send_signal(signal.SIGINT)
                try:
                    process.wait(60)
                    mounted.errors = process.stderr.read()
                finally:
                    process.kill()
                    subprocess.run(["fusermount3", "-u", "-z", folder], capture_output=True)
        assert not os.path.ismount(folder)

    return mounts


def why_not() -> str | None:
    """Why nothing can be mounted here."""
    try:
        import mfusepy  # noqa: F401
    except (ImportError, OSError) as error:
        return f"no mfusepy or no libfuse: {error}"
    if shutil.which("fusermount3") is None:
        return "fusermount3 is missing"
    try:
        os.close(os.open("/dev/fuse", os.O_RDWR))
    except OSError as error:
        return f"/dev/fuse cannot be opened: {error}"
    return None


def output_of(*command: str | Path) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


# ── mounted ───────────────────────────────────────────────────────────────────────────────────────


def test_ls_and_sha256sum_see_a_streamed_image(mount, ext):
    with ImageServer({"disk.img": ext}) as server:
        with mount(server.url("disk.img")) as mounted:
            assert output_of("ls", mounted.folder).split() == ["1", DISK_FILE]
            shown = output_of("ls", "-R", mounted.folder / "1")
            assert all(Path(name).name in shown for name in images.FILES)
            assert "-rw-r----- 1 " in output_of("ls", "-l", mounted.folder / "1" / "hello.txt")
            files = [mounted.folder / "1" / name for name in ("big.bin", "hello.txt", "folder/one")]
            digests = [line.split()[0] for line in output_of("sha256sum", *files).splitlines()]
            contents = [images.BIG, b"hello\n", images.FILES["folder/one"]]
            assert digests == [hashlib.sha256(data).hexdigest() for data in contents]
            whole = output_of("sha256sum", mounted.folder / DISK_FILE).split()[0]
            assert whole == hashlib.sha256(ext.read_bytes()).hexdigest()
            for link in ("absolute", "folder/escape"):
                assert (mounted.folder / "1" / link).read_bytes() == images.FILES["folder/one"]
            with pytest.raises(OSError, match="Read-only file system"):
                (mounted.folder / "1" / "new").touch()
        assert mounted.process.returncode == 0
        assert mounted.errors == ""
    assert not list(mounted.folder.iterdir())


def test_a_fault_of_the_server_is_an_input_output_error(mount, ext):
    with ImageServer({"disk.img": ext}) as server:
        with mount(server.url("disk.img")) as mounted:
            server.behaviour = Behaviour(status=404)
            with pytest.raises(OSError, match=os.strerror(errno.EIO)):
                (mounted.folder / "1" / "big.bin").read_bytes()
            server.behaviour = Behaviour()
            assert (mounted.folder / "1" / "big.bin").read_bytes() == images.BIG
        assert mounted.process.returncode == 0
        assert "404" in mounted.errors


def test_whoever_has_a_file_open_keeps_it_until_closed(mount, ext):
    with mount(ext) as mounted:
        with (mounted.folder / "1" / "big.bin").open("rb") as file:
            mounted.process.send_signal(signal.SIGTERM)
            assert "files are open still" in mounted.process.stderr.readline()
            assert file.read() == images.BIG
        assert mounted.process.wait() == 0


def test_unmounting_it_elsewhere_ends_the_command(mount, ext):
    with mount(ext, "--json") as mounted:
        output_of("fusermount3", "-u", mounted.folder)
        assert mounted.process.wait() == 0


def test_an_overlay_is_mounted_with_what_was_written(run, mount, ext):
    assert run("overlay", "create", ext, "mine")[0] == 0
    with mount(ext, "--overlay", "mine") as mounted:
        assert (mounted.folder / "1" / "hello.txt").read_bytes() == b"hello\n"


def test_only_an_empty_folder_is_mounted_on(run, mount, ext, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    for folder in ("none", "full"):
        assert run("mount", ext, tmp_path / folder)[0] == 2


@pytest.mark.parametrize(
    ("hidden", "advice"), [("", "aero-browser-disk[fuse]"), ("raise OSError", "install fuse3")]
)
def test_what_is_missing_is_said(ext, tmp_path, hidden, advice):
    module = tmp_path / "mfusepy.py"
    module.write_text(hidden or "raise ImportError")
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [*COMMAND, "mount", str(ext), str(tmp_path)]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}
    )
    assert done.returncode == 1
    assert advice in done.stderr
    assert "Traceback" not in done.stderr


# ── the operations ────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def mounted(ext) -> Iterator[tuple[MountedDisk, list[str]]]:
    warnings: list[str] = []
    with sync.open_disk(path=ext) as disk:
        yield (
            MountedDisk(
                disk._disk, ["1"], lambda work: sync.run(lambda: work), warn=warnings.append
            ),
            warnings,
        )


def test_every_name_has_attributes_and_every_file_its_bytes(mounted, ext):
    disk, warnings = mounted
    assert list(disk.readdir("/", 0)) == [".", "..", DISK_FILE, "1"]
    names = [name for name in disk.readdir("/1", 0) if name not in (".", "..")]
    kinds = {name: stat.S_IFMT(disk.getattr(f"/1/{name}")["st_mode"]) for name in names}
    assert kinds["folder"] == stat.S_IFDIR
    assert kinds["absolute"] == kinds["dangling"] == stat.S_IFLNK
    assert kinds["hello.txt"] == stat.S_IFREG
    assert kinds["pipe"] == stat.S_IFIFO
    found = disk.getattr("/1/hello.txt")
    assert (found["st_size"], found["st_mtime"]) == (6, images.EPOCH * 10**9)
    assert found["st_mode"] == stat.S_IFREG | 0o640
    assert (found["st_uid"], found["st_gid"]) == (os.getuid(), os.getgid())
    assert disk.open("/1/hello.txt", os.O_RDONLY) == 0
    assert disk.read("/1/hello.txt", 100, 2, 0) == b"llo\n"
    assert disk.read(f"/{DISK_FILE}", 4096, ext.stat().st_size - 512, 0) == ext.read_bytes()[-512:]
    assert disk.read(f"/{DISK_FILE}", 4096, 1 << 60, 0) == b""
    link = disk.getattr("/1/absolute")
    assert link["st_size"] == len(disk.readlink("/1/absolute")) == len("folder/one")
    assert disk.statfs("/")["f_blocks"] * 512 == ext.stat().st_size
    assert warnings == []


@pytest.mark.parametrize("path", ["/2", "/nothing", "/1/nothing", "/1/hello.txt/below"])
def test_what_is_not_there_has_no_entry(mounted, path):
    disk, warnings = mounted
    with pytest.raises(FileNotFoundError):
        disk.getattr(path)
    assert warnings == []


def test_a_failure_has_a_number_and_a_reason(mounted):
    disk, warnings = mounted
    with pytest.raises(OSError, match=os.strerror(errno.ENAMETOOLONG)):
        disk.getattr("/1" + "/x" * 300)
    with pytest.raises(OSError, match=os.strerror(errno.ENOTSUP)):
        list(disk.readdir("/1/hello.txt", 0))
    sync.run(disk._disk.close)
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        disk.read("/1/big.bin", 100, 0, 0)
    assert len(warnings) == 2


@pytest.mark.parametrize(
    ("path", "target", "inside"),
    [
        ("/1/a", "b", "b"),
        ("/1/a", "/b/c", "b/c"),
        ("/1/a/b/c", "/d", "../../d"),
        ("/1/a/b", "c", "c"),
        ("/1/a/b", "../c", "../c"),
        ("/1/a/b", "../../../etc/passwd", "../etc/passwd"),
        ("/1/a", "../..", "."),
        ("/1/a/b", "c/../../../../x/./y//z", "../x/y/z"),
        ("/1/a/b", "C:/Users", "../Users"),
        ("/1/a", "/", "."),
    ],
)
def test_a_link_leads_nowhere_outside_its_volume(path, target, inside):
    assert inside_volume(path, target) == inside
