"""Images whose bytes are computed when they are read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aero_browser_disk.testing.synthetic_image import PAGE_SIZE, SyntheticImage

SIZE = 5 * PAGE_SIZE + 123
WHOLE = SyntheticImage(SIZE, seed=7).read(0, SIZE)


@given(st.integers(0, SIZE + 10), st.integers(0, SIZE + 10))
def test_any_part_is_the_part_of_the_whole(offset: int, length: int) -> None:
    assert SyntheticImage(SIZE, seed=7).read(offset, length) == WHOLE[offset : offset + length]


def test_reads_far_beyond_what_memory_holds() -> None:
    image = SyntheticImage(1 << 50, seed=1)
    tail = image.read((1 << 50) - 1000, 4096)
    assert len(tail) == 1000
    assert tail[500:] == image.read((1 << 50) - 500, 500)


def test_no_two_sectors_are_alike() -> None:
    data = SyntheticImage(1 << 20).read(0, 1 << 20)
    assert len({data[at : at + 512] for at in range(0, len(data), 512)}) == 2048
    assert bytes(512) not in data


def test_seed_makes_another_image() -> None:
    assert SyntheticImage(4096, 1).read(0, 4096) != SyntheticImage(4096, 2).read(0, 4096)


def test_bytes_stay_what_they_are() -> None:
    """Other programs keep digests of these images: the bytes are part of the contract."""
    assert SyntheticImage(8192, 3).read(4090, 12).hex() == "ed99743125bdfbffa8946453"


def test_chunks_are_the_whole() -> None:
    image = SyntheticImage(SIZE, seed=7)
    assert b"".join(image.chunks(1000)) == WHOLE


@pytest.mark.parametrize(("offset", "length"), [(-1, 5), (0, -1)])
def test_refuses_negative_numbers(offset: int, length: int) -> None:
    with pytest.raises(ValueError, match="cannot read"):
        SyntheticImage(10).read(offset, length)


def test_refuses_a_negative_size() -> None:
    with pytest.raises(ValueError, match="-1 bytes"):
        SyntheticImage(-1)
