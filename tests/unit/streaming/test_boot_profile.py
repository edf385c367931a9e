"""Boot profiles: what goes out comes back, small, and junk does not."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aero_browser_disk.streaming.boot_profile import MAX_BLOCKS, BootProfile

BLOCK = 65536
SIZE = 4 << 30
ETAG = '"a-b-c"'


@st.composite
def profiles(draw: st.DrawFn) -> BootProfile:
    block_size = 1 << draw(st.integers(9, 26))
    count = draw(st.integers(1, 3000))
    size = count * block_size - draw(st.integers(0, block_size - 1))
    blocks = draw(st.lists(st.integers(0, count - 1), unique=True, max_size=200))
    validator = draw(st.sampled_from(['"a"', "", "Sat, 10 Jan 2026 00:00:00 GMT", '"é"']))
    return BootProfile(size, validator, block_size, tuple(blocks))


@given(profiles())
@example(BootProfile(0, '"e"', BLOCK, ()))
@example(BootProfile(SIZE, ETAG, BLOCK, tuple(range(5, 2000))))
def test_a_profile_comes_back_from_its_document(profile: BootProfile) -> None:
    encoded = profile.encode()
    assert BootProfile.decode(encoded) == profile
    assert BootProfile.decode(encoded.decode()).encode() == encoded


def test_neighbours_cost_nothing() -> None:
    assert len(BootProfile(SIZE, ETAG, BLOCK, tuple(range(60_000))).encode()) < 200


def test_it_fits_the_version_it_was_recorded_from() -> None:
    profile = BootProfile(SIZE, ETAG, BLOCK, (1, 0))
    assert profile.fits(SIZE, ETAG)
    assert not profile.fits(SIZE, '"other"')
    assert not profile.fits(SIZE + 1, ETAG)
    # Without a validator nothing says that it is the same image.
    assert not BootProfile(SIZE, "", BLOCK, (1, 0)).fits(SIZE, "")


GOOD = json.loads(BootProfile(SIZE, ETAG, BLOCK, (3, 4, 5, 1)).encode())


def test_the_document() -> None:
    assert GOOD == {
        "format": "aero-disk-boot-profile",
        "version": 1,
        "size": SIZE,
        "validator": ETAG,
        "block_size": BLOCK,
        "runs": [3, 3, 1, 1],
    }


@pytest.mark.parametrize(
    "change",
    [
        {"format": "aero-disk-digests"},
        {"version": 2},
        {"size": -1},
        {"size": True},
        {"size": "1"},
        {"size": BLOCK * 3},
        {"validator": None},
        {"validator": "a\nb"},
        {"validator": "x" * 600},
        {"block_size": 0},
        {"block_size": 1000},
        {"block_size": 256},
        {"block_size": 1 << 40},
        {"runs": None},
        {"runs": [1]},
        {"runs": [[1, 1]]},
        {"runs": [-1, 1]},
        {"runs": [1, 0]},
        {"runs": [1, -1]},
        {"runs": [1.0, 1]},
        {"runs": [True, 1]},
        {"runs": [0, 2, 1, 1]},
        {"runs": [SIZE // BLOCK, 1]},
        {"runs": [0, 1 << 60], "size": 1 << 80},
        {"runs": [0, MAX_BLOCKS, MAX_BLOCKS, 1], "size": 1 << 60},
        {"colour": "red"},
    ],
    ids=str,
)
def test_a_wrong_field_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        BootProfile.decode(json.dumps(GOOD | change))


@given(st.binary() | st.text())
@example(b"")
@example(b"\xff\xfe")
@example("[" * 100_000)
@example('{"format":"aero-disk-boot-profile","version":1,"size":' + "9" * 5000 + "}")
@example("[]")
@example("null")
def test_junk_is_refused(junk: bytes | str) -> None:
    with pytest.raises(ValueError, match="aero-disk-boot-profile"):
        BootProfile.decode(junk)
