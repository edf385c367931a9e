"""Digest lists: what goes out comes back, and only the very bytes pass."""

from __future__ import annotations

import hashlib
import json
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aero_browser_disk.streaming.digest_list import DigestList, digests_of, pin_of

CHUNK = 4096
images = st.builds(
    lambda seed, length: (seed * (length // len(seed) + 1))[:length],
    st.binary(min_size=1, max_size=50),
    st.integers(0, 5 * CHUNK),
)


def cut(image: bytes, at: list[int]) -> list[bytes]:
    """The image in chunks that end at those offsets."""
    ends = [0, *sorted(place % (len(image) + 1) for place in at), len(image)]
    return [image[start:stop] for start, stop in pairwise(ends)]


@given(images, st.lists(st.integers(0, 1 << 20), max_size=8))
def test_a_list_holds_the_digest_of_each_chunk(image: bytes, at: list[int]) -> None:
    digests = digests_of(cut(image, at), CHUNK)
    chunks = [image[start : start + CHUNK] for start in range(0, len(image), CHUNK)]
    assert digests.size == len(image)
    assert digests.chunk_count == len(chunks)
    assert digests.digests == b"".join(hashlib.sha256(chunk).digest() for chunk in chunks)
    for index, chunk in enumerate(chunks):
        assert digests.verify(index, memoryview(chunk))


@given(images, st.binary(min_size=64, max_size=64) | st.none())
def test_a_list_comes_back_from_its_document(image: bytes, signature: bytes | None) -> None:
    plain = digests_of([image], CHUNK)
    digests = DigestList(plain.size, plain.chunk_size, plain.digests, signature)
    encoded = digests.encode()
    assert DigestList.decode(encoded) == digests
    assert DigestList.decode(encoded).encode() == encoded
    assert digests.pin == pin_of(encoded) == hashlib.sha256(encoded).hexdigest()
    assert digests.signed_bytes == plain.signed_bytes


@given(st.binary(min_size=1, max_size=3 * CHUNK), st.data())
def test_a_changed_byte_does_not_pass(image: bytes, data: st.DataObject) -> None:
    digests = digests_of([image], CHUNK)
    place = data.draw(st.integers(0, len(image) - 1))
    index = place // CHUNK
    chunk = bytearray(image[index * CHUNK : (index + 1) * CHUNK])
    chunk[place % CHUNK] ^= data.draw(st.integers(1, 255))
    assert not digests.verify(index, chunk)
    assert not digests.verify(index, chunk[:-1])
    assert not digests.verify(index, chunk + b"\0")


def test_a_chunk_that_is_not_there() -> None:
    digests = digests_of([bytes(CHUNK + 1)], CHUNK)
    for index in (-1, 2):
        with pytest.raises(IndexError):
            digests.verify(index, b"")


def test_a_signature_covers_everything() -> None:
    one = digests_of([bytes(CHUNK)], CHUNK)
    for other in (
        digests_of([bytes(CHUNK - 1)], CHUNK),
        digests_of([bytes(CHUNK)], 2 * CHUNK),
        digests_of([b"x" * CHUNK], CHUNK),
    ):
        assert other.signed_bytes != one.signed_bytes


GOOD = json.loads(digests_of([b"abc"], CHUNK).encode())


@pytest.mark.parametrize(
    "change",
    [
        {"format": "aero-disk-boot-profile"},
        {"version": 2},
        {"version": "1"},
        {"size": -1},
        {"size": True},
        {"size": 3.0},
        {"size": "3"},
        {"size": None},
        {"size": CHUNK + 1},
        {"size": 1 << 70},
        {"chunk_size": 0},
        {"chunk_size": 2048},
        {"chunk_size": 5000},
        {"chunk_size": 1 << 40},
        {"digests": ""},
        {"digests": GOOD["digests"][:-4]},
        {"digests": GOOD["digests"] + "\n"},
        {"digests": "é"},
        {"digests": 5},
        {"signature": ""},
        {"signature": "AAAA"},
        {"signature": 1},
        {"colour": "red"},
    ],
    ids=str,
)
def test_a_wrong_field_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        DigestList.decode(json.dumps(GOOD | change))


@given(st.binary() | st.text())
@example(b"")
@example(b"\xff\xfe")
@example("[" * 100_000)
@example('{"format":"aero-disk-digests","version":1,"size":' + "9" * 5000 + "}")
@example("[]")
@example("NaN")
def test_junk_is_refused(junk: bytes | str) -> None:
    with pytest.raises(ValueError, match="aero-disk-digests"):
        DigestList.decode(junk)
