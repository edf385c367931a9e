"""Disks without asyncio: the same bytes and errors, from any thread, with nothing left running."""

from __future__ import annotations

import contextlib
import csv
import gc
import io
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from aero_browser_disk import errors, open_disk, sync
from aero_browser_disk.formats.raw_file import RawFileDisk
from aero_browser_disk.library.library import Library
from aero_browser_disk.platform.background_loop import BackgroundLoop
from aero_browser_disk.testing.image_server import ImageServer
from support import file_images
from support.samples import IMAGE

MIB = 1 << 20


@pytest.fixture
def home(sync_session):
    """Where this process keeps blocks and images, of this test alone."""
    return sync_session


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """An ext4 with files."""
    folder = tmp_path_factory.mktemp("files")
    root = folder / "root"
    (root / "data" / "deep").mkdir(parents=True)
    (root / "data" / "table.csv").write_text("name,size\nboot,3\nroot,4\n")
    (root / "data" / "deep" / "notes.txt").write_text("grüße\n", encoding="utf-8")
    (root / "data" / "big.bin").write_bytes(IMAGE.read(0, MIB))
    (root / "link").symlink_to("data/table.csv")
    return file_images.make_ext(folder / "ext4.img", root, "ext4")


@contextlib.contextmanager
def files_of(image):
    with (
        ImageServer({"files.img": image}) as server,
        sync.open_disk(server.url("files.img"), allow_remote=True) as disk,
    ):
        yield disk.files


def test_a_disk_is_read_from_a_script(home, server):
    with sync.open_disk(server.url("disk.img"), allow_remote=True) as disk:
        assert disk.read(1000, 5000) == IMAGE.read(1000, 5000)
        assert disk.info.size == IMAGE.size
        assert disk.stats().bytes_read == 5000
    with pytest.raises(errors.DiskClosedError):
        disk.read(0, 1)


def test_threads_read_one_disk_at_once(home, server):
    offsets = range(0, IMAGE.size - 8192, 97_003)
    with (
        sync.open_disk(server.url("disk.img"), allow_remote=True) as disk,
        ThreadPoolExecutor(8) as threads,
    ):
        read = list(threads.map(lambda offset: disk.read(offset, 8192), offsets))
    assert read == [IMAGE.read(offset, 8192) for offset in offsets]


def test_errors_are_those_of_the_disk(home, server):
    with pytest.raises(errors.RemoteImagesDisabledError):
        sync.open_disk(server.url("disk.img"))
    with sync.open_disk(server.url("disk.img"), allow_remote=True) as disk:
        with pytest.raises(errors.OutOfRangeError):
            disk.read(IMAGE.size, 1)
        with pytest.raises(errors.ReadOnlyError):
            disk.write(0, b"x")


def test_what_is_written_lasts(home):
    with sync.open_library() as library:
        library.create("work", MIB)
        with library.open_image("work") as disk:
            disk.write(4096, b"kept")
            with disk.open() as file:
                file.seek(8192)
                file.write(b"by file")
        with sync.open_disk(image="work") as disk:
            assert disk.read(4096, 4) == b"kept"
            assert disk.read(8192, 7) == b"by file"
        assert library.export_to_path("work", home / "out.img") == MIB
        library.remove("work")
        assert library.list() == []
    assert (home / "out.img").read_bytes()[4096:4100] == b"kept"


def test_files_of_an_image_are_files(home, tree):
    with files_of(tree) as files:
        with files.open("/1/data/table.csv") as file:
            rows = list(csv.DictReader(io.TextIOWrapper(file)))
        assert rows == [{"name": "boot", "size": "3"}, {"name": "root", "size": "4"}]
        with files.open("/1/data/big.bin") as file:
            assert file.seek(-5000, io.SEEK_END) == MIB - 5000
            assert file.read() == IMAGE.read(MIB - 5000, 5000)
            file.seek(77)
            assert file.read(9) == IMAGE.read(77, 9)
        with pytest.raises(errors.NoSuchFileError):
            files.open("/1/missing")
        with pytest.raises(errors.UnreadableFileError):
            files.open("/1/data")


def test_paths_walk_as_pathlib_does(home, tree):
    with files_of(tree) as files:
        root = files.path("/1")
        assert {path.name for path in root.iterdir()} >= {"data", "link", "lost+found"}
        assert [str(p) for p in root.glob("data/*.csv")] == ["/1/data/table.csv"]
        assert [p.name for p in root.rglob("*.txt")] == ["notes.txt"]
        notes = root / "data" / "deep" / "notes.txt"
        assert notes.read_text() == "grüße\n"
        assert (notes.stem, notes.suffix, notes.parent.name) == ("notes", ".txt", "deep")
        assert notes.stat().size == len("grüße\n".encode())
        assert (root / "link").read_bytes() == (root / "data/table.csv").read_bytes()
        assert (root / "link").is_file()
        assert root.is_dir()
        assert not (root / "nothing").exists()
        with (root / "data" / "table.csv").open("r") as text:
            assert text.readline() == "name,size\n"
        with pytest.raises(io.UnsupportedOperation):
            notes.open("w")


async def test_files_are_read_and_sought_by_code_that_awaits(tree):
    from aero_browser_disk.file_systems import DiskFiles

    async with RawFileDisk.open(tree) as disk, DiskFiles(disk).open("/1/data/big.bin") as file:
        assert await file.read(10) == IMAGE.read(0, 10)
        assert file.seek(300_000) == 300_000
        assert await file.read(200_000) == IMAGE.read(300_000, 200_000)
        assert await file.read() == IMAGE.read(500_000, MIB - 500_000)
        assert await file.read(1) == b""
    with pytest.raises(ValueError, match="closed file"):
        await file.read(1)


async def test_a_disk_is_closed_on_leaving(server, platform):
    url = server.url("disk.img")
    async with open_disk(url, allow_remote=True, platform=platform) as disk:
        assert await disk.read(0, 512) == IMAGE.read(0, 512)
    with pytest.raises(errors.DiskClosedError):
        await disk.read(0, 512)
    with pytest.raises(RuntimeError, match="mine"):
        async with await open_disk(url, allow_remote=True, platform=platform) as disk:
            raise RuntimeError("mine")
    with pytest.raises(errors.DiskClosedError):
        await disk.read(0, 512)


async def test_a_library_is_entered(platform):
    async with Library.open(platform) as library:
        await library.create("made", MIB)
        async with library.open_image("made") as disk:
            await disk.write(0, b"x")


async def test_a_disk_that_nobody_closed_warns(tree):
    disk = RawFileDisk.open(tree)
    with pytest.warns(ResourceWarning, match="RawFileDisk was not closed"):
        del disk


# Scripts as users write them, which say nothing that they do not print themselves.
SCRIPTS = {
    "closes": """
with sync.open_disk(url, allow_remote=True) as disk:
    print(len(disk.read(0, 4096)))
""",
    "ends by an exception": """
with sync.open_disk(url, allow_remote=True) as disk:
    print(len(disk.read(0, 4096)))
    sys.exit(0)
""",
    "has a daemon thread that reads": """
disk = sync.open_disk(url, allow_remote=True)
disk.close_at_exit()
reads = threading.Semaphore(0)
def work():
    offset = 0
    while True:
        disk.read(offset % 2_000_000, 65536)
        offset += 65536
        reads.release()
threading.Thread(target=work, daemon=True).start()
for _ in range(20):
    reads.acquire()
print(4096)
""",
    "has a thread that goes on after the main one": """
disk = sync.open_disk(url, allow_remote=True)
def work():
    threading.main_thread().join()
    print(len(disk.read(1 << 20, 4096)))
    disk.close()
threading.Thread(target=work).start()
""",
    "has a daemon thread whose server does not respond": """
listening = socket.create_server(("127.0.0.1", 0))
address = f"http://127.0.0.1:{listening.getsockname()[1]}/disk.img"
def work():
    sync.open_disk(address, allow_remote=True, timeout_s=100_000)
threading.Thread(target=work, daemon=True).start()
with listening, listening.accept()[0] as asked:
    asked.recv(1)
    print(4096)
    sys.exit(0)
""",
    "calls at exit": """
def late():
    print(len(disk.read(0, 4096)))
    disk.close()
atexit.register(late)
disk = sync.open_disk(url, allow_remote=True)
""",
    "leaves a file system to fsspec": """
import fsspec
found = fsspec.filesystem("aerodisk", fo=url)
print(len(found.disk.read(0, 4096)))
""",
    "does not close a file": """
with sync.open_disk(url, allow_remote=True) as disk:
    file = disk.open()
    print(len(file.read(4096)))
""",
}
HEAD = """
import atexit, socket, sys, threading
from aero_browser_disk import sync
url = sys.argv[1]
"""


def run_script(script, url):
    command = [sys.executable, "-X", "dev", "-W", "error", "-c", HEAD + script, url]
    return subprocess.run(command, capture_output=True, text=True, timeout=200)


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_ends_and_says_nothing(home, server, name):
    done = run_script(SCRIPTS[name], server.url("disk.img"))
    if name == "calls at exit" and sys.version_info[:2] == (3, 12):
        # This Python starts no thread any more once it is exiting.
        assert "register functions to be called at exit after the disk was opened" in done.stderr
        assert "never awaited" not in done.stderr
    else:
        assert (done.stderr, done.stdout, done.returncode) == ("", "4096\n", 0)


FORGETFUL = """
disk = sync.open_disk(url, allow_remote=True)
print(len(disk.read(0, 4096)))
"""


def test_a_script_that_forgets_to_close_is_told(home, server):
    done = run_script(FORGETFUL, server.url("disk.img"))
    assert (done.stdout, done.returncode) == ("4096\n", 0)
    assert done.stderr.count("ResourceWarning") == 1
    assert "was not closed: call close()" in done.stderr
    assert "socket" not in done.stderr


AWAITING = """
import asyncio
from aero_browser_disk import open_disk
async def main():
    async with open_disk(url, allow_remote=True) as disk:
        print(len(await disk.read(0, 4096)))
asyncio.run(main())
"""


def test_connections_end_with_the_disk_that_had_them_made(home, server):
    done = run_script(AWAITING, server.url("disk.img"))
    assert (done.stdout, done.returncode) == ("4096\n", 0)
    assert "ResourceWarning" not in done.stderr


FORKING = """
import os
with sync.open_disk(url, allow_remote=True) as disk:
    child = os.fork()
    if not child:
        try:
            disk.read(0, 4096)
        except RuntimeError as error:
            print(error, flush=True)
        with sync.open_disk(url, allow_remote=True) as own:
            print(len(own.read(0, 4096)), flush=True)
        os._exit(0)
    os.waitpid(child, 0)
    print(len(disk.read(1 << 20, 4096)))
"""


def test_a_forked_process_opens_its_own(home, server):
    done = run_script(FORKING.replace("child = os.fork()", FORK), server.url("disk.img"))
    told = "this was opened by the process that this one was forked from: open it again here"
    assert (done.stdout.splitlines(), done.returncode) == ([told, "4096", "4096"], 0), done.stderr


# Python 3.12 warns of forks beside threads, of which the loop's is one.
FORK = """
    import warnings
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()"""


def _forget(disks: list[sync.Disk]) -> None:
    disks.clear()
    gc.collect()


def test_a_file_that_is_locked_is_free_when_its_disk_was_forgotten(home, server):
    url = server.url("disk.img")
    forgotten = [sync.open_disk(url, allow_remote=True)]
    with pytest.warns(ResourceWarning, match="not closed"):
        _forget(forgotten)
    with sync.open_disk(url, allow_remote=True) as disk:
        assert disk.stats().notices == ()


def test_the_loop_ends_with_what_it_ran():
    loop = BackgroundLoop()

    async def where() -> threading.Thread:
        return threading.current_thread()

    thread = loop.run(where())
    assert thread is not threading.main_thread()
    loop.close()
    loop.close()
    assert not thread.is_alive()


def test_a_loop_that_waits_for_itself_says_so():
    loop = BackgroundLoop()

    async def inside() -> None:
        loop.run(inside())

    with pytest.raises(RuntimeError, match="inside the event loop"):
        loop.run(inside())
    loop.close()
