"""The page with a keyboard, a screen reader, a phone, in the dark, and without motion."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from aero_browser_disk.testing.image_server import Behaviour, ImageServer
from aero_browser_disk.testing.site_server import SiteServer
from browser.panel_page import STEP_TIMEOUT_MS, PanelPage
from project import WEB

AXE = WEB / "node_modules" / "axe-core" / "axe.min.js"
DATA = bytes(range(256)) * 4096 + b"odd"
OVERFLOW = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.fixture
def images() -> Iterator[ImageServer]:
    name = "a-disk-image-with-a-name-that-is-long-enough-to-wrap-on-a-telephone.img"
    with ImageServer({"disk.img": DATA, name: DATA}) as server:
        yield server


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
        results: dict[str, Any] = page.evaluate("() => axe.run({ resultTypes: ['violations'] })")
        found += [
            f"{scheme}: {violation['id']}: {node['html']} {node['failureSummary']}"
            for violation in results["violations"]
            for node in violation["nodes"]
        ]
    return found


def test_axe_finds_nothing_in_light_and_dark(
    page: Page, site: SiteServer, images: ImageServer
) -> None:
    panel = PanelPage(page).visit(site.url)
    assert violations(page) == []

    panel.turn_on()
    panel.start_opening(images.url("missing.img"))
    panel.expect_error("The host refused")
    assert violations(page) == []

    panel.open_image(images.url("disk.img"))
    panel.read_range("0", "512")
    panel.expect_digest(hashlib.sha256(DATA[:512]).hexdigest())
    expect(panel.notice("odd-size")).to_be_visible()
    assert violations(page) == []


def test_the_whole_journey_by_keyboard(page: Page, site: SiteServer, images: ImageServer) -> None:
    panel = PanelPage(page).visit(site.url)

    def tab_to(name: str) -> None:
        page.keyboard.press("Tab")
        expect(page.locator(":focus")).to_have_accessible_name(name)

    tab_to("Use remote image")
    page.keyboard.press("Space")
    panel.expect_status("Enter the address of an image.")
    tab_to("Image URL")
    page.keyboard.type(images.url("disk.img"))
    panel.expect_status("Ready to open.")
    tab_to("Open")
    page.keyboard.press("Enter")
    panel.expect_status("disk.img is open: 1 MiB.")
    expect(page.locator(":focus")).to_have_accessible_name("Open")  # focus is never lost
    tab_to("Close image")
    tab_to("Clear cache")
    tab_to("Offset")
    page.keyboard.type("0x200")
    tab_to("Length")
    page.keyboard.type("1 KiB")
    page.keyboard.press("Enter")
    panel.expect_digest(hashlib.sha256(DATA[512:1536]).hexdigest())
    expect(page.locator(":focus")).to_have_accessible_name("Length")
    tab_to("Read")
    page.keyboard.press("Space")
    panel.expect_status("Read 1 KiB of disk.img.")
    tab_to("First bytes")
    page.keyboard.press("Shift+Tab")
    for _ in range(3):
        page.keyboard.press("Shift+Tab")
    expect(page.locator(":focus")).to_have_accessible_name("Clear cache")
    page.keyboard.press("Enter")
    panel.expect_status("The cache of this image is empty now.")
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Space")
    panel.expect_status("Ready to open.")
    expect(page.locator(":focus")).to_have_accessible_name("Close image")


def test_enter_in_the_address_opens(page: Page, site: SiteServer, images: ImageServer) -> None:
    panel = PanelPage(page).visit(site.url).turn_on()
    panel.url.fill(images.url("disk.img"))
    panel.expect_status("Ready to open.")

    panel.url.press("Enter")

    panel.expect_status("disk.img is open: 1 MiB.")


def test_every_stop_of_the_keyboard_shows_and_only_what_is_said_is_announced(
    page: Page, site: SiteServer
) -> None:
    PanelPage(page).visit(site.url)

    for _ in range(9):
        page.keyboard.press("Tab")
        outline = page.evaluate(
            "() => { const style = getComputedStyle(document.activeElement);"
            " return [style.outlineStyle, parseFloat(style.outlineWidth)]; }"
        )
        assert outline == ["solid", 3]
    # The counters change a few times a second: nobody could listen to that.
    live = page.locator("[role=status], [role=alert], [aria-live]")
    assert live.evaluate_all("all => all.map((one) => one.id)") == ["status", "error", "notices"]


def test_no_width_scrolls_sideways(page: Page, site: SiteServer, images: ImageServer) -> None:
    panel = PanelPage(page).visit(site.url)
    assert overflowing_widths(page) == []

    panel.turn_on()
    panel.start_opening(f"{images.origin}/{'x' * 300}?{'y' * 300}")
    panel.expect_error("The host refused")
    assert overflowing_widths(page) == []

    (long_name,) = (name for name in images.images if name != "disk.img")
    panel.open_image(images.url(long_name))
    panel.read_range("0", "1 MiB")
    panel.expect_digest(hashlib.sha256(DATA[: 2**20]).hexdigest())
    assert overflowing_widths(page) == []


def test_a_phone_shows_each_line_of_the_dump_whole(
    page: Page, site: SiteServer, images: ImageServer
) -> None:
    page.set_viewport_size({"width": 360, "height": 780})
    panel = PanelPage(page).visit(site.url).turn_on()
    panel.open_image(images.url("disk.img"))
    panel.read_range("0", "512")
    panel.expect_digest(hashlib.sha256(DATA[:512]).hexdigest())

    expect(panel.dump).to_have_text(re.compile("^00000000  00 01 02 03 04 05 06 07  "))
    assert panel.dump.evaluate("dump => dump.scrollWidth - dump.clientWidth") == 0


def test_nothing_moves_while_the_page_starts(
    chromium: Browser, site: SiteServer, images: ImageServer, console
) -> None:
    context = chromium.new_context(viewport={"width": 1280, "height": 1000})
    console.watch(context)
    page = context.new_page()
    page.add_init_script(
        "globalThis.shifts = [];"
        "new PerformanceObserver((list) => shifts.push(...list.getEntries().map((e) => e.value)))"
        ".observe({ type: 'layout-shift', buffered: true });"
    )
    panel = PanelPage(page).visit(site.url).turn_on()
    panel.open_image(images.url("disk.img"))
    panel.read_range("0", "64 KiB")
    panel.expect_digest(hashlib.sha256(DATA[:65536]).hexdigest())

    assert page.evaluate("() => shifts") == []
    context.close()


def test_who_wants_no_motion_sees_none(page: Page, site: SiteServer, images: ImageServer) -> None:
    images.behaviour = Behaviour(stall=True)
    page.emulate_media(reduced_motion="reduce")
    panel = PanelPage(page).visit(site.url).turn_on()
    panel.start_opening(images.url("disk.img"))
    panel.expect_status("Opening disk.img…")

    assert page.evaluate("() => document.getAnimations().length") == 0
    page.emulate_media(reduced_motion="no-preference")
    expect(page.locator("#working")).to_have_attribute("data-on", "true", timeout=STEP_TIMEOUT_MS)
    assert page.evaluate("() => document.getAnimations().length") > 0
