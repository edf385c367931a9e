"""The headers that the page is served with, in addition to those of cross-origin isolation."""

from __future__ import annotations

import re
from html import unescape

from lib.project import WEB_PAGE

_POLICY = re.compile(r'http-equiv="Content-Security-Policy" content="([^"]*)"')
# What the page never asks for; `cross-origin-isolated` is left alone, it needs that.
_REFUSED = (
    "accelerometer",
    "autoplay",
    "camera",
    "display-capture",
    "encrypted-media",
    "geolocation",
    "gyroscope",
    "hid",
    "magnetometer",
    "microphone",
    "midi",
    "payment",
    "publickey-credentials-get",
    "screen-wake-lock",
    "serial",
    "usb",
    "xr-spatial-tracking",
)


def content_security_policy() -> str:
    """The page's own policy, as its markup has it, and that nobody may frame it.

    A `meta` element cannot say the last (Content Security Policy Level 3 §3.3).
    """
    found = _POLICY.search((WEB_PAGE / "index.html").read_text(encoding="utf-8"))
    assert found is not None
    return f"{unescape(found[1])}; frame-ancestors 'none'"


def page_headers() -> dict[str, str]:
    """All of them, by name."""
    return {
        "Content-Security-Policy": content_security_policy(),
        "Permissions-Policy": ", ".join(f"{name}=()" for name in _REFUSED),
        "Referrer-Policy": "no-referrer",
        "X-Frame-Options": "DENY",
    }
