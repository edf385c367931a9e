"""What the service can do besides serving images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from starlette.routing import Route


class ServicePart(Protocol):
    """A part with routes of its own. For one event loop."""

    @property
    def routes(self) -> Sequence[Route]:
        """What it serves."""

    async def check(self) -> None:
        """Raises `OSError` with the reason if it cannot serve now."""

    def close(self) -> None:
        """Frees what it holds. Idempotent."""
