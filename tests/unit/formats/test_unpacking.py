"""Compressed files are unpacked as streams, and what is wrong with them is said."""

from __future__ import annotations

import bz2
import gzip
import lzma
import random
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aero_browser_disk.errors import DamagedImageError, UnsupportedImageError
from aero_browser_disk.formats import zstandard
from aero_browser_disk.formats.recognition import BZIP2, GZIP, XZ, ZSTD
from aero_browser_disk.formats.unpacking import unpacked

zstd = zstandard.zstd_module(ZSTD)
PACKERS = {GZIP: gzip.compress, ZSTD: zstd.compress, XZ: lzma.compress, BZIP2: bz2.compress}
ALL = pytest.mark.parametrize("packed", PACKERS, ids=lambda f: f.name)
CONTENT = random.Random(1).randbytes(300_000) + bytes(3_000_000) + b"the end"


async def chunks(data: bytes, length: int):
    for start in range(0, len(data), length):
        yield data[start : start + length]


async def unpack(data: bytes, packed, length=70_001) -> bytes:
    return b"".join([chunk async for chunk in unpacked(chunks(data, length), packed)])


@ALL
async def test_what_was_packed_comes_out(packed):
    data = PACKERS[packed](CONTENT)
    for length in (977, 70_001, len(data)):
        assert await unpack(data, packed, length) == CONTENT


@ALL
async def test_runs_that_follow_one_another_are_one(packed):
    data = b"".join(PACKERS[packed](part) for part in (b"one ", b"", b"two ", b"three"))
    for length in (1, 7, 1000):
        assert await unpack(data, packed, length) == b"one two three"


@ALL
async def test_padding_is_passed_over(packed):
    data = PACKERS[packed](b"disk")
    assert await unpack(data + bytes(512), packed) == b"disk"


@ALL
async def test_a_file_that_breaks_off_is_an_error_and_not_a_short_disk(packed):
    data = PACKERS[packed](CONTENT)
    for length in (len(data) - 1, len(data) // 2, 10, 3):
        with pytest.raises(DamagedImageError):
            await unpack(data[:length], packed)


@ALL
async def test_damage_is_found(packed):
    data = bytearray(PACKERS[packed](random.Random(2).randbytes(100_000)))
    if packed is ZSTD:  # without a checksum only its structure can be wrong
        data = bytearray(zstd.compress(bytes(100_000), options={201: 1}))
        data[-1] ^= 1
    else:
        data[len(data) // 2] ^= 0xFF
    with pytest.raises(DamagedImageError):
        await unpack(bytes(data), packed)


@ALL
async def test_what_follows_and_is_no_more_of_it_is_an_error(packed):
    with pytest.raises(DamagedImageError):
        await unpack(PACKERS[packed](b"disk") + b"and then this, which is no header", packed)


@ALL
async def test_memory_is_bounded_whatever_a_file_unpacks_to(packed):
    data = PACKERS[packed](bytes(48 << 20))
    tracemalloc.start()
    length = 0
    async for chunk in unpacked(chunks(data, 1 << 20), packed):
        assert len(chunk) <= 1 << 20
        length += len(chunk)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert length == 48 << 20
    assert peak < 24 << 20


async def test_without_zstandard_it_says_what_to_do(monkeypatch):
    monkeypatch.setattr(zstandard, "_MODULES", ("no.such.module",))
    with pytest.raises(UnsupportedImageError, match="Python 3"):
        await unpack(b"", ZSTD)


@given(st.binary(max_size=300), st.sampled_from(list(PACKERS)))
async def test_any_bytes_are_unpacked_or_an_error(data, packed):
    head = PACKERS[packed](b"x")[:8]
    try:
        assert isinstance(await unpack(head + data, packed), bytes)
    except DamagedImageError:
        return
