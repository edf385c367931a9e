"""Signatures are checked as RFC 8032 has it; without a library the error names the extra."""

from __future__ import annotations

import builtins

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from aero_browser_disk.errors import SignaturesUnavailableError
from aero_browser_disk.platform.signatures import verify_ed25519
from support.signatures import VECTORS, cases


@pytest.mark.parametrize(("key", "signature", "message", "is_right"), cases())
async def test_the_vectors_of_the_standard_and_what_is_none(key, signature, message, is_right):
    assert await verify_ed25519(key, signature, message) is is_right


@given(
    seed=st.binary(min_size=32, max_size=32), message=st.binary(max_size=200), bit=st.integers(0)
)
async def test_what_is_signed_is_accepted_and_not_one_bit_else(seed, message, bit):
    private = Ed25519PrivateKey.from_private_bytes(seed)
    key, signature = private.public_key().public_bytes_raw(), private.sign(message)
    assert await verify_ed25519(key, signature, message)
    forged = bytearray(signature)
    forged[bit // 8 % 64] ^= 1 << bit % 8
    assert not await verify_ed25519(key, bytes(forged), message)


async def test_without_the_library_the_error_names_the_extra(monkeypatch):
    really = builtins.__import__

    def hidden(name, *rest, **more):
        if name.partition(".")[0] == "cryptography":
            raise ModuleNotFoundError(name=name)
        return really(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", hidden)
    key, message, signature = map(bytes.fromhex, VECTORS[0])
    with pytest.raises(SignaturesUnavailableError, match=r"aero-browser-disk\[signatures\]"):
        await verify_ed25519(key, signature, message)
