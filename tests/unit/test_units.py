"""Amounts as people write and read them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aero_browser_disk.units import format_bytes, format_count, format_percent, parse_byte_count


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("0", 0),
        ("512", 512),
        (" 512 ", 512),
        ("0x200", 512),
        ("0X1_0000", 65536),
        ("64 KiB", 65536),
        ("64kib", 65536),
        ("64K", 65536),
        ("1.5 MiB", 1572864),
        ("1 MB", 1000000),
        ("65,536", 65536),
        ("65_536 bytes", 65536),
        ("1 byte", 1),
        ("4 GiB", 4294967296),
        ("2T", 2199023255552),
        ("0.5 KiB", 512),
    ],
)
def test_what_a_text_names(text: str, count: int) -> None:
    assert parse_byte_count(text) == count


@pytest.mark.parametrize(
    "text",
    ["", " ", "-1", "1.5", "0.1 KiB", "12 sectors", "0x", "0xg", "1e3", "KiB", "١", "1 1.5.2"],
)
def test_what_names_no_number_of_bytes(text: str) -> None:
    with pytest.raises(ValueError, match="number of bytes"):
        parse_byte_count(text)


@given(st.integers(min_value=0, max_value=2**63))
def test_decimal_and_hexadecimal_round_trip(count: int) -> None:
    assert parse_byte_count(str(count)) == count
    assert parse_byte_count(f"{count:,}") == count
    assert parse_byte_count(hex(count)) == count


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (1023, "1023 bytes"),
        (1024, "1 KiB"),
        (1536, "1.5 KiB"),
        (65536, "64 KiB"),
        (1048575, "1,023 KiB"),
        (1048576, "1 MiB"),
        (47382528, "45.1 MiB"),
        (4294967296, "4 GiB"),
        (2**41, "2 TiB"),
        (2**70, "1,048,576 PiB"),
    ],
)
def test_how_bytes_read(count: int, text: str) -> None:
    assert format_bytes(count) == text


@given(st.integers(min_value=0, max_value=2**53))
def test_bytes_are_rounded_down_by_less_than_a_hundredth(count: int) -> None:
    shown = format_bytes(count).replace(",", "").split()
    unit = {"byte": 1, "bytes": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
    value = float(shown[0]) * unit.get(shown[1], 2**50)

    assert value <= count
    assert count - value <= count * 0.01


@pytest.mark.parametrize(
    ("part", "whole", "text"),
    [
        (0, 10, "0 %"),
        (1, 3, "33.3 %"),
        (1, 10, "10 %"),
        (10, 10, "100 %"),
        (9999, 10000, "99.9 %"),
        (1, 10**6, "< 0.1 %"),
        (11, 10, "100 %"),
        (0, 0, "0 %"),
    ],
)
def test_how_percentages_read(part: int, whole: int, text: str) -> None:
    assert format_percent(part, whole) == text


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 blocks"), (1, "1 block"), (1250, "1,250 blocks")]
)
def test_how_counts_read(count: int, text: str) -> None:
    assert format_count(count, "block") == text
