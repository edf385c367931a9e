"""A qcow2, VMDK and the like on a plain server are disks as raw images are, cached unpacked."""

from __future__ import annotations

import asyncio
import gzip
import random
import shutil
import tarfile
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aero_browser_disk.cache.block_store import StoredImage
from aero_browser_disk.errors import (
    BaseChangedError,
    DamagedImageError,
    ImageChangedError,
    InvalidOptionError,
    UnsupportedImageError,
)
from aero_browser_disk.formats import open_layout
from aero_browser_disk.open_disk import open_disk
from aero_browser_disk.platform.base import Platform
from aero_browser_disk.platform.byte_source import BytesSource
from aero_browser_disk.platform.cpython import cpython_platform
from aero_browser_disk.remote.remote_image import ImageVersion
from aero_browser_disk.remote.retry import RetryPolicy
from aero_browser_disk.streaming.layout_source import disk_version, file_version
from aero_browser_disk.streaming.streaming_disk import StreamingDisk
from aero_browser_disk.testing.behaviour import Behaviour
from aero_browser_disk.testing.image_server import ImageServer
from support.bgzip import bgzip
from support.qemu import MIB, needs_qemu, patchy_disk, qemu_img
from support.samples import IMAGE

Open = Callable[..., Coroutine[Any, Any, StreamingDisk]]
pytestmark = needs_qemu

FORMATS = {
    "qcow2": [],
    "qcow2 zlib": ["-c"],
    "qcow2 zstd": ["-c", "-o", "compression_type=zstd"],
    "qcow2 parts": ["-o", "extended_l2=on,cluster_size=16k"],
    "vmdk": [],
    "vmdk ova": ["-o", "subformat=streamOptimized"],
    "vdi": [],
    "vhdx": ["-o", "block_size=1M"],
    "vpc": ["-o", "subformat=dynamic,force_size=on"],
}


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 MiB, of which 8 MiB are never written."""
    path = patchy_disk(tmp_path_factory.mktemp("raw") / "disk.img", 4 * MIB)
    with path.open("r+b") as file:
        file.truncate(12 * MIB)
    return path


@pytest.fixture(scope="module")
def expected(raw: Path) -> bytes:
    return raw.read_bytes()


@pytest.fixture(scope="module")
def files(raw: Path) -> dict[str, Path]:
    made = {"raw": raw}
    for name, options in FORMATS.items():
        made[name] = raw.with_name(name.replace(" ", "-"))
        qemu_img("convert", "-f", "raw", "-O", name.split()[0], *options, raw, made[name])
    made["ova"] = raw.with_name("box.ova")
    with tarfile.open(made["ova"], "w", format=tarfile.USTAR_FORMAT) as archive:
        archive.addfile(tarfile.TarInfo("box.ovf"))
        archive.add(made["vmdk ova"], "box-disk1.vmdk")
    return made


@pytest.fixture
def formats(files: dict[str, Path]) -> Iterator[ImageServer]:
    """Serves the same disk in every format."""
    with ImageServer(files) as started:
        yield started


@pytest.fixture
async def open_url(platform: Platform) -> AsyncIterator[Open]:
    opened: list[StreamingDisk] = []

    async def opener(url: str, **options: Any) -> StreamingDisk:
        retry = RetryPolicy(tries=2, base_s=0.001, cap_s=0.01)
        defaults = {"allow_remote": True, "platform": platform, "retry": retry}
        disk = await open_disk(url, **{**defaults, **options})
        opened.append(disk)
        return disk

    yield opener
    for disk in opened:
        await disk.close()


def gets(server: ImageServer) -> int:
    return sum(request.method == "GET" for request in server.requests)


def sent(server: ImageServer) -> int:
    return sum(request.bytes_sent for request in server.requests)


@pytest.mark.parametrize("name", [*FORMATS, "ova"])
async def test_it_reads_as_the_raw_disk_does(formats, open_url: Open, expected: bytes, files, name):
    disk = await open_url(formats.url(name))
    assert disk.info.size == 12 * MIB
    for at in range(0, 12 * MIB, 777_777):
        length = min(777_777, 12 * MIB - at)
        assert await disk.read(at, length) == expected[at : at + length]
    assert sent(formats) < files[name].stat().st_size + MIB, "holes and zeros are not downloaded"
    formats.forget()
    assert await disk.read(3 * MIB, 5000) == expected[3 * MIB : 3 * MIB + 5000]
    assert gets(formats) == 0, "blocks are cached as the disk has them"


@pytest.mark.parametrize("is_compressed", [False, True])
async def test_what_is_around_compressed_data_comes_with_it(
    open_url: Open, tmp_path: Path, is_compressed: bool
):
    text, file = tmp_path / "text.img", tmp_path / "text.qcow2"
    text.write_bytes((b"a line of text\n" * MIB)[: 4 * MIB])
    qemu_img("convert", "-O", "qcow2", *(["-c"] if is_compressed else []), text, file)
    with ImageServer({"disk.qcow2": file}) as server:
        disk = await open_url(server.url("disk.qcow2"), read_ahead=False)
        await disk.read(0, 512)  # what kind of file it is shows at the first data
        await disk.read(2 * MIB + 5 * 16384, 512)
        first, count = 2 * MIB // 16384, (256 << 10) // 16384
        around = {*range(first, first + count)} - {first + 5}
        cached = {*disk.cached_blocks()}
        assert first + 5 in cached
        assert around & cached == (around if is_compressed else set())
        assert first + count not in cached
        await disk.close()


@settings(max_examples=40)
@given(st.data())
async def test_reads_in_any_order_and_at_once_are_those_of_the_raw_disk(expected, files, data):
    name = data.draw(st.sampled_from(sorted(files)))
    reads = data.draw(st.lists(st.tuples(st.integers(0, 4 * MIB), st.integers(1, 200_000))))
    size = data.draw(st.sampled_from([4096, 16384, 131072]))
    with ImageServer(files) as server, tempfile.TemporaryDirectory() as folder:
        made = cpython_platform(folder)
        url = server.url(name)
        disk = await open_disk(url, allow_remote=True, block_size=size, platform=made)
        done = await asyncio.gather(*(disk.read(offset, length) for offset, length in reads))
        assert done == [expected[offset : offset + length] for offset, length in reads]
        await disk.close()
        await made.http.close()


async def test_a_raw_image_opens_with_the_requests_that_it_took_before(server, open_url: Open):
    disk = await open_url(server.url("disk.img"))
    assert [r.method for r in server.requests] == ["HEAD", "GET"]
    assert sent(server) <= disk.info.block_size
    assert await disk.read(0, 100) == IMAGE.read(0, 100)
    assert gets(server) == 1


async def test_a_cache_is_reopened_without_the_tables(formats, open_url: Open, expected: bytes):
    disk = await open_url(formats.url("qcow2 zlib"))
    assert await disk.read(0, 4 * MIB) == expected[: 4 * MIB]
    version = disk.info.version
    await disk.close()
    formats.forget()
    again = await open_url(formats.url("qcow2 zlib"))
    assert again.info.version == version
    assert await again.read(MIB, 3 * MIB) == expected[MIB : 4 * MIB]
    assert gets(formats) == 0
    assert await again.read(5 * MIB, 100) == bytes(100), "and the rest is read by them"


async def test_cached_blocks_are_read_while_the_server_is_down(
    files, open_url: Open, expected: bytes
):
    with ImageServer(files) as server:
        url = server.url("qcow2")
        disk = await open_url(url)
        await disk.read(0, MIB)
        await disk.close()
    again = await open_url(url)
    assert "offline" in again.stats().notices
    assert await again.read(0, MIB) == expected[:MIB]


async def test_a_format_may_be_named(formats, open_url: Open, files):
    disk = await open_url(formats.url("qcow2"), format="raw")
    data = files["qcow2"].read_bytes()
    assert await disk.read(0, len(data)) == data
    await disk.close()
    disk = await open_url(formats.url("qcow2"), format="qcow2")
    assert disk.info.size == 12 * MIB
    with pytest.raises(InvalidOptionError, match="format"):
        await open_url(formats.url("qcow2"), format="nothing")
    with pytest.raises(DamagedImageError):
        await open_url(formats.url("qcow2"), format="vmdk", cache_key="other")


async def test_what_bgzip_compressed_is_read_with_its_index(
    formats, open_url: Open, expected: bytes, raw: Path, tmp_path: Path
):
    packed, index = bgzip(shutil.copy(raw, tmp_path / "disk.img"))
    formats.add("a b:disk.img.gz", packed)
    url = f"{formats.url('a b:disk.img.gz')}?key=7"
    with pytest.raises(UnsupportedImageError, match="bgzip -r"):
        await open_url(url)
    formats.add("a b:disk.img.gz.gzi", index)
    formats.forget()
    disk = await open_url(url, read_ahead=False)
    assert disk.info.size == 12 * MIB
    (asked,) = formats.image_requests("a b:disk.img.gz.gzi")
    assert asked.query == "key=7", "it may be a part of the right to read"
    assert await disk.read(3 * MIB, 5000) == expected[3 * MIB : 3 * MIB + 5000]
    assert await disk.read(0, 12 * MIB) == expected
    await disk.close()
    formats.forget()
    again = await open_url(url)
    assert await again.read(0, 12 * MIB) == expected
    assert not formats.image_requests("a b:disk.img.gz.gzi"), "all of it is cached"


async def test_an_index_of_another_file_is_an_error(
    formats, open_url: Open, raw: Path, files, tmp_path: Path
):
    packed, _ = bgzip(shutil.copy(raw, tmp_path / "disk.img"))
    _, index = bgzip(shutil.copy(files["qcow2"], tmp_path / "other.img"))
    formats.add("disk.img.gz", packed)
    formats.add("disk.img.gz.gzi", index)
    with pytest.raises(DamagedImageError):
        await (await open_url(formats.url("disk.img.gz"))).read(0, 12 * MIB)


async def test_what_cannot_be_read_in_the_middle_is_refused(server, open_url: Open):
    server.image("disk.img").replace(gzip.compress(random.Random(1).randbytes(100_000)))
    with pytest.raises(UnsupportedImageError, match="gunzip"):
        await open_url(server.url("disk.img"))
    server.image("disk.img").replace(b"<!doctype html><title>Sign in</title>" + b" " * 4000)
    with pytest.raises(UnsupportedImageError, match="web page"):
        await open_url(server.url("disk.img"))
    assert await (await open_url(server.url("disk.img"), format="raw")).read(0, 5) == b"<!doc"


async def test_an_overlay_stays_bound_to_the_format(formats, platform, expected: bytes):
    options: dict[str, Any] = {"allow_remote": True, "platform": platform, "overlay": "work"}
    disk = await open_disk(formats.url("qcow2"), **options)
    await disk.write(1000, b"written")
    await disk.close()
    with pytest.raises(BaseChangedError):
        await open_disk(formats.url("qcow2"), **options, format="raw")
    disk = await open_disk(formats.url("qcow2"), **options)
    assert await disk.read(998, 11) == expected[998:1000] + b"written" + (expected[1007:1009])
    await disk.close()


async def test_another_version_of_the_file_is_an_error_and_not_served(
    formats, open_url: Open, files
):
    disk = await open_url(formats.url("qcow2"), read_ahead=False)
    formats.image("qcow2").replace(files["qcow2 zlib"].read_bytes())
    with pytest.raises(ImageChangedError):
        await disk.read(4 * MIB - 512, 512)


async def test_damage_is_an_error_that_names_it_and_is_not_asked_for_again(
    formats, open_url: Open, files
):
    data = bytearray(files["qcow2 zlib"].read_bytes())
    found = await (await open_layout(BytesSource(bytes(data)))).segment(4 * MIB - 512, 4 * MIB)
    data[found.offset : found.offset + 8] = b"\xff" * 8
    formats.image("qcow2 zlib").replace(bytes(data))
    disk = await open_url(formats.url("qcow2 zlib"), read_ahead=False)
    formats.forget()
    with pytest.raises(DamagedImageError, match="QEMU disk"):
        await disk.read(4 * MIB - 512, 512)
    assert gets(formats) == 1


async def test_a_server_that_fails_for_a_while_is_asked_again(
    formats, open_url: Open, expected: bytes
):
    disk = await open_url(formats.url("vmdk ova"), read_ahead=False)
    formats.fail_next(Behaviour(status=503))
    assert await disk.read(2 * MIB, 4096) == expected[2 * MIB : 2 * MIB + 4096]


@given(
    st.sampled_from(["qcow2", "vhd-dynamic", "zstd-seekable"]),
    st.integers(1, 1 << 53),
    st.sampled_from(['"a"', '"qcow2 1 x"', "Mon, 01 Jan 2024 10:00:00 GMT", '"é ü"']),
)
def test_the_version_of_a_disk_names_the_file_and_the_format(name, size, validator):
    file = ImageVersion(size, validator)
    disk = disk_version(name, 512, file)
    assert disk.size == 512
    assert file_version(StoredImage(512, disk.validator, 4096)) == (name, file)
    assert file_version(StoredImage(size, validator, 4096)) == ("raw", file)
    assert disk_version("raw", size, file) == file
    assert not disk_version(name, 512, ImageVersion(size, "")).validator
