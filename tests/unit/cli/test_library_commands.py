"""`import`, `list`, `export`, `rename`, `recover`, `remove` and `overlay`: what is kept here."""

from __future__ import annotations

import gzip
import signal
import subprocess
import sys

import pytest

from aero_browser_disk import cpython_platform, open_disk
from aero_browser_disk.platform.chunks import CELL
from aero_browser_disk.testing.behaviour import Behaviour
from aero_browser_disk.testing.image_server import ImageServer
from aero_browser_disk.testing.synthetic_image import SyntheticImage
from support.qemu import needs_qemu, qemu_img


@pytest.fixture
def write(cache, tmp_path):
    """Writes to a disk, as an emulator would."""

    async def writes(offset: int, data: bytes, **disk: object) -> None:
        platform = cpython_platform(cache, tmp_path / "data" / "aero-browser-disk")
        async with open_disk(**disk, platform=platform) as opened:
            await opened.write(offset, data)
            await opened.flush()
        await platform.http.close()

    return writes


def names(result, *arguments: str) -> list[tuple[str, str]]:
    return sorted((e["kind"], e["name"]) for e in result(*arguments)["entries"])


def test_an_image_goes_in_and_out(run, result, volume, served, tmp_path):
    entry = result("import", volume, "--name", "mine")
    assert (entry["name"], entry["size"]) == ("mine", volume.stat().st_size)
    assert result("import", served.url("disk.img"))["name"] == "disk"
    assert names(result, "list") == [("image", "disk"), ("image", "mine")]
    assert b" mine" in run("list")[1]
    for name in ("mine", "disk"):
        out = tmp_path / f"{name}.img"
        assert run("export", f"image:{name}", out)[0] == 0
        assert out.read_bytes() == volume.read_bytes()
    assert run("cat", "image:mine", "/1/hello.txt")[1] == b"hello\n"
    assert run("import", volume, "--name", "mine")[0] == 1
    assert run("rename", "mine", "yours")[0] == 0
    assert run("remove", "yours", "image:disk")[0] == 0
    assert names(result, "list") == []
    status, _, err = run("remove", "yours")
    assert status == 1
    assert "aero-disk list" in err


def test_any_disk_is_exported_to_a_file_or_a_pipe(run, result, volume, served, tmp_path):
    assert run("export", served.url("disk.img"), "-")[1] == volume.read_bytes()
    out = tmp_path / "disk.img.gz"
    told = result("export", volume, out, "--compress", "gzip")
    assert gzip.decompress(out.read_bytes()) == volume.read_bytes()
    assert told == {"file": str(out), "size": volume.stat().st_size, "bytes": out.stat().st_size}
    assert run("export", volume, "-", "--json")[0] == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_import_that_is_ended_goes_on_where_it_was(run, result, cache, number):
    data = SyntheticImage(24 << 20, seed=5)
    with ImageServer({"disk.img": data}) as server:
        url = server.url("disk.img")
        server.behaviour = Behaviour(bandwidth_bytes_per_s=4 << 20)
        command = [sys.executable, "-m", "aero_browser_disk.cli.main", "import", url]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            while not any(entry["done"] for entry in result("list")["entries"]):
                assert process.poll() is None
            process.send_signal(number)
            status, errors = process.wait(), process.stderr.read()
        if number == signal.SIGKILL:
            assert status == -number
        else:
            assert status == 128 + number
            assert "aero-disk list" in errors
        server.behaviour = Behaviour()
        (entry,) = result("list")["entries"]
        assert entry["state"] == "importing"
        assert "% imported)" in run("list")[1].decode()
        server.forget()
        assert result("import", url)["id"] == entry["id"]
        ranges = [r.byte_range for r in server.requests if r.bytes_sent > 1 << 20]
        assert min(start for start, _ in ranges) >= entry["done"] // CELL * CELL
    assert run("read", "image:disk", "0", "24MiB")[1] == data.read(0, 24 << 20)


@needs_qemu
def test_a_disk_of_another_format_is_exported_raw(run, volume, tmp_path):
    made, out = tmp_path / "disk.qcow2", tmp_path / "raw"
    qemu_img("convert", "-f", "raw", "-O", "qcow2", volume, made)
    assert run("export", made, out)[0] == 0
    assert out.read_bytes() == volume.read_bytes()
    assert run("export", made, out, "--format", "raw")[0] == 0
    assert out.read_bytes() == made.read_bytes()


def test_an_odd_file_is_padded_if_asked(run, result, tmp_path):
    odd = tmp_path / "odd.img"
    odd.write_bytes(b"x" * 1000)
    status, _, err = run("import", odd)
    assert status == 1
    assert "--pad" in err
    assert result("import", odd, "--pad")["size"] == 1024


@pytest.mark.parametrize("kind", ["url", "path", "image"])
async def test_an_overlay_lives_over_any_disk(kind, volume, served, write, tmp_path, call):
    """Made, written, read with, exported, reset, imported again, removed."""
    await call("import", volume, "--name", "base")
    source = {"url": served.url("disk.img"), "path": str(volume), "image": "image:base"}[kind]
    opening = {kind: source.removeprefix("image:")}
    if kind == "url":
        opening["allow_remote"] = True
    assert (await call("read", source, "0", "4", "--overlay", "mine"))[0] == 1
    assert (await call("overlay", "create", source, "mine"))[0] == 0
    assert (await call("overlay", "create", source, "mine"))[0] == 1
    await write(0, b"mine" * 128, overlay="mine", **opening)

    async def head(*overlay: str) -> bytes:
        return (await call("read", source, "0", "4", *overlay))[1]

    assert await head() == volume.read_bytes()[:4]
    assert await head("--overlay", "mine") == b"mine"
    whole = tmp_path / "whole"
    assert (await call("export", source, whole, "--overlay", "mine"))[0] == 0
    assert whole.read_bytes() == b"mine" * 128 + volume.read_bytes()[512:]
    exported = tmp_path / "mine.overlay"
    assert (await call("overlay", "export", "mine", exported))[0] == 0
    assert (await call("overlay", "reset", "mine"))[0] == 0
    assert await head("--overlay", "mine") == volume.read_bytes()[:4]
    assert (await call("overlay", "import", source, "again", exported))[0] == 0
    assert await head("--overlay", "again") == b"mine"
    listed = (await call("overlay", "list"))[1].decode()
    assert " mine over " in listed
    assert " again over " in listed
    assert (await call("overlay", "remove", "mine"))[0] == 0
    assert (await call("overlay", "remove", "mine"))[0] == 1


async def test_an_overlay_is_committed_into_its_image(volume, write, call):
    await call("import", volume, "--name", "base")
    await call("overlay", "create", "image:base", "mine")
    await call("overlay", "create", "image:base", "other")
    await write(512, b"mine" * 128, image="base", overlay="mine")
    status, _, err = await call("overlay", "commit", "mine")
    assert status == 1
    assert "--drop-overlays" in err
    assert (await call("overlay", "commit", "mine", "--drop-overlays"))[0] == 0
    assert (await call("read", "image:base", "512", "4"))[1] == b"mine"
    status, _, err = await call("remove", "base")
    assert status == 1
    assert "mine, other" in err
    assert (await call("remove", "base", "--drop-overlays"))[0] == 0


async def test_an_overlay_is_committed_into_the_file_that_it_lies_over(
    volume, write, call, tmp_path
):
    await call("overlay", "create", volume, "mine")
    await write(512, b"mine" * 128, path=volume, overlay="mine")
    status, _, err = await call("overlay", "commit", "mine")
    assert status == 2
    assert "--file" in err
    other = tmp_path / "other.img"
    other.write_bytes(volume.read_bytes())
    status, _, err = await call("overlay", "commit", "mine", "--file", other)
    assert status == 2
    assert "does not lie over" in err
    expected = volume.read_bytes()[:512] + b"mine" * 128 + volume.read_bytes()[1024:]
    assert (await call("overlay", "commit", "mine", "--file", volume))[0] == 0
    assert volume.read_bytes() == expected


def test_of_two_overlays_of_one_name_the_id_tells(run, result, volume):
    for image in ("one", "two"):
        result("import", volume, "--name", image)
        result("overlay", "create", f"image:{image}", "mine")
    ids = [entry["id"] for entry in result("overlay", "list")["entries"]]
    status, _, err = run("overlay", "reset", "mine")
    assert status == 2
    assert all(found in err for found in ids)
    assert all(run("overlay", "remove", found)[0] == 0 for found in ids)


def test_what_is_intact_of_a_damaged_image_is_saved(run, result, volume, tmp_path):
    entry = result("import", volume, "--name", "mine")
    sectors = tmp_path / "data" / "aero-browser-disk" / entry["id"] / "sectors"
    data = bytearray(sectors.read_bytes())
    at = data.index(b"hello\n")
    data[at : at + 4] = b"\xff" * 4
    sectors.write_bytes(data)
    status, _, err = run("export", "image:mine", tmp_path / "out")
    assert status == 1
    assert "aero-disk recover" in err
    assert result("recover", "mine", "saved")["lost"]
    assert run("ls", "image:saved", "/1")[1].split() == [b"big.bin", b"hello.txt"]
