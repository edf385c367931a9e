"""The page that this worker is of."""

from __future__ import annotations

from ..base import PageFacts


def page_facts() -> PageFacts:
    """Its origin, and whether it is cross-origin isolated."""
    import js

    return PageFacts(str(js.self.origin), bool(js.self.crossOriginIsolated))
