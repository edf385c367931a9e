"""Signatures to check, and what is none, each with whether it is right."""

from __future__ import annotations

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


def cases() -> list[tuple[bytes, bytes, bytes, bool]]:
    """Public key, signature, message, and whether the one is the other's."""
    made = []
    for texts in VECTORS:
        key, message, signature = map(bytes.fromhex, texts)
        response = int.from_bytes(signature[32:], "little") + ORDER
        second_form = signature[:32] + response.to_bytes(32, "little")
        made += [
            (key, signature, message, True),
            (key, signature, message + b"x", False),
            (key, signature[:-1] + b"\1", message, False),
            (key, second_form, message, False),
            (key, signature[:63], message, False),
        ]
        for no_key in (b"", bytes(31), b"\xff" * 32, (2).to_bytes(32, "little")):
            made.append((no_key, signature, message, False))
    return made
