"""The operations on files, as the page asks for them: plain values in, plain values out."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from aero_browser_disk.open_disk import open_disk
from aero_browser_disk.testing.image_server import ImageServer
from aero_browser_disk.worker.worker import Worker
from support import file_images as images


@pytest.fixture(scope="module")
def volume(tmp_path_factory) -> Path:
    """A FAT volume with one file."""
    folder = tmp_path_factory.mktemp("volume")
    path = images.blank(folder / "fat.img", 8 << 20)
    images.tool("mkfs.fat", "-n", "VOL", path)
    (folder / "hello.txt").write_text("hello\n")
    images.tool("mcopy", "-i", path, folder / "hello.txt", "::")
    return path


@pytest.fixture
async def ask(volume, platform):
    """Asks for an operation on an open disk; gives its value or its error's name."""
    worker = Worker(partial(open_disk, platform=platform))
    with ImageServer({"disk.img": volume}) as server:
        values = {"url": server.url("disk.img"), "allowRemote": True}
        disk = (await worker.call("disk.open", values))["value"]["disk"]

        async def ask(operation: str, **values):
            response = await worker.call(operation, {"disk": disk, **values})
            return response["error"]["name"] if "error" in response else response.get("value")

        yield ask
        await ask("disk.close")


async def test_a_listing_is_plain(ask):
    (entry,) = (await ask("files.list", path="/"))["entries"]
    assert entry == {
        "name": "1",
        "kind": "volume",
        "size": 8 << 20,
        "modified": None,
        "target": None,
        "label": "VOL",
        "description": entry["description"],
        "offset": 0,
        "cannot": None,
        "accessed": None,
        "changed": None,
        "created": None,
        "mode": 0o40755,
        "uid": None,
        "gid": None,
    }
    listing = await ask("files.list", path="/1")
    assert [e["name"] for e in listing["entries"]] == ["hello.txt"]
    assert listing["complete"] is True


async def test_a_file_is_read_and_found_on_the_disk(ask, volume):
    assert await ask("files.read", path="/1/hello.txt", offset=1, length=100) == b"ello\n"
    assert (await ask("files.stat", path="/1/hello.txt"))["size"] == 6
    assert (await ask("files.lstat", path="/1/hello.txt"))["size"] == 6
    (extent,) = await ask("files.extents", path="/1/hello.txt")
    assert volume.read_bytes()[extent["diskOffset"] : extent["diskOffset"] + 6] == b"hello\n"
    where = await ask("files.where", offset=extent["diskOffset"])
    assert where["path"] == "/1/hello.txt"


@pytest.mark.parametrize(
    ("operation", "values", "name"),
    [
        ("files.list", {"path": 1}, "InvalidOptionError"),
        ("files.list", {"path": "no"}, "InvalidOptionError"),
        ("files.read", {"path": "/1/x", "offset": 0.5, "length": 1}, "InvalidOptionError"),
        ("files.read", {"path": "/1/x", "offset": 0, "length": 1}, "NoSuchFileError"),
        ("files.where", {"offset": "0"}, "InvalidOptionError"),
    ],
)
async def test_what_is_wrong_is_named(ask, operation, values, name):
    assert await ask(operation, **values) == name


async def test_a_closed_disk_has_no_files(ask):
    await ask("files.list", path="/")
    await ask("disk.close")
    assert await ask("files.list", path="/") == "DiskClosedError"
