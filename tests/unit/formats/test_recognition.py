"""A file is known by its bytes, whatever its name says."""

from __future__ import annotations

import bz2
import gzip
import lzma
import random
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aero_browser_disk.formats import recognition
from aero_browser_disk.formats.recognition import HEAD_LENGTH, TAIL_LENGTH, recognise
from support.qemu import needs_qemu, qemu_img
from support.vhd_files import vhd_footer


def of_file(path: Path):
    data = path.read_bytes()
    return recognise(data[:HEAD_LENGTH], data[-TAIL_LENGTH:], len(data))


def at(offset: int, magic: bytes) -> bytes:
    return bytes(offset) + magic + bytes(512)


@needs_qemu
@pytest.mark.parametrize(
    ("qemu_name", "options", "name", "treatment"),
    [
        ("raw", [], "raw", "raw"),
        ("qcow2", [], "qcow2", "convert"),
        ("qcow2", ["-o", "compat=0.10"], "qcow2", "convert"),
        ("qcow", [], "qcow", "refuse"),
        ("qed", [], "qed", "refuse"),
        ("vpc", ["-o", "subformat=fixed"], "vhd-fixed", "convert"),
        ("vpc", ["-o", "subformat=dynamic"], "vhd-dynamic", "convert"),
        ("vhdx", [], "vhdx", "convert"),
        ("vdi", [], "vdi", "convert"),
        ("vmdk", [], "vmdk", "convert"),
        ("vmdk", ["-o", "subformat=monolithicFlat"], "vmdk-descriptor", "refuse"),
        ("parallels", [], "parallels", "refuse"),
    ],
)
def test_what_qemu_makes_is_known(tmp_path: Path, qemu_name, options, name, treatment):
    made = tmp_path / "disk"
    qemu_img("create", "-f", qemu_name, *options, made, "2M")
    found = of_file(made)
    assert (found.name, found.treatment) == (name, treatment)


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"", "empty"),
        (gzip.compress(b"x", mtime=0), "gzip"),
        (lzma.compress(b"x"), "xz"),
        (bz2.compress(b"x"), "bzip2"),
        (bz2.compress(b""), "bzip2"),
        (b"\x28\xb5\x2f\xfd" + bytes(20), "zstd"),
        (b"\x5a\x2a\x4d\x18" + bytes(20), "zstd"),
        (b"PK\3\4" + bytes(20), "zip"),
        (b"7z\xbc\xaf\x27\x1c", "7z"),
        (at(257, b"ustar\x0000"), "tar"),
        (b"\n <!DOCTYPE html>\n<html>", "html"),
        (b"\xef\xbb\xbf<html lang=en>", "html"),
        (b'<?xml version="1.0"?><!DOCTYPE html><html>', "html"),
        (b'<?xml version="1.0"?><Error><Code>AccessDenied', "xml"),
        (b'{"error": "not found"}', "json"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:", "git-lfs"),
        (at(32769, b"CD001\1"), "iso9660"),
        (at(32769, b"NSR02\1"), "udf"),
        (bytes(600) + b"koly" + bytes(508), "dmg"),
        (b"EVF\t\r\n\xff\0", "ewf"),
        (b"QFI\xfb\0\0\0\x09", "qcow"),
        (b"\x7fELF", "elf"),
        (b"\x89PNG\r\n\x1a\n" + bytes(8), "png"),
        (b"\xff\xd8\xff\xe0", "jpeg"),
        (b"\0\0\0\x18ftypisom", "mp4"),
        (b"RIFF\0\0\0\0WAVE", "riff"),
        (b"Dear disk,\r\nyou are none.\r\n", "text"),
        ("Straße nach Köln\n".encode() * 8001, "text"),
        (b"a line\n".ljust(511, b"-") + b"\n", "raw"),  # the size of a disk
        (("ä" * 70_000 + "\n").encode()[1:], "raw"),  # begins in the middle of a character
        ("a\n".encode("utf-16") + "ä".encode("utf-16-le"), "text"),
        (b"a line\n" + bytes(505), "raw"),  # text at the begin of a disk
        (b"boot" * 128, "raw"),
    ],
)
def test_files_by_their_magic(data, name):
    assert recognise(data[:HEAD_LENGTH], data[-TAIL_LENGTH:], len(data)).name == name


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (at(510, b"\x55\xaa"), "MBR"),
        (at(510, b"\x55\xaaEFI PART"), "GPT"),
        (at(4096, b"EFI PART"), "GPT"),
        (bytes(3) + b"NTFS    " + bytes(499) + b"\x55\xaa", "NTFS"),
        (bytes(54) + b"FAT16   " + bytes(448) + b"\x55\xaa", "FAT"),
        (bytes(82) + b"FAT32   " + bytes(420) + b"\x55\xaa", "FAT"),
        (at(1080, b"\x53\xef"), "ext"),
        (b"XFSB", "XFS"),
        (b"hsqs", "SquashFS"),
        (b"LUKS\xba\xbe", "LUKS"),
        (bytes(4096), "without"),
        (b"\x55", "without"),
    ],
)
def test_raw_disks_are_told_apart(head, words):
    found = recognise(head)
    assert found.name == "raw"
    assert found.is_streamable
    assert words in found.title


def test_a_hybrid_image_of_a_cd_is_a_cd():
    head = bytearray(HEAD_LENGTH)
    head[32769:32774] = b"CD001"
    assert not recognise(bytes(head)).is_hybrid
    head[510:512] = b"\x55\xaa"
    assert not recognise(bytes(head)).is_hybrid  # no partition in the table
    head[450] = 0x17
    head[458:462] = (4096).to_bytes(4, "little")
    assert recognise(bytes(head)).is_hybrid
    assert recognise(bytes(head)).treatment == "cd"


@pytest.mark.skipif(not shutil.which("zstd"), reason="zstd is not there")
def test_a_file_of_the_zstd_command(tmp_path: Path):
    (tmp_path / "a").write_bytes(b"x" * 1000)
    subprocess.run(["zstd", "-q", tmp_path / "a"], check=True)
    assert of_file(tmp_path / "a.zst").name == "zstd"


def test_a_fixed_vhd_is_known_by_its_end_alone():
    footer = vhd_footer(2, size=1024)
    disk = at(510, b"\x55\xaa")[:1024]
    assert recognise(disk, disk[-512:] + footer, 1536).name == "vhd-fixed"
    assert recognise(disk, disk[-513:] + footer[:511], 1535).name == "vhd-fixed"
    assert recognise(disk, vhd_footer(kind=4), 1536).name == "raw"  # these have a copy in front
    assert recognise(vhd_footer(kind=4) + disk, vhd_footer(kind=4)).treatment == "refuse"
    assert recognise(disk, vhd_footer(kind=77), 1536).name == "raw"


@needs_qemu
@pytest.mark.parametrize("kind", ["qcow2", "vpc", "vhdx", "vdi", "vmdk"])
def test_a_raw_disk_is_only_another_format_when_the_whole_header_is_valid(tmp_path: Path, kind):
    """What a guest, or chance, wrote to the begin of a raw disk: right magic, some field wrong."""
    made = tmp_path / "disk"
    qemu_img("create", "-f", kind, made, "2M")
    head = made.read_bytes()[:HEAD_LENGTH]
    assert recognise(head, b"", 1 << 30).treatment == "convert"
    magic = slice(0, 8) if kind != "vdi" else slice(64, 68)
    alone = bytearray(len(head))
    alone[magic] = head[magic]
    noise = bytearray(random.Random(kind).randbytes(len(head)))
    noise[magic] = head[magic]
    for data in (alone, noise):
        found = recognise(bytes(data), b"", 1 << 30)
        assert found.treatment == "refuse", found
        assert "no valid header" in found.title
        data[510:512] = b"\x55\xaa"
        found = recognise(bytes(data), b"", 1 << 30)
        assert (found.treatment, "MBR" in found.title) == ("raw", True)


@given(st.binary(max_size=2000), st.binary(max_size=1024))
def test_any_bytes_are_something_that_can_be_told(head, tail):
    found = recognise(head, tail)
    assert found.title
    assert found.advice.endswith((".", "img", "disk", ")", "FILE", "unlz4", "-d"))
    assert found.is_importable or found.treatment == "refuse"


def test_every_title_reads_on_from_this_is():
    formats = [f for f in vars(recognition).values() if isinstance(f, recognition.ImageFormat)]
    formats += [entry[2] for entry in recognition._MAGIC]
    assert len(formats) > 40
    for found in formats:
        assert found.title.split()[0] in {"a", "an", "the", "raw"}, found.title
