"""The signature in a read-only link to a save: an HMAC with the save's own key."""

from __future__ import annotations

import base64
import hmac
import re
from typing import Final

PARAMETER: Final = "share"
_TEXT: Final = re.compile(r"1\.([0-9]{1,12})\.([A-Za-z0-9_-]{43})")


def sign_share(save_id: str, key: str, expires_at: int) -> str:
    """The value of `share`, valid until `expires_at` (seconds since the epoch) or a new key."""
    return f"1.{expires_at}.{_mac(save_id, key, expires_at)}"


def expiry_of(share: str) -> int | None:
    """When it says that it expires, valid or not; None if it is malformed."""
    match = _TEXT.fullmatch(share)
    return None if match is None else int(match[1])


def is_signed(share: str, save_id: str, key: str) -> bool:
    """Whether that key signed it for that save."""
    match = _TEXT.fullmatch(share)
    if match is None:
        return False
    return hmac.compare_digest(match[2], _mac(save_id, key, int(match[1])))


def _mac(save_id: str, key: str, expires_at: int) -> str:
    text = f"1\n/v1/saves/{save_id}\n{expires_at}"
    mac = hmac.digest(bytes.fromhex(key), text.encode(), "sha256")
    return base64.urlsafe_b64encode(mac).rstrip(b"=").decode()
