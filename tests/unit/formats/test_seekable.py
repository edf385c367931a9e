"""Compressed files that can be read in the middle, and CDs of raw sectors."""

from __future__ import annotations

import random
import struct
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aero_browser_disk.errors import DamagedImageError, DiskError, UnsupportedImageError
from aero_browser_disk.formats.cd_sectors import CdSectorsLayout
from aero_browser_disk.formats.layout import LayoutReader, data_ranges
from aero_browser_disk.formats.opening import open_layout
from aero_browser_disk.formats.seekable_gzip import BgzfLayout
from aero_browser_disk.formats.seekable_zstd import SeekableZstdLayout
from aero_browser_disk.formats.zstandard import zstd_module
from aero_browser_disk.platform.byte_source import BytesSource, PathSource
from support.bgzip import bgzip, run
from support.cd import bin_file, cd_sector
from support.layouts import CountingSource, check
from support.qemu import MIB, patchy_disk

DATA = Path(__file__).parents[2] / "support" / "data"


# ── gzip in blocks ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("has_index", [True, False])
async def test_what_bgzip_made_is_read_anywhere(tmp_path: Path, has_index):
    raw = patchy_disk(tmp_path / "disk.img", 3 * MIB + 512)
    packed, index = bgzip(raw)
    with PathSource(packed) as source, PathSource(index) as index_source:
        layout = await open_layout(source, index=index_source if has_index else None)
        assert layout.format.name == "bgzf"
        await check(layout, raw.read_bytes())


async def test_with_an_index_a_read_takes_some_blocks_only(tmp_path: Path):
    raw = patchy_disk(tmp_path / "disk.img", 20 * MIB)
    packed, index = bgzip(raw)
    with PathSource(packed) as file, PathSource(index) as index_source:
        source = CountingSource(file)
        layout = await open_layout(source, index=index_source)
        opened = source.bytes_read
        data = await LayoutReader(layout).read(11 * MIB, 1000)
        assert data == raw.read_bytes()[11 * MIB : 11 * MIB + 1000]
        assert source.bytes_read - opened <= 3 << 16


def bgzf_block(data: bytes) -> bytes:
    raw = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
    body = raw.compress(data) + raw.flush()
    head = struct.pack("<4sIBBH2sHH", b"\x1f\x8b\x08\x04", 0, 0, 255, 6, b"BC", 2, len(body) + 25)
    return head + body + struct.pack("<II", zlib.crc32(data), len(data))


async def test_blocks_of_any_length_and_empty_ones(tmp_path: Path):
    parts = [b"a" * 700, b"", b"b" * 65536, b"c", b"", b"d" * 12287, b""]
    packed = b"".join(map(bgzf_block, parts))
    await check(await BgzfLayout.open(BytesSource(packed)), b"".join(parts))


@pytest.mark.parametrize("cut", [1, 12, 27, 30, 50])
async def test_a_bgzf_that_is_cut_off_is_an_error(cut):
    packed = bgzf_block(b"a" * 1000) + bgzf_block(b"b" * 1000) + bgzf_block(b"")
    with pytest.raises(DamagedImageError):
        await BgzfLayout.open(BytesSource(packed[:-cut]))


@pytest.mark.parametrize(
    "index",
    [
        b"",
        struct.pack("<Q", 1 << 60),
        struct.pack("<QQQ", 1, 1 << 50, 1000),
        struct.pack("<QQQ", 1, 10, 1000),
        struct.pack("<QQQ", 1, 0, 1 << 62),
    ],
    ids=range(5),
)
async def test_an_index_that_cannot_be_is_an_error(index):
    packed = bgzf_block(b"a" * 1000) + bgzf_block(b"b" * 1000)

    async def read() -> None:
        layout = await BgzfLayout.open(BytesSource(packed), BytesSource(index))
        await LayoutReader(layout).read(0, layout.size)

    with pytest.raises(DamagedImageError):
        await read()


# ── Zstandard with a seek table ───────────────────────────────────────────────────────────────────


def seekable(parts: list[bytes], *, checksums: bool = False, sizes: list[int] | None = None):
    """Frames of those parts, and their seek table."""
    module = zstd_module(None)
    frames = [module.compress(part, level=3) for part in parts]
    sizes = sizes or [len(part) for part in parts]
    entries = b""
    for frame, size in zip(frames, sizes, strict=True):
        entries += struct.pack("<II", len(frame), size) + bytes(4 * checksums)
    footer = struct.pack("<IBI", len(frames), 0x80 * checksums, 0x8F92EAB1)
    head = struct.pack("<II", 0x184D2A5E, len(entries) + len(footer))
    return b"".join(frames) + head + entries + footer


def cut(data: bytes, length: int) -> list[bytes]:
    return [data[at : at + length] for at in range(0, len(data), length)]


@pytest.mark.parametrize("checksums", [False, True])
@pytest.mark.parametrize("length", [700, 65536, 3 * MIB])
async def test_frames_with_a_seek_table_are_read_anywhere(tmp_path: Path, length, checksums):
    raw = patchy_disk(tmp_path / "disk.img", 2 * MIB + 512).read_bytes()
    layout = await open_layout(BytesSource(seekable(cut(raw, length), checksums=checksums)))
    assert layout.format.name == "zstd-seekable"
    await check(layout, raw)


async def test_what_pyzstd_made_is_read():
    """A file of pyzstd 0.16.2's `SeekableZstdFile`, of frames of 4 KiB."""
    data = b"".join(b"line %d\n" % n for n in range(3000)) + bytes(20000)
    data += random.Random(4).randbytes(500)
    data += bytes(-len(data) % 512)
    with PathSource(DATA / "pyzstd_seekable.img.zst") as source:
        await check(await open_layout(source), data)


async def test_a_read_takes_some_frames_only():
    source = CountingSource(BytesSource(seekable(cut(random.Random(1).randbytes(8 * MIB), 65536))))
    layout = await open_layout(source)
    opened = source.bytes_read
    await LayoutReader(layout).read(5 * MIB, 1000)
    assert source.bytes_read - opened <= 3 << 16


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (seekable([b"x" * 512], sizes=[1 << 30]), UnsupportedImageError),
        (seekable([b"x" * 512], sizes=[1024]), DamagedImageError),
        (seekable([b"x" * 512], sizes=[100]), DamagedImageError),
        (seekable([b"x" * 512])[:-4] + bytes(4), DamagedImageError),
        (seekable([b"x" * 512])[:-9] + struct.pack("<IBI", 2**32 - 1, 0, 0x8F92EAB1),
         DamagedImageError),
        (seekable([b"x" * 512])[:-9] + struct.pack("<IBI", 0, 0, 0x8F92EAB1), DamagedImageError),
        (b"", DamagedImageError),
    ],
    ids=range(7),
)  # fmt: skip
async def test_a_seek_table_that_cannot_be_is_an_error(data, error):

    async def read() -> None:
        layout = await SeekableZstdLayout.open(BytesSource(data))
        await LayoutReader(layout).read(0, layout.size)

    with pytest.raises(error):
        await read()


@given(st.data())
async def test_any_damage_of_a_seekable_file_is_an_error_or_other_bytes(data):
    files = [
        b"".join(map(bgzf_block, [b"a" * 700, b"", b"b" * 3000])),
        seekable([b"a" * 700, b"", b"b" * 3000]),
    ]
    damaged = bytearray(data.draw(st.sampled_from(files)))
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        layout = await open_layout(BytesSource(bytes(damaged)))
        async for found in data_ranges(layout):
            assert len(await LayoutReader(layout).read(found.start, min(found.length, 65536)))
    except DiskError:
        return


# ── CDs ───────────────────────────────────────────────────────────────────────────────────────────


ISO = random.Random(7).randbytes(2048 * 401)


@pytest.mark.parametrize("mode", [1, 2])
@pytest.mark.parametrize("audio", [0, 1, 900])
async def test_a_bin_file_is_the_disc_of_its_data_track(mode, audio):
    layout = await open_layout(BytesSource(bin_file(ISO, mode, audio)))
    assert layout.format.is_cd
    await check(layout, ISO)


@pytest.mark.parametrize("mode", [1, 2])
async def test_a_bin_file_is_the_disc_that_bchunk_makes_of_it(tmp_path: Path, mode):
    (tmp_path / "disc.bin").write_bytes(bin_file(ISO, mode))
    kind = f"MODE{mode}/2352"
    cue = f'FILE "disc.bin" BINARY\n  TRACK 01 {kind}\n    INDEX 01 00:00:00\n'
    (tmp_path / "disc.cue").write_text(cue)
    run("bchunk", "disc.bin", "disc.cue", "out", cwd=tmp_path)
    with PathSource(tmp_path / "disc.bin") as source:
        await check(await open_layout(source), (tmp_path / "out01.iso").read_bytes())


async def test_sectors_of_another_kind_in_the_middle_are_an_error():
    data = bytearray(bin_file(ISO))
    data[200 * 2352] = 1
    layout = await CdSectorsLayout.open(BytesSource(bytes(data)))
    reader = LayoutReader(layout)
    assert await reader.read(199 * 2048, 2048) == ISO[199 * 2048 : 200 * 2048]
    with pytest.raises(DamagedImageError, match="sector 0 of them"):
        await reader.read(200 * 2048, 2048)
    for data in (bin_file(ISO)[:2000], b"x" * 5000, b""):
        with pytest.raises(DamagedImageError):
            await CdSectorsLayout.open(BytesSource(data))
    with pytest.raises(UnsupportedImageError, match="mode 0"):
        await CdSectorsLayout.open(BytesSource(cd_sector(0, b"", 0)))
