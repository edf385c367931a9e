"""mTLS terminated by a trusted proxy, which forwards the certificate's subject."""

from __future__ import annotations

from ..options import ProxyIdentityOptions
from .authorization import AuthRequest, Grant, RefusedError


class ProxyIdentity:
    """Accepts the headers of trusted proxies only."""

    def __init__(self, options: ProxyIdentityOptions) -> None:
        self._options = options
        self._images = {name: frozenset(ids) for name, ids in options.subjects.items()}

    async def examine(self, asked: AuthRequest) -> Grant | None:
        """As `Authority.examine`. A subject without images is known, and may read nothing."""
        subject = asked.headers.get(self._options.subject_header)
        if not asked.trusted_proxy or not subject:
            return None
        if asked.headers.get(self._options.verified_header) != self._options.verified_value:
            raise RefusedError("invalid_certificate", "The proxy did not accept the certificate.")
        return Grant(f"subject:{subject}", self._images.get(subject, frozenset()))

    def reload(self) -> None:
        """Nothing to read: its rules are in the configuration."""
