"""The page's HTTP headers, in addition to those of cross-origin isolation."""

from __future__ import annotations

import re
from html import unescape

from lib.project import WEB_PAGE

_POLICY = re.compile(r'http-equiv="Content-Security-Policy" content="([^"]*)"')
# Features that the page never uses. `cross-origin-isolated` is not here, because the page needs it.
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
    """The policy in the page's markup, with a ban on framing added.

    A `meta` element cannot forbid framing (Content Security Policy Level 3 §3.3).
    """
    found = _POLICY.search((WEB_PAGE / "index.html").read_text(encoding="utf-8"))
    assert found is not None
    return f"{unescape(found[1])}; frame-ancestors 'none'"


def page_headers() -> dict[str, str]:
    """All of the headers, by name."""
    return {
        "Content-Security-Policy": content_security_policy(),
        "Permissions-Policy": ", ".join(f"{name}=()" for name in _REFUSED),
        "Referrer-Policy": "no-referrer",
        "X-Frame-Options": "DENY",
    }
