"""Image files of this machine, opened where they are."""

from __future__ import annotations

import pytest

from aero_browser_disk import errors, open_disk
from aero_browser_disk.formats.local_file import open_source_disk
from aero_browser_disk.open_disk import user_file_base
from aero_browser_disk.platform.byte_source import BytesSource, SourceIdentity
from support.qemu import MIB, needs_qemu, patchy_disk, qemu_img

SIZE = 4 * MIB


@pytest.fixture
def raw(tmp_path):
    path = tmp_path / "disk.img"
    patchy_disk(path, SIZE)
    return path


async def test_a_raw_file_is_read_in_place(raw, platform):
    async with open_disk(path=raw, platform=platform) as disk:
        assert await disk.read(0, SIZE) == raw.read_bytes()
        with pytest.raises(errors.ReadOnlyError):
            await disk.write(0, b"x")


@needs_qemu
@pytest.mark.parametrize("kind", ["qcow2", "vmdk", "vdi", "vhdx", "vpc"])
async def test_other_formats_are_read_in_place(raw, kind, platform, tmp_path):
    packed = tmp_path / f"disk.{kind}"
    qemu_img("convert", "-q", "-f", "raw", "-O", kind, str(raw), str(packed))
    async with open_disk(path=packed, platform=platform) as disk:
        assert (await disk.read(0, disk.info.size))[:SIZE] == raw.read_bytes()
    async with open_disk(path=packed, format="raw", platform=platform) as disk:
        assert await disk.read(0, disk.info.size) == packed.read_bytes()


async def test_writes_go_to_an_overlay_and_the_file_stays(raw, platform):
    before = raw.read_bytes()
    async with open_disk(path=raw, overlay="work", platform=platform) as disk:
        await disk.write(1000, b"mine")
    async with open_disk(path=str(raw), overlay="work", platform=platform) as disk:
        assert await disk.read(998, 8) == before[998:1000] + b"mine" + before[1004:1006]
    assert raw.read_bytes() == before


async def test_an_overlay_is_refused_once_the_file_has_changed(raw, platform):
    async with open_disk(path=raw, overlay="work", platform=platform) as disk:
        await disk.write(0, b"mine")
    raw.write_bytes(bytes(SIZE))
    with pytest.raises(errors.BaseChangedError):
        await open_disk(path=raw, overlay="work", platform=platform)


async def test_what_cannot_be_opened_says_so(tmp_path, platform):
    with pytest.raises(errors.UnreadableImageError):
        await open_disk(path=tmp_path / "missing.img", platform=platform)
    (tmp_path / "empty.img").touch()
    with pytest.raises(errors.EmptyImageError):
        await open_disk(path=tmp_path / "empty.img", platform=platform)
    (tmp_path / "note.html").write_text("<!doctype html><html></html>")
    with pytest.raises(errors.UnsupportedImageError):
        await open_disk(path=tmp_path / "note.html", platform=platform)
    with pytest.raises(errors.InvalidOptionError):
        await open_disk(path=tmp_path, allow_remote=True, platform=platform)
    with pytest.raises(errors.InvalidOptionError):
        await open_disk(path=tmp_path / "note.html", format="nonsense", platform=platform)


# ── what a page was given ─────────────────────────────────────────────────────────────────────────


def of_page(data: bytes, name: str = "disk.img", modified: str = "1700000000000"):
    return BytesSource(data), SourceIdentity(name, len(data), modified)


async def test_the_version_of_a_file_is_its_size_and_the_time_of_its_last_change(raw):
    data = raw.read_bytes()
    files = [of_page(data), of_page(data, modified="1700000000001"), of_page(data[:-512])]
    disks = [await open_source_disk(*file) for file in files]
    assert len({disk.info.version for disk in disks}) == 3
    again = await open_source_disk(*of_page(data, name="renamed.img"))
    assert again.info.version == disks[0].info.version
    assert await again.read(1000, 5000) == data[1000:6000]
    for disk in [*disks, again]:
        await disk.close()


@needs_qemu
async def test_a_format_is_part_of_the_version(raw, tmp_path):
    packed = tmp_path / "disk.qcow2"
    qemu_img("convert", "-q", "-f", "raw", "-O", "qcow2", str(raw), str(packed))
    file = of_page(packed.read_bytes())
    found, as_it_is = await open_source_disk(*file), await open_source_disk(*file, "raw")
    assert await found.read(0, SIZE) == raw.read_bytes()
    assert await as_it_is.read(0, 4) == b"QFI\xfb"
    assert found.info.version != as_it_is.info.version
    await found.close()
    await as_it_is.close()


async def test_a_cd_has_sectors_of_2048_bytes():
    cd = bytearray(64 * 2048)
    cd[16 * 2048 : 16 * 2048 + 6] = b"\x01CD001"
    cd[17 * 2048 : 17 * 2048 + 6] = b"\xffCD001"
    disk = await open_source_disk(*of_page(bytes(cd), "cd.iso"))
    assert disk.info.sector_size == 2048
    await disk.close()


async def test_files_of_a_page_are_told_by_their_names():
    (_, first), (_, later), (_, other) = (
        of_page(b"x"),
        of_page(b"y", modified="1"),
        of_page(b"", "b"),
    )
    assert user_file_base(first) == user_file_base(later) != user_file_base(other)


async def test_what_no_page_gave_is_refused(tmp_path, platform):
    for file in (b"bytes", "disk.img", tmp_path):
        with pytest.raises(errors.InvalidOptionError, match="file"):
            await open_disk(file=file, platform=platform)
    with pytest.raises(errors.EmptyImageError):
        await open_source_disk(*of_page(b""))


async def test_only_one_thing_is_opened(raw, platform):
    for given in ({"url": "https://x.example/"}, {"path": raw}, {"file": b""}):
        with pytest.raises(errors.InvalidOptionError, match="left out"):
            await open_disk(**given, image="local", platform=platform)
    with pytest.raises(errors.InvalidOptionError, match="left out"):
        await open_disk(path=raw, file=b"", platform=platform)
    with pytest.raises(errors.InvalidOptionError, match="left out"):
        await open_disk("https://x.example/", file=b"", platform=platform)
