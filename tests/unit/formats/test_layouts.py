"""Disks in files are read as QEMU reads them, and what is not right about them is said."""

from __future__ import annotations

import contextlib
import struct
import tracemalloc
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
from aero_browser_disk.formats.layout import LayoutReader, data_ranges, segments
from aero_browser_disk.formats.layout_disk import LayoutDisk
from aero_browser_disk.formats.opening import open_layout
from aero_browser_disk.formats.qcow2 import Qcow2Layout
from aero_browser_disk.formats.vhd import open_vhd
from aero_browser_disk.platform.byte_source import BytesSource, PathSource
from support.layouts import CountingSource, by_ranges, check, check_segments, whole
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
    ["-o", "extended_l2=on,cluster_size=16k"],
    ["-o", "extended_l2=on"],
    ["-c", "-o", "extended_l2=on"],
]
OTHER_OPTIONS = [
    ("vpc", ["-o", "subformat=dynamic,force_size=on"]),
    ("vpc", ["-o", "subformat=dynamic"]),
    ("vpc", ["-o", "subformat=fixed,force_size=on"]),
    ("vhdx", []),
    ("vhdx", ["-o", "subformat=fixed"]),
    ("vhdx", ["-o", "block_size=1M"]),
    ("vmdk", []),
    ("vmdk", ["-o", "zeroed_grain=on"]),
    ("vmdk", ["-o", "subformat=streamOptimized"]),
    ("vdi", []),
    ("vdi", ["-o", "static=on"]),
]


@needs_qemu
@pytest.mark.parametrize("options", QCOW2_OPTIONS, ids=" ".join)
async def test_qcow2_as_qemu_makes_it(tmp_path: Path, options):
    raw = patchy_disk(tmp_path / "disk.img", 6 * MIB - 512 * 7)
    made = tmp_path / "disk.qcow2"
    qemu_img("convert", "-f", "raw", "-O", "qcow2", *options, raw, made)
    with PathSource(made) as source:
        await check(await Qcow2Layout.open(source), raw.read_bytes())


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
        await check(await Qcow2Layout.open(source), raw.read_bytes())


@needs_qemu
@pytest.mark.parametrize(("kind", "options"), OTHER_OPTIONS, ids=str)
async def test_another_format_as_qemu_makes_it(tmp_path: Path, kind, options):
    made, raw = tmp_path / "disk", tmp_path / "disk.img"
    source_disk = patchy_disk(tmp_path / "source.img", 6 * MIB + 512)
    qemu_img("convert", "-f", "raw", "-O", kind, *options, source_disk, made)
    qemu_img("convert", "-f", kind, "-O", "raw", made, raw)
    assert raw.read_bytes().startswith(source_disk.read_bytes())
    with PathSource(made) as source:
        await check(await open_layout(source), raw.read_bytes())


@needs_qemu
@pytest.mark.parametrize("kind", ["vpc", "vhdx", "vmdk", "vdi"])
async def test_another_format_as_a_guest_leaves_it(tmp_path: Path, kind):
    made, raw = tmp_path / "disk", tmp_path / "disk.img"
    qemu_img("create", "-f", kind, made, "40M")
    writes = ["write -P 1 30M 3M", "write -P 2 0 1k", "write -P 3 20M 512", "write -P 4 12345k 70k"]
    qemu_io(made, kind, *writes)
    if kind != "vpc":
        qemu_io(made, kind, "write -z 31M 1M")
    qemu_img("convert", "-f", kind, "-O", "raw", made, raw)
    with PathSource(made) as source:
        await check(await open_layout(source), raw.read_bytes())


@needs_qemu
@pytest.mark.parametrize("options", ["", "extended_l2=on,", "compat=0.10,"])
async def test_a_qcow2_over_a_backing_file_that_is_named(tmp_path: Path, options):
    """As a guest leaves it: parts of clusters written, zeros over data, a base that is shorter."""
    base, made, raw = tmp_path / "base", tmp_path / "disk.qcow2", tmp_path / "disk.img"
    qemu_img("convert", "-O", "qcow2", "-c", patchy_disk(tmp_path / "base.img", 3 * MIB), base)
    qemu_img("create", "-f", "qcow2", "-o", f"{options}cluster_size=16k", "-b", base, "-F", "qcow2",
             made, "4M")  # fmt: skip
    qemu_io(made, "qcow2", "write -P 1 1M 1k", "write -P 2 2000k 33k", "write -P 3 3500k 512")
    if not options.startswith("compat"):
        qemu_io(made, "qcow2", "write -z 100k 70k", "discard 300k 64k")
    qemu_img("convert", "-f", "qcow2", "-O", "raw", made, raw)
    with PathSource(made) as source, PathSource(base) as base_source:
        backing = await open_layout(base_source)
        await check(await open_layout(source, backing=backing), raw.read_bytes())
        with pytest.raises(UnsupportedImageError, match=r"backing file '.*/base'"):
            await open_layout(source)


@needs_qemu
@pytest.mark.parametrize(
    ("kind", "options", "words"),
    [
        ("vmdk", ["subformat=twoGbMaxExtentSparse"], "in other files"),
        ("vmdk", ["subformat=monolithicFlat"], "in other files"),
    ],
)
async def test_a_disk_in_several_files_is_refused(tmp_path: Path, kind, options, words):
    made = tmp_path / "disk.vmdk"
    qemu_img("create", "-f", kind, "-o", ",".join(options), made, "3M")
    with PathSource(made) as source, pytest.raises(UnsupportedImageError, match=words):
        await open_layout(source)
    if "twoGb" in options[0]:
        part = PathSource(tmp_path / "disk-s001.vmdk")
        with part as source, pytest.raises(UnsupportedImageError, match="several files"):
            await open_layout(source)


@needs_qemu
async def test_a_vmdk_over_another_is_refused(tmp_path: Path):
    base, made = tmp_path / "base.vmdk", tmp_path / "disk.vmdk"
    qemu_img("create", "-f", "vmdk", base, "3M")
    qemu_img("create", "-f", "vmdk", "-b", base, "-F", "vmdk", made)
    with PathSource(made) as source, pytest.raises(UnsupportedImageError, match="differs"):
        await open_layout(source)


@needs_qemu
async def test_what_is_asked_for_is_read_and_no_whole_table(tmp_path: Path):
    """1 TiB, of which little is written: some pages of tables are read, and the data."""
    for kind in ("qcow2", "vhdx", "vmdk", "vdi", "vpc"):
        made = tmp_path / kind
        qemu_img("create", "-f", kind, made, "1T")
        at = 700 << 30
        qemu_io(made, kind, f"write -P 7 {at} 64k", "write -P 8 0 64k")
        with PathSource(made) as file:
            source = CountingSource(file)
            layout = await open_layout(source)
            tracemalloc.start()
            assert await LayoutReader(layout).read(at - 512, 1024) == bytes(512) + b"\7" * 512
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            assert source.bytes_read < MIB
            assert peak < 4 * MIB
            found = [r async for r in data_ranges(layout)]
            assert any(r.start <= at < r.stop for r in found)
            assert (
                sum(r.length for r in found) <= 70 * MIB
            )  # VHDX has blocks of 32 MiB at this size


@pytest.fixture(scope="module")
def one_disk(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Path]]:
    """The same disk in every format, and as a raw image of just its size there."""
    folder = tmp_path_factory.mktemp("disks")
    source = patchy_disk(folder / "source.img", 3 * MIB + 512, seed=9)
    disks = {}
    for kind, *options in [
        ("qcow2",),
        ("qcow2", "-c", "-o", "cluster_size=4k"),
        ("qcow2", "-o", "extended_l2=on,cluster_size=16k"),
        *((kind, *options) for kind, options in OTHER_OPTIONS),
    ]:
        name = " ".join((kind, *options))
        made, raw = folder / f"{len(disks)}.disk", folder / f"{len(disks)}.img"
        qemu_img("convert", "-f", "raw", "-O", kind, *options, source, made)
        qemu_img("convert", "-f", kind, "-O", "raw", made, raw)
        disks[name] = made, raw
    return disks


@needs_qemu
@given(st.data())
async def test_any_reads_in_any_order_are_those_of_the_raw_disk(one_disk, data):
    made, raw = one_disk[data.draw(st.sampled_from(sorted(one_disk)))]
    expected = raw.read_bytes()
    with PathSource(made) as source:
        layout = await open_layout(source)
        reader = LayoutReader(layout)
        for _ in range(data.draw(st.integers(1, 6))):
            offset = data.draw(st.integers(0, layout.size - 1))
            length = min(data.draw(st.integers(1, 300_000)), layout.size - offset)
            assert await reader.read(offset, length) == expected[offset : offset + length]
            found = [s async for s in segments(layout, offset, offset + length)]
            check_segments(found, offset, offset + length, layout.size)


@needs_qemu
@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["-b", "base.qcow2", "-F", "qcow2"], "backing file"),
        # Not LUKS: making one measures processor time, which fails on a busy machine.
        (["-o", "encrypt.format=aes,encrypt.key-secret=s"], "encrypted"),
        (["-o", "data_file=data.raw"], "data is in another file"),
    ],
    ids=["backing", "encrypted", "data-file"],
)
async def test_a_qcow2_that_needs_more_than_itself_is_refused(
    tmp_path: Path, monkeypatch, options, words
):
    monkeypatch.chdir(tmp_path)
    qemu_img("create", "-f", "qcow2", "base.qcow2", "1M")
    secret = ["--object", "secret,id=s,data=hidden"]
    qemu_img("create", *secret, "-f", "qcow2", *options, "disk.qcow2", "1M")
    with PathSource("disk.qcow2") as source, pytest.raises(UnsupportedImageError, match=words):
        await Qcow2Layout.open(source)


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


async def open_qcow2(data: bytes) -> Qcow2Layout:
    return await Qcow2Layout.open(BytesSource(data))


async def test_a_qcow2_by_hand():
    clusters = bytes([1]) * CLUSTER + bytes([2]) * CLUSTER
    disk = await open_qcow2(
        qcow2(l2=[4 * CLUSTER, 0, 3 * CLUSTER | 1, 3 * CLUSTER], clusters=clusters)
    )
    expected = bytes([2]) * CLUSTER + bytes(2 * CLUSTER) + bytes([1]) * CLUSTER
    await check(disk, expected)
    assert [r async for r in data_ranges(disk)] != []


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


@pytest.mark.parametrize("features", [1, 2, 4, 32, 1 << 63])
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
    assert [(r.start, r.stop) async for r in data_ranges(disk)] == [(4096, 4608), (5120, 5632)]


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
        await LayoutReader(disk).read(0, 512)


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
        disk = await (Qcow2Layout.open if index == 0 else open_vhd)(source)
        async for found in data_ranges(disk):
            length = min(found.length, 1 << 16)
            assert len(await LayoutReader(disk).read(found.start, length)) == length
    except DiskError:
        return


async def test_it_reads_as_a_disk():
    clusters = bytes([1]) * CLUSTER
    disk = LayoutDisk(await open_qcow2(qcow2(l2=[3 * CLUSTER], clusters=clusters)), "v1")
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


# ── hostile files ─────────────────────────────────────────────────────────────────────────────────


class DamagedSource:
    """A file of which some bytes are others, and that knows where it was read."""

    def __init__(self, data: bytes) -> None:
        self.size = len(data)
        self.data = bytearray(data)
        self.reads: list[tuple[int, int]] = []

    async def read(self, offset: int, length: int) -> bytes:
        assert offset >= 0
        assert length >= 0
        self.reads.append((offset, length))
        return bytes(self.data[offset : offset + length])


async def read_some(source: DamagedSource) -> None:
    """What an import does, as far as it takes little time."""
    layout = await open_layout(source)
    reader, count = LayoutReader(layout), 0
    async for found in data_ranges(layout):
        length = min(found.length, 1 << 16)
        assert len(await reader.read(found.start, length)) == length
        count += 1
        if count > 50:
            break


@needs_qemu
@given(st.data())
async def test_damage_where_the_tables_are_is_an_error_or_other_bytes(one_disk, data):
    """Every byte that a reader looks at before the data may be any other."""
    made, _ = one_disk[data.draw(st.sampled_from(sorted(one_disk)))]
    source = DamagedSource(made.read_bytes())
    await (await open_layout(source)).segment(0, 512)
    places = [(offset, min(length, 4096)) for offset, length in source.reads]
    for _ in range(data.draw(st.integers(1, 4))):
        offset, length = data.draw(st.sampled_from(places))
        at = min(offset + data.draw(st.integers(0, length - 1)), source.size - 1)
        source.data[at] = data.draw(st.integers(0, 255))
    with contextlib.suppress(DiskError):
        await read_some(source)


def qcow2_of_one_table(tables: int) -> bytes:
    """A first table whose entries all lead to the same second one, which is full of data."""
    cluster = 65536
    head = qcow2(cluster_bits=16, size=tables << 29, l1_size=tables, l1_offset=cluster)[:104]
    l1 = struct.pack(">Q", 2 * cluster) * tables
    l2 = struct.pack(">Q", 3 * cluster) * (cluster // 8)
    return head.ljust(cluster, b"\0") + l1.ljust(cluster, b"\0") + l2 + bytes(cluster)


def vdi_of_one_block(blocks: int) -> bytes:
    """A map whose entries all lead to the same block."""
    data = 512 + -(-blocks * 4 // 512) * 512
    header = struct.pack(
        "<IIIII256sII12xI4xQIIII",
        0xBEDA107F, 0x10001, 0x190, 1, 0, b"", 512, data, 512, blocks << 20, 1 << 20, 0, blocks,
        blocks,
    )  # fmt: skip
    table = bytes(4 * blocks)
    return (bytes(64) + header).ljust(512, b"\0") + table.ljust(data - 512, b"\0") + bytes(1 << 20)


def vmdk_of_one_table(tables: int) -> bytes:
    """A grain directory whose entries all lead to the same table, of nothing."""
    description = b'# Disk DescriptorFile\ncreateType="monolithicSparse"\n'.ljust(512, b"\0")
    header = struct.pack(
        "<4sIIQQQQIQQQB4sH",
        b"KDMV", 1, 1, tables * 512 * 128, 128, 1, 1, 512, 0, 2, 0, 0, b"\n \r\n", 0,
    )  # fmt: skip
    directory = struct.pack("<I", 2 + tables * 4 // 512) * tables
    return header.ljust(512, b"\0") + description + directory + bytes(2048)


@pytest.mark.parametrize(
    "data",
    [qcow2_of_one_table(1 << 13), vdi_of_one_block(1 << 14), vmdk_of_one_table(1 << 14)],
    ids=["qcow2", "vdi", "vmdk"],
)
async def test_tables_that_lead_to_the_same_bytes_over_and_over_are_an_error(data):
    """A small file of such tables would be a disk of terabytes."""
    layout = await open_layout(BytesSource(data))
    assert layout.size >= 1 << 34
    with pytest.raises(DamagedImageError, match="more than once"):
        async for _ in data_ranges(layout):
            pass
