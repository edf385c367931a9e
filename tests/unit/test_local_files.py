"""Image files of this machine, opened where they are."""

from __future__ import annotations

import pytest

from aero_browser_disk import errors, open_disk
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
