"""The files of an image for fsspec, and for what reads through it."""

from __future__ import annotations

import errno
import gc
import io
import os
import pickle
import sys

import fsspec
import pandas as pd
import pytest
from fsspec.implementations.local import LocalFileSystem
from fsspec.tests.abstract import (
    AbstractFixtures,
    AbstractGetTests,
    AbstractOpenTests,
    AbstractPipeTests,
)
from upath import UPath

from aero_browser_disk import sync
from aero_browser_disk.errors import DamagedFileSystemError, DiskClosedError
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
def home(sync_session):
    yield
    AeroDiskFileSystem.clear_instance_cache()


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
    assert files.info("1/link")["islink"]
    assert files.info("1/link")["destination"] == "data"
    assert files.info("1/data/table.csv")["mode"] == 0o100644
    assert not files.info("1/data/table.csv")["islink"]
    assert not files.exists("1/broken")
    assert not files.exists("1/missing")
    assert files.glob("1/**/*.txt") == ["1/data/deep/notes.txt"]
    walked = {folder: set(names) for folder, _, names in files.walk("1/data")}
    assert walked == {"1/data": {"table.csv", "big.bin"}, "1/data/deep": {"notes.txt"}}
    assert files.modified("1/data/table.csv").year >= 2024
    assert files.created("1/data/table.csv").year >= 2024
    top = {entry["name"]: entry for entry in files.ls("1")}
    assert (top["1/link"]["type"], top["1/broken"]["type"]) == ("link", "link")
    assert files.find("1/data") == ["1/data/big.bin", "1/data/deep/notes.txt", "1/data/table.csv"]


def test_it_reads_whole_files_parts_and_many_at_once(files):
    assert files.cat("1/data/table.csv") == CSV.encode()
    assert files.cat_file("1/data/big.bin", 1000, 2000) == IMAGE.read(1000, 1000)
    assert files.cat_file("1/data/big.bin", -100) == IMAGE.read(MIB - 100, 100)
    starts = list(range(0, MIB, 100_000))
    got = files.cat_ranges(["1/data/big.bin"] * len(starts), starts, [s + 777 for s in starts])
    assert got == [IMAGE.read(s, min(777, MIB - s)) for s in starts]
    got = files.cat_ranges(["1/data/big.bin"] * 2, None, (5, None))
    assert got == [IMAGE.read(0, 5), IMAGE.read(0, MIB)]
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


def test_whatever_would_change_the_image_is_refused(files, tmp_path):
    (tmp_path / "local").write_bytes(b"x")
    for change in (
        lambda: files.open("1/new", "wb"),
        lambda: files.open("1/new", "xb"),
        lambda: files.open("1/data/table.csv", "ab"),
        lambda: files.open("1/data/table.csv", "r+b"),
        lambda: files.mkdir("1/new"),
        lambda: files.makedirs("1/new/deep", exist_ok=True),
        lambda: files.rmdir("1/data"),
        lambda: files.rm("1/data/table.csv"),
        lambda: files.rm_file("1/data/table.csv"),
        lambda: files.mv("1/data/table.csv", "1/x"),
        lambda: files.cp_file("1/data/table.csv", "1/x"),
        lambda: files.copy("1/data", "1/x", recursive=True),
        lambda: files.put(str(tmp_path / "local"), "1/x"),
        lambda: files.put_file(str(tmp_path / "local"), "1/x"),
        lambda: files.pipe_file("1/x", b"x"),
        lambda: files.pipe({"1/x": b"x"}),
        lambda: files.touch("1/x"),
    ):
        with pytest.raises(OSError, match="Read-only file system") as refused:
            change()
        assert refused.value.errno == errno.EROFS
    assert files.cat("1/data/table.csv") == CSV.encode()


def test_one_that_was_closed_is_opened_anew(image):
    first = fsspec.filesystem("aerodisk", fo=str(image))
    assert fsspec.filesystem("aerodisk", fo=str(image)) is first
    first.close()
    second = fsspec.filesystem("aerodisk", fo=str(image))
    assert second.cat("1/data/table.csv") == CSV.encode()
    second.close()


def test_one_that_is_collected_closes_its_disk(image, recwarn):
    gc.collect()
    recwarn.clear()
    files = fsspec.filesystem("aerodisk", fo=str(image), skip_instance_cache=True)
    disk = files.disk
    del files
    gc.collect()
    with pytest.raises(DiskClosedError):
        disk.read(0, 1)
    # What other tests left may be collected here too, with warnings of its own.
    assert not [warning for warning in recwarn if "not closed" in str(warning.message)]


def test_it_is_pickled_by_the_name_of_the_image(files, image):
    again = pickle.loads(pickle.dumps(files))
    assert again.cat("1/data/table.csv") == CSV.encode()
    again.close()
    with sync.open_disk(path=image) as disk:
        over_open = fsspec.filesystem("aerodisk", disk=disk, skip_instance_cache=True)
        assert over_open.exists("1/data")
        with pytest.raises(TypeError, match="name the image"):
            pickle.dumps(over_open)


def test_keys_change_with_the_image(files, image, tmp_path):
    key = files.ukey("1/data/table.csv")
    assert key == files.ukey("1/data/table.csv")
    assert key != files.ukey("1/data/big.bin")
    copy = tmp_path / "copy.img"
    copy.write_bytes(image.read_bytes())
    other = fsspec.filesystem("aerodisk", fo=str(copy))
    assert other.ukey("1/data/table.csv") != key
    other.close()


def test_headers_go_to_the_server_and_what_is_unknown_is_not_lost(server):
    url = f"aerodisk://1/data/table.csv::{server.url('disk.img')}"
    with fsspec.open(url, http={"headers": {"X-Token": "t"}}) as file:
        assert file.read() == CSV.encode()
    assert {request.headers.get("x-token") for request in server.requests} == {"t"}
    with pytest.raises(ValueError, match="block_size: not known for http"):
        fsspec.open(url, http={"block_size": 5})


def test_a_folder_that_cannot_be_listed_whole_is_an_error(files, monkeypatch):
    monkeypatch.setattr("aero_browser_disk.file_systems.disk_files.MAX_ENTRIES", 2)
    with pytest.raises(OSError, match="too many entries"):
        files.ls("1/data")


def test_an_error_of_the_image_is_no_missing_file(image, tmp_path):
    damaged = bytearray(image.read_bytes())
    damaged[1024 + 88 : 1024 + 90] = b"\xff\xff"  # s_inode_size
    (tmp_path / "damaged").write_bytes(damaged)
    files = fsspec.filesystem("aerodisk", fo=str(tmp_path / "damaged"))
    with pytest.raises(DamagedFileSystemError):
        files.find("1")
    files.close()


# ── what reads through it ─────────────────────────────────────────────────────────────────────────


def test_pyarrow_reads_a_data_set(tmp_path):
    from pyarrow import csv as arrow_csv
    from pyarrow import dataset, parquet

    tree = tmp_path / "tree"
    for number in range(3):
        folder = tree / "set" / f"part={number}"
        folder.mkdir(parents=True)
        table = arrow_csv.read_csv(io.BytesIO(f"n\n{number}\n{number * 10}\n".encode()))
        parquet.write_table(table, folder / "data.parquet")
    image = file_images.make_ext(tmp_path / "image", tree, "ext4")
    with ImageServer({"disk.img": image}) as server:
        files = fsspec.filesystem("aerodisk", fo=server.url("disk.img"))
        found = dataset.dataset("1/set", filesystem=files, partitioning="hive")
        rows = found.to_table(filter=dataset.field("part") > 0).sort_by("n").to_pylist()
        files.close()
    assert rows == [{"n": n, "part": part} for n, part in ((1, 1), (2, 2), (10, 1), (20, 2))]


def test_zarr_reads_an_array(tmp_path):
    import numpy as np
    import zarr

    values = np.arange(10_000, dtype="int32").reshape(100, 100)
    array = zarr.create_array(
        str(tmp_path / "tree" / "a.zarr"), shape=values.shape, chunks=(30, 30), dtype="int32"
    )
    array[:] = values
    image = file_images.make_ext(tmp_path / "image", tmp_path / "tree", "ext4")
    with ImageServer({"disk.img": image}) as server:
        store = zarr.storage.FsspecStore.from_url(
            "aerodisk://1/a.zarr", storage_options={"fo": server.url("disk.img")}, read_only=True
        )
        opened = zarr.open_array(store, mode="r")
        assert (opened[:] == values).all()
        assert (opened[7:35, ::9] == values[7:35, ::9]).all()


# ── fsspec's own tests ────────────────────────────────────────────────────────────────────────────


class PreparedFileSystem(AeroDiskFileSystem):
    """One where making what is there already succeeds, for tests that make their own files."""

    def mkdir(self, path, create_parents=True, **_):
        assert self.isdir(path)

    def touch(self, path, truncate=True, **_):
        assert self.isfile(path)


@pytest.fixture(scope="module")
def scenarios(tmp_path_factory):
    """An image with what each fixture of fsspec's tests would make."""
    folder = tmp_path_factory.mktemp("scenarios")
    make, local = AbstractFixtures(), LocalFileSystem(auto_mkdir=True)
    for name, scenario in {
        "bulk": make._bulk_operations_scenario_0,
        "glob": make._glob_edge_cases_files,
        "prefix": make._dir_and_file_with_same_name_prefix,
        "hashed": make._10_files_with_hashed_names,
    }.items():
        scenario(local, os.path.join, str(folder / "tree" / name))
    (folder / "tree" / "src").mkdir()
    (folder / "tree" / "src" / "file").touch()
    return file_images.make_ext(folder / "image", folder / "tree", "ext4")


class Fixtures(AbstractFixtures):
    @pytest.fixture
    def fs(self, scenarios):
        files = PreparedFileSystem(fo=str(scenarios), skip_instance_cache=True)
        yield files
        files.close()

    @pytest.fixture
    def fs_path(self):
        return "1"

    @pytest.fixture
    def fs_join(self):
        return lambda *parts: "/".join(parts)

    @pytest.fixture
    def fs_target(self):
        return "1/target"

    @pytest.fixture
    def fs_bulk_operations_scenario_0(self):
        return "1/bulk/source"

    @pytest.fixture
    def fs_glob_edge_cases_files(self):
        return "1/glob/source"

    @pytest.fixture
    def fs_dir_and_file_with_same_name_prefix(self):
        return "1/prefix/source"

    @pytest.fixture
    def fs_10_files_with_hashed_names(self):
        return "1/hashed/source"


class TestGet(Fixtures, AbstractGetTests):
    """fsspec's tests of copying out of a file system."""


@pytest.mark.xfail(raises=OSError, strict=True, reason="an image's files are read-only")
class TestWriting(Fixtures, AbstractOpenTests, AbstractPipeTests):
    """fsspec's tests that begin by writing a file, which is refused."""


def test_the_package_itself_does_not_need_fsspec():
    import subprocess

    code = "import sys, aero_browser_disk.sync; sys.exit('fsspec' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
