"""Which pages may read the responses: CORS, and the resource policy that COEP asks for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

ResourcePolicy = Literal["same-origin", "same-site", "cross-origin"]

# What a client may send. Range in its plain form needs no preflight; all the others do.
_REQUEST_HEADERS: Final = (
    "Range, If-Range, If-Match, If-None-Match, If-Modified-Since, If-Unmodified-Since, "
    "Authorization, Cache-Control, Content-Type"
)
# What a client reads to check a response before it trusts a byte of it.
_RESPONSE_HEADERS: Final = (
    "Accept-Ranges, Content-Range, Content-Length, Content-Encoding, ETag, Last-Modified, "
    "Link, Retry-After, Age, Date, WWW-Authenticate, X-Request-Id"
)
_ORIGIN: Final = re.compile(r"[a-z][a-z0-9+.-]*://(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?")


@dataclass(frozen=True, slots=True)
class CorsPolicy:
    """`allow_origins` is None when every origin may read (public images, no credentials).

    `credentials` lets pages send cookies and client certificates, `timing` lets them see how long
    each phase of a request took. Raises `ValueError` for what is not an origin as browsers send it:
    a value that could never match would lock out the page it was meant for.
    """

    allow_origins: frozenset[str] | None = None
    resource_policy: ResourcePolicy = "same-site"
    max_age_s: int = 600
    credentials: bool = False
    timing: bool = False

    def __post_init__(self) -> None:
        if self.credentials and self.allow_origins is None:
            raise ValueError("credentials need a list of origins: browsers refuse them with *")
        for origin in self.allow_origins or ():
            if not _ORIGIN.fullmatch(origin):
                raise ValueError(
                    f"{origin!r} is not an origin: write scheme://host[:port] in lower case, "
                    "without a path or a slash at the end"
                )

    def fields(self, origin: str | None, preflight_methods: str | None = None) -> dict[str, str]:
        """What a response to `origin` carries, whatever its status, and more on a preflight."""
        fields = {
            "Access-Control-Expose-Headers": _RESPONSE_HEADERS,
            "Cross-Origin-Resource-Policy": self.resource_policy,
        }
        allowed = origin if origin in (self.allow_origins or ()) else None
        if self.allow_origins is None:
            allowed = "*"
        if allowed is not None:
            fields["Access-Control-Allow-Origin"] = allowed
            if self.credentials:
                fields["Access-Control-Allow-Credentials"] = "true"
            if self.timing:
                fields["Timing-Allow-Origin"] = allowed
        if preflight_methods is not None:
            fields |= {
                "Access-Control-Allow-Methods": preflight_methods,
                "Access-Control-Allow-Headers": _REQUEST_HEADERS,
                "Access-Control-Max-Age": str(self.max_age_s),
                "Vary": "Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
            }
        elif self.allow_origins is not None:
            # Also without a match: no cache may hand this response to an origin that is allowed.
            fields["Vary"] = "Origin"
        return fields
