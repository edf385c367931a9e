"""qcow2 and VHD are read as QEMU reads them, and what is not right about them is said."""

from __future__ import annotations

import random
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aero_browser_disk.errors import (
    DamagedImageError,
    DiskClosedError,
    DiskError,
    OutOfRangeError,
    ReadOnlyError,
    UnsupportedImageError,
)
from aero_browser_disk.formats.qcow2 import Qcow2Disk
from aero_browser_disk.formats.vhd import open_vhd
from aero_browser_disk.formats.virtual_disk import VirtualDiskReader
from aero_browser_disk.platform.byte_source import BytesSource, PathSource
from support.qemu import MIB, needs_qemu, patchy_disk, qemu_img, qemu_io
from support.vhd_files import vhd_dynamic, vhd_footer

QCOW2_OPTIONS = [
    [],
    ["-o", "compat=0.10"],
    ["-o", "cluster_size=512"],
    ["-o", "cluster_size=2M"],
    ["-c"],
    ["-c", "-o", "cluster_size=4k"],
    ["-c", "-o", "compression_type=zstd"],
    ["-c", "-o", "compression_type=zstd,cluster_size=2M"],
    ["-o", "preallocation=metadata"],
    ["-o", "lazy_refcounts=on"],
]
VHD_OPTIONS = [
    ["-o", "subformat=dynamic,force_size=on"],
    ["-o", "subformat=dynamic"],
    ["-o", "subformat=fixed,force_size=on"],
]


async def whole(disk, step=777_777):
    parts = [await disk.read(at, min(step, disk.size - at)) for at in range(0, disk.size, step)]
    return b"".join(parts)


async def by_ranges(disk):
    """All of it, only what the ranges name being read."""
    data = bytearray(disk.size)
    end = -1
    async for found in disk.data_ranges():
        assert end < found.start, "in order, and never two that touch"
        end = found.stop
        data[found.start : found.stop] = await disk.read(found.start, found.length)
    return bytes(data)


async def check(disk, raw: bytes):
    assert disk.size == len(raw)
    assert await whole(disk) == raw
    assert await by_ranges(disk) == raw
    chance = random.Random(3)
    for _ in range(50):
        offset = chance.randrange(disk.size)
        length = min(chance.choice([1, 512, 5000, 200_000]), disk.size - offset)
        assert await disk.read(offset, length) == raw[offset : offset + length]


@needs_qemu
@pytest.mark.parametrize("options", QCOW2_OPTIONS, ids=" ".join)
async def test_qcow2_as_qemu_makes_it(tmp_path: Path, options):
    raw = patchy_disk(tmp_path / "disk.img", 6 * MIB - 512 * 7)
    made = tmp_path / "disk.qcow2"
    qemu_img("convert", "-f", "raw", "-O", "qcow2", *options, raw, made)
    with PathSource(made) as source:
        await check(await Qcow2Disk.open(source), raw.read_bytes())


@needs_qemu
async def test_qcow2_as_a_guest_leaves_it(tmp_path: Path):
    made, raw = tmp_path / "disk.qcow2", tmp_path / "disk.img"
    qemu_img("create", "-f", "qcow2", made, 8 * MIB + 512)
    qemu_io(
        made,
        "qcow2",
        "write -P 1 0 1M",
        "write -P 2 3000k 3k",
        "write -z 256k 128k",
        "discard 512k 64k",
        "write -P 3 8M 512",  # the last cluster, of which the file holds only a part
    )
    qemu_img("snapshot", "-c", "before", made)
    qemu_io(made, "qcow2", "write -P 9 0 64k")
    qemu_img("convert", "-f", "qcow2", "-O", "raw", made, raw)
    with PathSource(made) as source:
        await check(await Qcow2Disk.open(source), raw.read_bytes())


@needs_qemu
@pytest.mark.parametrize("options", VHD_OPTIONS, ids=" ".join)
async def test_vhd_as_qemu_makes_it(tmp_path: Path, options):
    made, raw = tmp_path / "disk.vhd", tmp_path / "disk.img"
    source_disk = patchy_disk(tmp_path / "source.img", 6 * MIB + 512)
    qemu_img("convert", "-f", "raw", "-O", "vpc", *options, source_disk, made)
    qemu_img("convert", "-f", "vpc", "-O", "raw", made, raw)
    assert raw.read_bytes().startswith(source_disk.read_bytes())
    with PathSource(made) as source:
        await check(await open_vhd(source), raw.read_bytes())


@needs_qemu
@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["-b", "base.qcow2", "-F", "qcow2"], "backing file"),
        # Not LUKS: making one measures processor time, which fails on a busy machine.
        (["-o", "encrypt.format=aes,encrypt.key-secret=s"], "encrypted"),
        (["-o", "data_file=data.raw"], "data is in another file"),
        (["-o", "extended_l2=on"], "extended L2"),
    ],
    ids=["backing", "encrypted", "data-file", "extended"],
)
async def test_a_qcow2_that_needs_more_than_itself_is_refused(
    tmp_path: Path, monkeypatch, options, words
):
    monkeypatch.chdir(tmp_path)
    qemu_img("create", "-f", "qcow2", "base.qcow2", "1M")
    secret = ["--object", "secret,id=s,data=hidden"]
    qemu_img("create", *secret, "-f", "qcow2", *options, "disk.qcow2", "1M")
    with PathSource("disk.qcow2") as source, pytest.raises(UnsupportedImageError, match=words):
        await Qcow2Disk.open(source)


# ── made by hand ──────────────────────────────────────────────────────────────────────────────────

CLUSTER = 512


def qcow2(
    *,
    version=3,
    size=4 * CLUSTER,
    cluster_bits=9,
    features=0,
    l1_size=1,
    l1_offset=CLUSTER,
    l1=2 * CLUSTER,
    l2=(),
    clusters=b"",
    header_length=104,
    encryption=0,
    backing=0,
) -> bytes:
    """A small qcow2: header, first table, one second table, data; a cluster each."""
    head = struct.pack(
        ">4sIQIIQIIQQIIQ",
        b"QFI\xfb", version, backing, 0, cluster_bits, size, encryption, l1_size, l1_offset,
        0, 0, 0, 0,
    )  # fmt: skip
    if version > 2:
        head += struct.pack(">QQQII", features, 0, 0, 4, header_length)
    head = head.ljust(CLUSTER, b"\0")
    table = struct.pack(f">{len(l2)}Q", *l2).ljust(CLUSTER, b"\0")
    return head + struct.pack(">Q", l1).ljust(CLUSTER, b"\0") + table + clusters


async def open_qcow2(data: bytes) -> Qcow2Disk:
    return await Qcow2Disk.open(BytesSource(data))


async def test_a_qcow2_by_hand():
    clusters = bytes([1]) * CLUSTER + bytes([2]) * CLUSTER
    disk = await open_qcow2(
        qcow2(l2=[4 * CLUSTER, 0, 3 * CLUSTER | 1, 3 * CLUSTER], clusters=clusters)
    )
    expected = bytes([2]) * CLUSTER + bytes(2 * CLUSTER) + bytes([1]) * CLUSTER
    await check(disk, expected)
    assert [r async for r in disk.data_ranges()] != []


@pytest.mark.parametrize(
    "wrong",
    [
        {"version": 4},
        {"cluster_bits": 8},
        {"cluster_bits": 22},
        {"cluster_bits": 0xFFFFFFFF},
        {"size": 513},
        {"size": (1 << 64) - 512},
        {"size": 1 << 40},
        {"l1_size": 0},
        {"l1_size": 0xFFFFFFFF},
        {"l1_offset": 1},
        {"l1_offset": 1 << 62},
        {"header_length": 96},
        {"header_length": 105},
    ],
    ids=str,
)
async def test_a_qcow2_header_that_cannot_be_is_damaged(wrong):
    with pytest.raises(DamagedImageError):
        await open_qcow2(qcow2(**wrong))


@pytest.mark.parametrize("features", [1, 2, 4, 16, 32, 1 << 63])
async def test_a_qcow2_with_features_that_are_not_read_is_refused(features):
    with pytest.raises(UnsupportedImageError):
        await open_qcow2(qcow2(features=features))


@pytest.mark.parametrize(
    "wrong",
    [
        {"l1": 1 << 50},  # past the end
        {"l1": 3 * CLUSTER},  # and the second table is not there
        {"l2": [99 * CLUSTER]},
        {"l2": [(1 << 56) - 512]},
        {"l2": [1 << 62 | (1 << 61) - 1]},  # compressed, far past the end
        {"l2": [1 << 62 | 3 * CLUSTER], "clusters": b"\xff" * CLUSTER},  # not deflate
        {"l2": [1 << 62 | 3 * CLUSTER], "clusters": bytes([3, 0])},  # deflate of nothing
        {"l2": [1], "version": 2},
    ],
    ids=range(8),
)
async def test_a_qcow2_whose_tables_lead_astray_is_damaged(wrong):
    disk = await open_qcow2(qcow2(**wrong))
    for use in (by_ranges, whole):
        with pytest.raises(DamagedImageError):
            await use(disk)


async def test_a_truncated_qcow2_says_so():
    data = qcow2(l2=[3 * CLUSTER], clusters=bytes([1]) * CLUSTER)
    for length in range(0, CLUSTER + 8, 40):
        with pytest.raises(DamagedImageError):
            await open_qcow2(data[:length])
    for length in (2 * CLUSTER, 3 * CLUSTER - 1, 4 * CLUSTER - 1):
        disk = await open_qcow2(data[:length])
        with pytest.raises(DamagedImageError, match="file has"):
            await whole(disk)


async def test_a_dynamic_vhd_by_hand_has_zeros_where_nothing_was_written():
    bitmap = bytes([0b1010_0000]).ljust(512, b"\0")
    data = bitmap + bytes([7]) * 4096
    disk = await open_vhd(BytesSource(vhd_dynamic(table=[0xFFFFFFFF, 4], data=data)))
    block = bytes([7]) * 512 + bytes(512) + bytes([7]) * 512 + bytes(5 * 512)
    await check(disk, bytes(4096) + block + bytes(4096))
    assert [(r.start, r.stop) async for r in disk.data_ranges()] == [(4096, 8192)]


async def test_the_footer_may_be_found_in_front_or_a_byte_short():
    for data in (vhd_dynamic()[:-1], vhd_dynamic()[:-512] + bytes(512), vhd_dynamic()[:-512]):
        assert (await open_vhd(BytesSource(data))).size == 4096 * 3


@pytest.mark.parametrize(
    "data",
    [
        bytes(512),
        vhd_footer(),  # without its disk
        bytes(8192) + vhd_footer()[:100] + b"x" + vhd_footer()[101:],  # a wrong checksum
        bytes(8192) + vhd_footer(kind=9),
        bytes(8192) + vhd_footer(size=0),
        bytes(8192) + vhd_footer(size=100),
        bytes(8192) + vhd_footer(size=(1 << 64) - 512),
        bytes(8192) + vhd_footer(kind=3, data_offset=1 << 63),
        bytes(8192) + vhd_footer(kind=3, data_offset=0),
        vhd_dynamic(block_size=0),
        vhd_dynamic(block_size=4097),
        vhd_dynamic(block_size=1 << 31),
        vhd_dynamic(blocks=2),
        vhd_dynamic(size=1 << 50, blocks=0xFFFFFFFF),
        vhd_dynamic(table_offset=1 << 63),
    ],
    ids=range(15),
)
async def test_a_vhd_that_cannot_be_is_damaged(data):
    with pytest.raises(DamagedImageError):
        await open_vhd(BytesSource(data))


@pytest.mark.parametrize("sector", [5, 0xFFFFFFFE, 1 << 31])
async def test_a_vhd_whose_table_leads_astray_is_damaged(sector):
    disk = await open_vhd(BytesSource(vhd_dynamic(table=[sector])))
    with pytest.raises(DamagedImageError):
        await disk.read(0, 512)


async def test_a_differencing_vhd_is_refused():
    with pytest.raises(UnsupportedImageError, match="differs from another disk"):
        await open_vhd(BytesSource(bytes(8192) + vhd_footer(kind=4)))


@given(st.data())
async def test_no_damage_leads_to_anything_but_an_error_or_bytes(data):
    files = [
        qcow2(l2=[3 * CLUSTER, 1 << 62 | 4 * CLUSTER], clusters=bytes([1]) * CLUSTER * 2),
        vhd_dynamic(table=[4], data=bytes([255]) * 4608),
        bytes(8192) + vhd_footer(),
    ]
    index = data.draw(st.integers(0, 2))
    damaged = bytearray(files[index])
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        source = BytesSource(bytes(damaged))
        disk = await (Qcow2Disk.open if index == 0 else open_vhd)(source)
        async for found in disk.data_ranges():
            length = min(found.length, 1 << 16)
            assert len(await disk.read(found.start, length)) == length
    except DiskError:
        return


async def test_it_reads_as_a_disk():
    clusters = bytes([1]) * CLUSTER
    disk = VirtualDiskReader(await open_qcow2(qcow2(l2=[3 * CLUSTER], clusters=clusters)), "v1")
    assert disk.info.size == 4 * CLUSTER
    assert disk.info.read_only
    target = bytearray(3)
    await disk.read_into(CLUSTER - 2, target)
    assert target == b"\1\1\0"
    for write in (disk.write(0, b"x"), disk.discard(0, 512)):
        with pytest.raises(ReadOnlyError):
            await write
    with pytest.raises(OutOfRangeError):
        await disk.read(4 * CLUSTER, 1)
    await disk.close()
    with pytest.raises(DiskClosedError):
        await disk.read(0, 1)
