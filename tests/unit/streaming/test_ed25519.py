"""Signatures are checked as RFC 8032 has it, and as an established library does."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from aero_browser_disk.streaming.ed25519 import verify

# RFC 8032 §7.1: public key, message, signature.
VECTORS = [
    (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        (
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
            "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
        ),
    ),
    (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        (
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
            "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
        ),
    ),
    (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        (
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
            "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"
        ),
    ),
]
ORDER = 2**252 + 27742317777372353535851937790883648493


@pytest.mark.parametrize(("key", "message", "signature"), VECTORS)
def test_the_vectors_of_the_standard(key, message, signature):
    key, message, signature = map(bytes.fromhex, (key, message, signature))
    assert verify(key, signature, message)
    assert not verify(key, signature, message + b"x")
    assert not verify(key, signature[:-1] + b"\1", message)


@given(
    seed=st.binary(min_size=32, max_size=32), message=st.binary(max_size=200), bit=st.integers(0)
)
def test_what_a_library_signs_is_accepted_and_not_one_bit_else(seed, message, bit):
    private = Ed25519PrivateKey.from_private_bytes(seed)
    key = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    signature = private.sign(message)
    assert verify(key, signature, message)
    forged = bytearray(signature)
    forged[bit // 8 % 64] ^= 1 << bit % 8
    assert not verify(key, bytes(forged), message)


def test_a_signature_has_one_form_only():
    key, message, signature = map(bytes.fromhex, VECTORS[0])
    response = int.from_bytes(signature[32:], "little") + ORDER
    assert not verify(key, signature[:32] + response.to_bytes(32, "little"), message)


@pytest.mark.parametrize("key", [b"", bytes(31), b"\xff" * 32, (2).to_bytes(32, "little")])
def test_what_is_no_key_verifies_nothing(key):
    assert not verify(key, bytes.fromhex(VECTORS[0][2]), b"")
