"""Request headers that carry credentials, which no other origin must get."""

from __future__ import annotations

from collections.abc import Mapping

CREDENTIAL_HEADERS = frozenset({"authorization", "cookie", "proxy-authorization"})
"""By lower-case name. The Fetch standard (§4.4, HTTP-redirect fetch) removes `Authorization` from a
request that is redirected to another origin; the others no page can set."""


def without_credentials(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers that another origin may have. Names are compared as HTTP does, in any case."""
    return {n: value for n, value in headers.items() if n.lower() not in CREDENTIAL_HEADERS}
