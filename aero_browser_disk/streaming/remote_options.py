"""The options of a remote image: their types, defaults and bounds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypedDict

from ..errors import InvalidDocumentError, InvalidOptionError
from ..formats.opening import FORMAT_NAMES
from ..platform.base import Credentials
from ..platform.signatures import PUBLIC_KEY_LENGTH
from ..remote.access import Renew
from ..remote.retry import DEFAULT_RETRY, RetryPolicy
from .boot_profile import BootProfile
from .digest_list import DigestList, pin_of

KIB, MIB = 1 << 10, 1 << 20
DEFAULT_BLOCK_SIZE = 16 * KIB
_MIN_BLOCK, _MAX_BLOCK = 4 * KIB, 8 * MIB


class RemoteOptions(TypedDict, total=False):
    """The options of `open_disk` for a remote image; see there for what they mean."""

    allow_remote: bool
    cache_limit_bytes: int | None
    block_size: int
    cache_key: str | None
    headers: Mapping[str, str] | None
    credentials: Credentials
    renew: Renew | None
    expires_at: float | None
    timeout_s: float
    retry: RetryPolicy
    concurrency: int | None
    max_request_bytes: int
    read_ahead: bool
    boot_profile: bytes | Literal["auto"] | None
    digests: bytes | None
    digests_sha256: str | None
    digests_key: str | None
    format: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteSettings:
    """The same options with their defaults."""

    allow_remote: bool = False
    cache_limit_bytes: int | None = None
    block_size: int = DEFAULT_BLOCK_SIZE
    cache_key: str | None = None
    headers: Mapping[str, str] | None = None
    credentials: Credentials = "same-origin"
    renew: Renew | None = None
    expires_at: float | None = None
    timeout_s: float = 30.0
    retry: RetryPolicy = DEFAULT_RETRY
    concurrency: int | None = None
    max_request_bytes: int = 8 * MIB
    read_ahead: bool = True
    boot_profile: bytes | Literal["auto"] | None = "auto"
    digests: bytes | None = None
    digests_sha256: str | None = None
    digests_key: str | None = None
    format: str = "auto"

    def check(self) -> None:
        """Raises `InvalidOptionError` for a value that cannot work."""
        size, limit = self.block_size, self.cache_limit_bytes
        if size & (size - 1) or not _MIN_BLOCK <= size <= _MAX_BLOCK:
            raise InvalidOptionError("block_size", size, "a power of two from 4 KiB to 8 MiB")
        if limit is not None and limit < 0:
            raise InvalidOptionError("cache_limit_bytes", limit, "a number of bytes")
        if self.concurrency is not None and self.concurrency < 1:
            raise InvalidOptionError("concurrency", self.concurrency, "at least 1")
        if self.max_request_bytes < size:
            expected = f"at least the block size, {size}"
            raise InvalidOptionError("max_request_bytes", self.max_request_bytes, expected)
        if self.format not in FORMAT_NAMES:
            expected = f"one of {', '.join(FORMAT_NAMES)}"
            raise InvalidOptionError("format", self.format, expected)

    async def read_digests(self, *, may_be_manifest: bool = False) -> DigestList | None:
        """The digest list, verified by the pin and the key.

        Without a list, the pin and the key may be meant for a manifest.
        Raises `InvalidDocumentError`, `InvalidOptionError` and `SignaturesUnavailableError`.
        """
        if self.digests is None and may_be_manifest:
            return None
        return await _read_digests(self.digests, self.digests_sha256, self.digests_key)

    def read_profile(self) -> BootProfile | None:
        """The boot profile that was given, if one was; raises `InvalidDocumentError`."""
        given = self.boot_profile
        if not isinstance(given, bytes):
            return None
        try:
            return BootProfile.decode(given)
        except ValueError as error:
            raise InvalidDocumentError("boot profile", str(error)) from error


async def _read_digests(
    encoded: bytes | None, pin: str | None, key: str | None
) -> DigestList | None:
    """The list, verified by the pin and the key."""
    if encoded is None:
        for option, value in (("digests_sha256", pin), ("digests_key", key)):
            if value is not None:
                raise InvalidOptionError(option, value, "given together with digests")
        return None
    if pin is not None and pin_of(encoded) != pin.lower():
        raise InvalidDocumentError("digest list", f"its SHA-256 is {pin_of(encoded)}, not {pin}")
    try:
        digests = DigestList.decode(encoded)
    except ValueError as error:
        raise InvalidDocumentError("digest list", str(error)) from error
    if key is not None and not await digests.is_signed_by(read_public_key(key)):
        raise InvalidDocumentError("digest list", "it is not signed by the key that was given")
    return digests


def read_public_key(key: str) -> bytes:
    """The Ed25519 public key that an option gives in hex; raises `InvalidOptionError`."""
    try:
        encoded = bytes.fromhex(key)
    except ValueError:
        encoded = b""
    if len(encoded) != PUBLIC_KEY_LENGTH:
        raise InvalidOptionError("digests_key", key, "an Ed25519 public key, 64 hexadecimal digits")
    return encoded
