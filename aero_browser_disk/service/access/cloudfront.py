"""Signed cookies and URLs for CloudFront: the CDN verifies them by itself.

The policy and its signature are as AWS publishes them (CloudFront Developer Guide, "Use signed
cookies" and "Use signed URLs", custom policy): RSA with SHA-1, base64 with `+=/` as `-_~`.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from urllib.parse import quote

from botocore.signers import CloudFrontSigner
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.serialization import load_pem_private_key

_SAFE: Final = str.maketrans("+=/", "-_~")


@dataclass(frozen=True, slots=True)
class CdnAddress:
    """The CDN's address of the bucket: `url` is the distribution, without a slash at its end."""

    url: str
    key_pair_id: str

    def of(self, key: str) -> str:
        """The URL of a key of the bucket."""
        return f"{self.url}/{quote(key)}"


class CloudFront:
    """Signs for one distribution. Raises `ValueError` if the key is not an RSA key in PEM."""

    def __init__(self, address: CdnAddress, key_file: Path) -> None:
        self.address = address
        self._sign = _signer(key_file)
        self._signer = CloudFrontSigner(address.key_pair_id, self._sign)

    def signed_url(self, key: str, expires_at_s: int, folder: str | None = None) -> str:
        """A URL of that key, valid until `expires_at_s` (seconds since the epoch).

        Its query is valid for that key alone, or for all keys in `folder`.
        """
        until = datetime.fromtimestamp(expires_at_s, UTC)
        address = self.address.of(key)
        url: str
        if folder is None:
            url = self._signer.generate_presigned_url(address, date_less_than=until)
        else:
            policy = self._signer.build_policy(self._all_in(folder), until)
            url = self._signer.generate_presigned_url(address, policy=policy)
        return url

    def cookies(self, key: str, expires_at_s: int, folder: str | None = None) -> dict[str, str]:
        """The three cookies that allow reading that key alone, or all keys in `folder`."""
        until = datetime.fromtimestamp(expires_at_s, UTC)
        resource = self.address.of(key) if folder is None else self._all_in(folder)
        policy = self._signer.build_policy(resource, until).encode()
        return {
            "CloudFront-Policy": _encode(policy),
            "CloudFront-Signature": _encode(self._sign(policy)),
            "CloudFront-Key-Pair-Id": self.address.key_pair_id,
        }

    def _all_in(self, folder: str) -> str:
        # CloudFront's wildcards in the folder's own name are percent-encoded.
        return f"{self.address.of(folder)}/*"


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode().translate(_SAFE)


def _signer(key_file: Path) -> Callable[[bytes], bytes]:
    try:
        key = load_pem_private_key(key_file.read_bytes(), password=None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, RSAPrivateKey):
        raise ValueError(f"{key_file} is not an RSA private key in PEM without a password")  # noqa: TRY004
    # CloudFront only supports SHA-1.
    return lambda message: key.sign(message, PKCS1v15(), SHA1())  # noqa: S303
