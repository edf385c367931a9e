"""What holds for every request of a service."""

from __future__ import annotations

from functools import lru_cache

from .client_address import TrustedProxies
from .cors import CorsPolicy
from .direct_response import HeaderBlock
from .response import encoded


class ServiceContext:
    """Who may read, whose word on clients counts, and how long a request's body may take.

    `always_private`: the server itself demands a certificate, so every request has credentials.
    `is_unix`: it listens on a Unix socket. `body_s` is in seconds.
    """

    def __init__(
        self,
        cors: CorsPolicy,
        proxies: TrustedProxies,
        *,
        always_private: bool = False,
        is_unix: bool = False,
        body_s: float = 75,
    ) -> None:
        self.proxies = proxies
        self.body_s = body_s
        self.is_unix = is_unix
        self.always_private = always_private
        self._cors = cors
        self.common_fields = lru_cache(256)(self._common_fields)

    def _common_fields(self, origin: str | None, preflight_methods: str | None) -> HeaderBlock:
        """The header fields that all responses to the pages of an origin have."""
        return HeaderBlock.of(
            encoded(
                (
                    ("X-Content-Type-Options", "nosniff"),
                    ("Server", "aero-disk-service"),
                    *self._cors.fields(origin, preflight_methods),
                )
            )
        )
