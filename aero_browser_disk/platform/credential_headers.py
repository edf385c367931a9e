"""Which request headers say who asks, so that no other origin gets them."""

from __future__ import annotations

from collections.abc import Mapping

CREDENTIAL_HEADERS = frozenset({"authorization", "cookie", "proxy-authorization"})
"""By lower-case name. The Fetch standard (§4.4, HTTP-redirect fetch) takes `Authorization` from a
request that is redirected to another origin; the others a browser lets no page set."""


def without_credentials(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers that another origin may have. Names are compared as HTTP does, in any case."""
    return {n: value for n, value in headers.items() if n.lower() not in CREDENTIAL_HEADERS}
