"""The files of an image for fsspec, and for what reads through it."""

from __future__ import annotations

import sys

import fsspec
import pandas as pd
import pytest
from upath import UPath

from aero_browser_disk import sync
from aero_browser_disk.integrations.fsspec import AeroDiskFileSystem
from aero_browser_disk.testing.image_server import ImageServer
from support import file_images
from support.qemu import needs_qemu, qemu_img
from support.samples import IMAGE

CSV = "name,size\nboot,3\nroot,4\n"
MIB = 1 << 20


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    root = folder / "root"
    (root / "data" / "deep").mkdir(parents=True)
    (root / "data" / "table.csv").write_text(CSV)
    (root / "data" / "big.bin").write_bytes(IMAGE.read(0, MIB))
    (root / "data" / "deep" / "notes.txt").write_text("x")
    (root / "link").symlink_to("data")
    (root / "broken").symlink_to("nowhere")
    return file_images.make_ext(folder / "ext4.img", root, "ext4")


@pytest.fixture
def server(image):
    with ImageServer({"disk.img": image}) as started:
        yield started


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    sync._session_of.cache_clear()
    yield
    AeroDiskFileSystem.clear_instance_cache()
    sync._session().close()
    sync._session_of.cache_clear()


@pytest.fixture
def files(image):
    file_system = fsspec.filesystem("aerodisk", fo=str(image), skip_instance_cache=True)
    yield file_system
    file_system.close()


def test_it_lists_finds_and_walks(files):
    assert files.ls("", detail=False) == ["1"]
    names = {"1/data/table.csv", "1/data/big.bin", "1/data/deep"}
    assert set(files.ls("/1/data", detail=False)) == names
    assert files.info("1/data/table.csv")["size"] == len(CSV)
    assert files.info("1/data/table.csv")["type"] == "file"
    assert files.isdir("1/data")
    assert files.isdir("1/link")
    assert not files.exists("1/broken")
    assert not files.exists("1/missing")
    assert files.glob("1/**/*.txt") == ["1/data/deep/notes.txt"]
    walked = {folder: set(names) for folder, _, names in files.walk("1/data")}
    assert walked == {"1/data": {"table.csv", "big.bin"}, "1/data/deep": {"notes.txt"}}
    assert files.modified("1/data/table.csv").year >= 2024


def test_it_reads_whole_files_parts_and_many_at_once(files):
    assert files.cat("1/data/table.csv") == CSV.encode()
    assert files.cat_file("1/data/big.bin", 1000, 2000) == IMAGE.read(1000, 1000)
    assert files.cat_file("1/data/big.bin", -100) == IMAGE.read(MIB - 100, 100)
    starts = list(range(0, MIB, 100_000))
    got = files.cat_ranges(["1/data/big.bin"] * len(starts), starts, [s + 777 for s in starts])
    assert got == [IMAGE.read(s, min(777, MIB - s)) for s in starts]
    assert files.head("1/data/big.bin", 10) == IMAGE.read(0, 10)
    with files.open("1/data/big.bin") as file:
        file.seek(500_001)
        assert file.read(5) == IMAGE.read(500_001, 5)


def test_what_cannot_be_is_the_usual_error(files):
    with pytest.raises(FileNotFoundError):
        files.open("1/missing")
    with pytest.raises(FileNotFoundError):
        files.ls("1/missing")
    with pytest.raises(FileNotFoundError):
        files.info("7/volume")
    with pytest.raises(IsADirectoryError):
        files.open("1/data")
    with pytest.raises(NotImplementedError):
        files.open("1/new", "wb")
    found = files.cat_ranges(["1/data/table.csv", "1/missing"], 0, 4, on_error="return")
    assert found[0] == b"name"
    assert isinstance(found[1], FileNotFoundError)
    with pytest.raises(FileNotFoundError):
        files.cat_ranges(["1/missing"], 0, 4, on_error="raise")


def test_a_chained_url_streams_the_image(server):
    url = f"aerodisk://1/data/table.csv::{server.url('disk.img')}"
    with fsspec.open(url, "r") as file:
        assert file.read() == CSV
    assert sum(request.bytes_sent for request in server.requests) < 4 * MIB


@pytest.mark.filterwarnings("ignore:UPath 'aerodisk'")  # it has no class of its own there
def test_pandas_and_universal_pathlib_read_through_it(server):
    table = pd.read_csv(f"aerodisk://1/data/table.csv::{server.url('disk.img')}")
    assert table["size"].sum() == 7
    path = UPath("aerodisk://1/data", fo=server.url("disk.img"))
    assert {found.name for found in path.iterdir()} == {"table.csv", "big.bin", "deep"}
    assert (path / "table.csv").read_text() == CSV


@needs_qemu
def test_an_image_of_another_format_and_on_another_file_system(image, tmp_path):
    packed = tmp_path / "disk.qcow2"
    qemu_img("convert", "-q", "-c", "-O", "qcow2", str(image), str(packed))
    with fsspec.open(f"aerodisk://1/data/table.csv::file://{packed}", "r") as file:
        assert file.read() == CSV
    memory = fsspec.filesystem("memory")
    memory.pipe("/disk.qcow2", packed.read_bytes())
    with fsspec.open("aerodisk://1/data/table.csv::memory://disk.qcow2", "r") as file:
        assert file.read() == CSV
    memory.rm("/disk.qcow2")


def test_an_image_has_to_be_named():
    with pytest.raises(ValueError, match="name the image"):
        AeroDiskFileSystem(skip_instance_cache=True)


def test_the_package_itself_does_not_need_fsspec():
    import subprocess

    code = "import sys, aero_browser_disk.sync; sys.exit('fsspec' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
