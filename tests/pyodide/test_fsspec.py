"""The files of an image by fsspec in Pyodide: plain calls, which wait by stack switching."""

from __future__ import annotations

from pytest_pyodide import run_in_pyodide

from aero_browser_disk.testing.image_server import ImageServer
from support import file_images

CSV = "name,size\nboot,3\nroot,4\n"


@run_in_pyodide(packages=["fsspec", "pytest"])
async def read_by_fsspec(selenium_worker, url, text):
    import csv
    import io

    import fsspec
    import pytest

    from aero_browser_disk.integrations.obspec import FileRanges

    with fsspec.open("aerodisk://1/data/table.csv", "r", fo=url, newline="") as file:
        assert [row["size"] for row in csv.DictReader(file)] == ["3", "4"]
    files = fsspec.filesystem("aerodisk", fo=url)
    assert files.ls("1/data", detail=False) == ["1/data/table.csv"]
    assert files.glob("1/**/*.csv") == ["1/data/table.csv"]
    assert files.info("1/data/table.csv")["size"] == len(text)
    assert [name for _, _, names in files.walk("1/data") for name in names] == ["table.csv"]
    paths = ["1/data/table.csv"] * 3
    assert files.cat_ranges(paths, [0, 5, -2], [4, 9, None]) == [b"name", b"size", b"4\n"]
    assert files.cat("1/link") == text.encode()
    assert FileRanges(files.disk).get_range("1/link", start=0, length=4) == b"name"
    with pytest.raises(OSError, match="Read-only"):
        files.mkdir("1/new")
    with io.TextIOWrapper(files.open("1/data/table.csv")) as lines:
        assert lines.readline() == "name,size\n"
    assert [str(path) for path in files.disk.files.path("/1").glob("data/*")] == [
        "/1/data/table.csv"
    ]
    files.close()

    # Called as runPython does, nothing can be waited for; the error says so.
    from js import pyodide

    told = pyodide.runPython(
        "from aero_browser_disk import sync\n"
        "from aero_browser_disk.errors import CannotWaitError\n"
        "try:\n"
        f"    sync.open_disk({url!r}, allow_remote=True)\n"
        "except CannotWaitError as error:\n"
        "    told = str(error)\n"
        "told"
    )
    assert "stack switching" in told


def test_files_are_read_by_fsspec(selenium_worker, tmp_path):
    tree = tmp_path / "tree"
    (tree / "data").mkdir(parents=True)
    (tree / "data" / "table.csv").write_text(CSV)
    (tree / "link").symlink_to("data/table.csv")
    image = file_images.make_ext(tmp_path / "image", tree, "ext4")
    with ImageServer({"disk.img": image}) as server:
        read_by_fsspec(selenium_worker, server.url("disk.img"), CSV)
