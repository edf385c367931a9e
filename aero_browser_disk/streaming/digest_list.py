"""The digest list of an image: the SHA-256 of each chunk, which its bytes must match.

A list is a small JSON document next to the image. Whoever trusts the list trusts every byte that
passes `verify`. There are two ways to trust it: its pin, which is the SHA-256 of the document and
may be part of a page or a URL, and an Ed25519 signature by a key that the reader knows.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from ..platform.signatures import SIGNATURE_LENGTH, verify_ed25519
from ..remote.documents import read_document, whole_number

FORMAT: Final = "aero-disk-digests"
DIGEST_LENGTH: Final = 32  # bytes of a SHA-256
# Four of the client's default blocks: a chunk is fetched and checked whole, so the client's blocks
# are at least this large, and a list of smaller chunks is longer.
DEFAULT_CHUNK_SIZE: Final = 64 * 1024
_VERSION: Final = 1
_SMALLEST_CHUNK, _LARGEST_CHUNK = 4 * 1024, 64 * 1024 * 1024
_FIELDS: Final = frozenset({"size", "chunk_size", "digests", "signature"})


@dataclass(frozen=True, slots=True)
class DigestList:
    """The SHA-256 of each chunk of an image of `size` bytes, in order, one after the other.

    Every chunk has `chunk_size` bytes (a power of two from 4 KiB to 64 MiB), the last one what is
    left. `digests` is one string of 32 bytes for each chunk: an image of 4 GiB in chunks of 64 KiB
    takes 2 MiB. `signature`, if any, is over `signed_bytes`. Raises `ValueError` when these do not
    fit together.
    """

    size: int
    chunk_size: int
    digests: bytes
    signature: bytes | None = None

    def __post_init__(self) -> None:
        if self.size < 0:
            raise ValueError(f"no image has {self.size} bytes")
        if not _SMALLEST_CHUNK <= self.chunk_size <= _LARGEST_CHUNK or self.chunk_size & (
            self.chunk_size - 1
        ):
            raise ValueError(f"a chunk cannot have {self.chunk_size} bytes")
        if len(self.digests) != self.chunk_count * DIGEST_LENGTH:
            raise ValueError(
                f"{self.chunk_count} chunks have {self.chunk_count * DIGEST_LENGTH} bytes of "
                f"digests, not {len(self.digests)}"
            )
        if self.signature is not None and len(self.signature) != SIGNATURE_LENGTH:
            raise ValueError(f"a signature has {SIGNATURE_LENGTH} bytes, not {len(self.signature)}")

    @property
    def chunk_count(self) -> int:
        """Chunks in the image."""
        return -(-self.size // self.chunk_size)

    @property
    def signed_bytes(self) -> bytes:
        """The bytes that a signature covers: the list's content, whatever its JSON looks like."""
        said = f"{FORMAT} {_VERSION}\nsize {self.size}\nchunk_size {self.chunk_size}\nsha256 "
        return said.encode() + hashlib.sha256(self.digests).hexdigest().encode() + b"\n"

    async def is_signed_by(self, public_key: bytes) -> bool:
        """Whether the owner of an Ed25519 public key (32 bytes) signed the list.

        Raises `SignaturesUnavailableError` where nothing can check a signature.
        """
        return self.signature is not None and await verify_ed25519(
            public_key, self.signature, self.signed_bytes
        )

    @property
    def pin(self) -> str:
        """The SHA-256 of the encoded list, in hex."""
        return pin_of(self.encode())

    def verify(self, chunk_index: int, data: bytes | bytearray | memoryview) -> bool:
        """Whether `data` is exactly that chunk. Raises `IndexError` when there is no such chunk."""
        if not 0 <= chunk_index < self.chunk_count:
            raise IndexError(f"chunk {chunk_index} of {self.chunk_count}")
        start = chunk_index * DIGEST_LENGTH
        expected = self.digests[start : start + DIGEST_LENGTH]
        return hashlib.sha256(data).digest() == expected

    def encode(self) -> bytes:
        """The document; the same list gives the same bytes."""
        document: dict[str, object] = {
            "format": FORMAT,
            "version": _VERSION,
            "size": self.size,
            "chunk_size": self.chunk_size,
            "digests": base64.b64encode(self.digests).decode(),
        }
        if self.signature is not None:
            document["signature"] = base64.b64encode(self.signature).decode()
        return json.dumps(document, separators=(",", ":")).encode()

    @classmethod
    def decode(cls, encoded: bytes | str) -> DigestList:
        """Reads a document; raises `ValueError` that says what is wrong with it."""
        document = read_document(encoded, FORMAT, _VERSION, _FIELDS)
        signature = document.get("signature")
        return cls(
            whole_number(document, "size"),
            whole_number(document, "chunk_size"),
            _bytes(document.get("digests"), "digests"),
            None if signature is None else _bytes(signature, "signature"),
        )


def pin_of(encoded: bytes) -> str:
    """The pin of an encoded list: its SHA-256 in hex."""
    return hashlib.sha256(encoded).hexdigest()


def digests_of(chunks: Iterable[bytes], chunk_size: int = DEFAULT_CHUNK_SIZE) -> DigestList:
    """Makes the list of an image that is passed in as chunks of any length, in order."""
    size, filled = 0, 0
    digests = bytearray()
    hasher = hashlib.sha256()
    for chunk in chunks:
        size += len(chunk)
        rest = memoryview(chunk)
        while rest:
            part = rest[: chunk_size - filled]
            hasher.update(part)
            filled += len(part)
            rest = rest[len(part) :]
            if filled == chunk_size:
                digests += hasher.digest()
                hasher, filled = hashlib.sha256(), 0
    if filled:
        digests += hasher.digest()
    return DigestList(size, chunk_size, bytes(digests))


def _bytes(value: object, field: str) -> bytes:
    if isinstance(value, str):
        try:
            return base64.b64decode(value, validate=True)
        except (ValueError, binascii.Error):
            pass
    raise ValueError(f"{field} must be base64")
