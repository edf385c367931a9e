"""Images imported from hosts: with ranges and without, and after the connection broke."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from aero_browser_disk import open_disk
from aero_browser_disk.errors import (
    HttpStatusError,
    InvalidUrlError,
    NetworkError,
    RemoteImagesDisabledError,
    SourceChangedError,
    UnsupportedImageError,
)
from aero_browser_disk.library.library import Library
from aero_browser_disk.testing.behaviour import Behaviour
from aero_browser_disk.testing.image_server import ImageServer
from aero_browser_disk.testing.synthetic_image import SyntheticImage
from support.qemu import MIB, needs_qemu, patchy_disk, qemu_img

BIG = SyntheticImage(18 * MIB, seed=3)


@pytest.fixture
def library(checkpoints) -> Library:
    return Library(checkpoints)


@pytest.fixture
def host():
    with ImageServer({"big.img": BIG}) as started:
        yield started


async def whole(platform, name) -> bytes:
    disk = await open_disk(image=name, platform=platform)
    data = await disk.read(0, disk.info.size)
    await disk.close()
    return data


async def test_the_gate(library, host):
    with pytest.raises(RemoteImagesDisabledError):
        await library.import_url(host.url("big.img"))
    assert host.requests == []
    with pytest.raises(InvalidUrlError):
        await library.import_url("ftp://a.example/x.img", allow_remote=True)


@pytest.mark.parametrize(
    "behaviour",
    [
        Behaviour(),
        Behaviour(ignore_range=True),
        Behaviour(ignore_range=True, accept_ranges=False),
        Behaviour(ignore_range=True, chunked=True),
        Behaviour(validators="none"),
    ],
    ids=["ranges", "no-ranges", "says-so", "chunked", "unversioned"],
)
async def test_any_host_will_do(library, platform, behaviour):
    small = SyntheticImage(3 * MIB, seed=5)
    with ImageServer({"disk.img": small}, behaviour=behaviour) as server:
        seen = []
        entry = await library.import_url(
            server.url("disk.img"), allow_remote=True, report=seen.append
        )
    assert entry.name == "disk"
    assert seen[-1].done == small.size
    assert await whole(platform, "disk") == small.read(0, small.size)


@needs_qemu
async def test_a_qcow2_on_a_host_with_ranges_is_converted(library, platform, tmp_path: Path):
    raw, made = patchy_disk(tmp_path / "disk.img"), tmp_path / "disk.qcow2"
    qemu_img("convert", "-O", "qcow2", raw, made)
    with ImageServer({"disk.qcow2": made.read_bytes()}) as server:
        await library.import_url(server.url("disk.qcow2"), allow_remote=True)
        assert await whole(platform, "disk") == raw.read_bytes()
        server.behaviour = Behaviour(ignore_range=True)
        with pytest.raises(UnsupportedImageError, match="comes as a stream"):
            await library.import_url(server.url("disk.qcow2"), allow_remote=True, name="other")


async def test_a_compressed_image_is_unpacked(library, platform):
    data = BIG.read(0, 2 * MIB)
    with ImageServer({"disk.img.gz": gzip.compress(data)}) as server:
        await library.import_url(server.url("disk.img.gz"), allow_remote=True)
    assert await whole(platform, "disk") == data


async def test_what_broke_off_goes_on_where_it_was(library, platform, host):
    url = host.url("big.img") + "?token=secret"
    host.fail_next(
        Behaviour(status=404), times=1, only_when=lambda r: "=8388608" in r.headers.get("range", "")
    )
    with pytest.raises(HttpStatusError):
        await library.import_url(url, allow_remote=True)
    (entry,) = await library.list()
    assert (entry.state, entry.done) == ("importing", 8 * MIB)
    host.forget()
    again = await library.import_url(url, allow_remote=True)
    assert again.id == entry.id
    ranges = [request.headers.get("range", "") for request in host.requests]
    assert not any(r.startswith(("bytes=0-4", "bytes=4194304")) for r in ranges), "it was there"
    assert await whole(platform, "big") == BIG.read(0, BIG.size)


async def test_a_connection_that_breaks_is_made_again(library, platform, host):
    host.fail_next(Behaviour(reset=True), times=2, only_when=lambda r: r.method == "GET")
    await library.import_url(host.url("big.img"), allow_remote=True)
    assert await whole(platform, "big") == BIG.read(0, BIG.size)


async def test_another_version_does_not_continue_an_import(library, host):
    host.fail_next(
        Behaviour(status=404), times=1, only_when=lambda r: "=8388608" in r.headers.get("range", "")
    )
    with pytest.raises(HttpStatusError):
        await library.import_url(host.url("big.img"), allow_remote=True)
    host.image("big.img").replace(SyntheticImage(BIG.size, seed=99))
    with pytest.raises(SourceChangedError):
        await library.import_url(host.url("big.img"), allow_remote=True, name="big")
    anew = await library.import_url(host.url("big.img"), allow_remote=True)
    assert anew.name == "big 2"


async def test_a_server_that_stalls_after_each_byte_is_given_up(server, checkpoints):
    library = Library(checkpoints)
    server.behaviour = Behaviour(stall_after=1)
    with pytest.raises(NetworkError):
        await library.import_url(server.url("disk.img"), allow_remote=True, timeout_s=0.05)
    assert len(server.requests) < 20
    server.release()
