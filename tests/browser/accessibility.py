"""What axe and a ruler find on a page."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Page

from lib.project import WEB

AXE = WEB / "node_modules" / "axe-core" / "axe.min.js"
OVERFLOW = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"


def overflowing_widths(page: Page) -> list[int]:
    """The widths, from a small phone to a large screen, at which the page scrolls sideways."""
    found = []
    for width in (320, 360, 768, 1280, 2560):
        page.set_viewport_size({"width": width, "height": 800})
        if page.evaluate(OVERFLOW):
            found.append(width)
    return found


def violations(page: Page) -> list[str]:
    """What axe finds on the page as it is now, in light and in dark."""
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        # What is dark has the same structure: only its colours are looked at again.
        only = {"runOnly": ["color-contrast"]} if scheme == "dark" else {}
        results: dict[str, Any] = page.evaluate(
            "(only) => axe.run({ resultTypes: ['violations'], ...only })", only
        )
        found += [
            f"{scheme}: {violation['id']}: {node['html']} {node['failureSummary']}"
            for violation in results["violations"]
            for node in violation["nodes"]
        ]
    return found
