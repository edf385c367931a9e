"""The parts of a service that every request uses."""

from __future__ import annotations

from functools import lru_cache

from ..access.authorization import Gate
from .client_address import TrustedProxies
from .client_limits import ClientLimits
from .cors import CorsPolicy
from .direct_response import HeaderBlock
from .response import encoded


class ServiceContext:
    """Which pages may read, which proxies are trusted, who checks credentials and limits.

    `always_private`: the server itself demands a certificate, so every request has credentials.
    `is_unix`: it listens on a Unix socket. `body_s`: how long a request's body may take, in
    seconds.
    """

    def __init__(
        self,
        cors: CorsPolicy,
        proxies: TrustedProxies,
        gate: Gate | None = None,
        limits: ClientLimits | None = None,
        *,
        always_private: bool = False,
        is_unix: bool = False,
        body_s: float = 75,
    ) -> None:
        self.proxies = proxies
        self.gate = gate or Gate()
        self.limits = limits
        self.body_s = body_s
        self.is_unix = is_unix
        self.always_private = always_private
        self._cors = cors
        self.common_fields = lru_cache(256)(self._common_fields)

    def _common_fields(self, origin: str | None, preflight_methods: str | None) -> HeaderBlock:
        """The header fields that all responses to the pages of an origin have."""
        own = {"X-Content-Type-Options": "nosniff", "Server": "aero-disk-service"}
        return HeaderBlock.of(encoded(own | self._cors.fields(origin, preflight_methods)))
