"""The disk of a virtual appliance is read out of its archive, as the VMDK alone is."""

from __future__ import annotations

import io
import random
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aero_browser_disk.errors import DamagedImageError, DiskError, UnsupportedImageError
from aero_browser_disk.formats import open_layout
from aero_browser_disk.formats.image_format import OVA
from aero_browser_disk.formats.layout import LayoutReader
from aero_browser_disk.formats.recognition import recognise
from aero_browser_disk.platform.byte_source import BytesSource
from support.qemu import MIB, needs_qemu, patchy_disk, qemu_img

DESCRIPTION = b"<?xml version='1.0'?><Envelope/>"


def archive(files: Mapping[str, bytes], form: int = tarfile.USTAR_FORMAT) -> bytes:
    """A tar archive with these files, in order."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=form) as tar:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return made.getvalue()


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = patchy_disk(tmp_path_factory.mktemp("ova") / "disk.img", 3 * MIB)
    return path.read_bytes()


@pytest.fixture(scope="module", params=["streamOptimized", "monolithicSparse"])
def vmdk(raw: bytes, tmp_path_factory: pytest.TempPathFactory, request) -> bytes:
    folder: Path = tmp_path_factory.mktemp("vmdk")
    (folder / "disk.img").write_bytes(raw)
    options = ["-o", f"subformat={request.param}"]
    qemu_img("convert", "-f", "raw", "-O", "vmdk", *options, folder / "disk.img", folder / "made")
    return (folder / "made").read_bytes()


@needs_qemu
@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT], ids=["ustar", "gnu"])
async def test_it_reads_as_the_raw_disk_does(raw: bytes, vmdk: bytes, form: int):
    files = {"box.ovf": DESCRIPTION, "box-disk1.vmdk": vmdk, "box.mf": b"SHA256(box.ovf)= 00"}
    source = BytesSource(archive(files, form))
    layout = await open_layout(source)
    assert layout.format is OVA
    assert layout.size == len(raw)
    reader = LayoutReader(layout)
    assert await reader.read(0, len(raw)) == raw
    chance = random.Random(2)
    for _ in range(40):
        offset = chance.randrange(len(raw))
        length = min(chance.randrange(1, 300_000), len(raw) - offset)
        assert await reader.read(offset, length) == raw[offset : offset + length]


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"box.ovf": DESCRIPTION}, "no VMDK disk"),
        ({"box.ovf": DESCRIPTION, "a.vmdk": b"a", "b.vmdk": b"b"}, "2 disks"),
        ({"box.ovf": DESCRIPTION, **{f"{n}": b"" for n in range(100)}}, "too many files"),
    ],
)
async def test_what_has_not_one_disk_is_refused(files: dict[str, bytes], said: str):
    with pytest.raises(UnsupportedImageError, match=said):
        await open_layout(BytesSource(archive(files)))


def test_another_archive_is_none():
    assert recognise(archive({"box.ovf": DESCRIPTION})) is OVA
    for files in ({"disk.vmdk": b"KDMV"}, {"notes.txt": b"", "box.ovf": DESCRIPTION}):
        assert recognise(archive(files)).name == "tar"


async def test_one_that_is_cut_or_spoilt_is_damaged():
    data = archive({"box.ovf": DESCRIPTION, "disk.vmdk": bytes(100_000)})
    for wrong in (data[:50_000], data[:1024] + b"\xff" * 512 + data[1536:]):
        with pytest.raises(DamagedImageError):
            await open_layout(BytesSource(wrong))


@given(st.lists(st.tuples(st.integers(0, 1535), st.binary(min_size=1, max_size=12)), max_size=4))
async def test_spoilt_headers_are_errors(changes: list[tuple[int, bytes]]):
    data = bytearray(archive({"box.ovf": DESCRIPTION, "disk.vmdk": bytes(2000)}))
    for offset, wrong in changes:
        data[offset : offset + len(wrong)] = wrong
    with pytest.raises(DiskError):
        await open_layout(BytesSource(bytes(data)), format="ova")
