"""The page with a keyboard, a screen reader, a phone, in the dark, and without motion."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from aero_browser_disk.testing.image_server import Behaviour, ImageServer
from aero_browser_disk.testing.site_server import SiteServer
from browser.accessibility import overflowing_widths, violations
from browser.keyboard import Keyboard
from browser.panel_page import PanelPage

IN_FIRST_SCREEN = """(selector) => {
  scrollTo(0, 0);
  const { top, bottom } = document.querySelector(selector).getBoundingClientRect();
  return top > 0 && bottom <= innerHeight;
}"""
CUT_TEXTS = """(selector) => [...document.querySelectorAll(selector)]
  .filter(({ clientWidth, scrollWidth }) => scrollWidth > clientWidth)
  .map(({ textContent }) => textContent)"""
DATA = bytes(range(256)) * 4096 + b"odd"


@pytest.fixture
def images() -> Iterator[ImageServer]:
    name = "a-disk-image-with-a-name-that-is-long-enough-to-wrap-on-a-telephone.img"
    with ImageServer({"disk.img": DATA, name: DATA}) as server:
        yield server


def test_axe_finds_nothing_in_light_and_dark(page: Page, site: SiteServer) -> None:
    panel = PanelPage(page).visit(site.url)
    page.set_viewport_size({"width": 1280, "height": 800})
    assert page.evaluate(IN_FIRST_SCREEN, "#open")
    assert violations(page) == []
    # axe leaves out what is disabled: under the mouse it must look as it does elsewhere.
    look = "button => [getComputedStyle(button).color, getComputedStyle(button).backgroundColor]"
    disabled = panel.open.evaluate(look)
    panel.open.hover()
    assert panel.open.evaluate(look) == disabled

    panel.button("Settings").click()
    assert violations(page) == []
    panel.button("Done").click()
    panel.create_disk("work", "1 GiB")
    panel.button("Delete work").click()
    assert violations(page) == []


def test_axe_finds_nothing_in_failures_and_with_an_open_image(
    page: Page, site: SiteServer, images: ImageServer
) -> None:
    panel = PanelPage(page).visit(site.url).turn_on()
    panel.start_opening(images.url("missing.img"))
    panel.expect_error("The server refused")
    for width, height in ((360, 740), (1280, 800)):
        page.set_viewport_size({"width": width, "height": height})
        assert page.evaluate(IN_FIRST_SCREEN, "#find-cause"), (width, height)
    panel.button("Find the cause").click()
    expect(page.get_by_role("heading", name="This address cannot be streamed.")).to_be_visible()
    assert violations(page) == []

    panel.open_image(images.url("disk.img"))
    panel.read_range("0", "512")
    panel.expect_digest(hashlib.sha256(DATA[:512]).hexdigest())
    expect(panel.notice("odd-size")).to_be_visible()
    assert violations(page) == []
    page.set_viewport_size({"width": 360, "height": 740})
    assert page.evaluate(CUT_TEXTS, ".cache-text > *") == []
    page.set_viewport_size({"width": 1280, "height": 800})
    for tab in ("Machine", "Files", "Activity", "Details"):
        panel.show(tab)
        assert violations(page) == [], tab


def test_the_whole_journey_by_keyboard(page: Page, site: SiteServer, images: ImageServer) -> None:
    panel = PanelPage(page).visit(site.url)
    keyboard = Keyboard(page)

    keyboard.tab_to("Use remote image")
    keyboard.press("Space")
    panel.expect_status("Enter the address of an image.")
    keyboard.tab_to("Image URL")
    keyboard.type(images.url("disk.img"))
    panel.expect_status("Ready to open.")
    keyboard.tab_to("Open")
    keyboard.press("Enter")
    panel.expect_status("disk.img is open: 1 MiB.")
    keyboard.is_at("Machine")  # focus is never lost
    keyboard.press("ArrowRight")
    keyboard.is_at("Files")
    keyboard.press("ArrowRight")
    keyboard.is_at("Bytes")
    keyboard.tab_to("Offset")
    keyboard.type("0x200")
    keyboard.tab_to("Length")
    keyboard.type("1 KiB")
    keyboard.press("Enter")
    panel.expect_digest(hashlib.sha256(DATA[512:1536]).hexdigest())
    keyboard.is_at("Length")
    keyboard.press("ControlOrMeta+a")
    keyboard.type("512")  # so that what it says is not what it said before
    keyboard.tab_to("Read")
    keyboard.press("Space")
    panel.expect_status("Read 512 bytes of disk.img.")
    panel.expect_digest(hashlib.sha256(DATA[512:1024]).hexdigest())
    keyboard.tab_to("First bytes")
    keyboard.tab_to("Bytes", "Shift+Tab")
    keyboard.press("End")
    keyboard.is_at("Details")
    keyboard.tab_to("Clear cache")
    keyboard.press("Enter")
    panel.expect_status("The cache of this image was cleared.")
    keyboard.tab_to("Close image", "Shift+Tab")
    keyboard.press("Space")
    panel.expect_status("Ready to open.")
    keyboard.is_at("Open a disk")


def test_dialogs_library_and_map_by_keyboard(
    page: Page, site: SiteServer, images: ImageServer
) -> None:
    panel = PanelPage(page).visit(site.url)
    keyboard = Keyboard(page)

    keyboard.tab_to("Settings")
    keyboard.press("Enter")
    keyboard.tab_to("Read ahead")
    keyboard.press("ArrowDown")
    keyboard.press("Escape")
    keyboard.is_at("Settings")  # where the dialog was opened from
    panel.turn_on().open_image(images.url("disk.img"))
    keyboard.tab_to("New blank disk")
    keyboard.press("Enter")
    keyboard.type("work")
    keyboard.press("Enter")
    expect(panel.disk("work")).to_be_visible()
    keyboard.is_at("New blank disk")
    keyboard.tab_to("Zoom in", "Shift+Tab")
    keyboard.tab_to("Map of the disk")
    expect(keyboard.focused).to_have_attribute("aria-valuetext", "One square is 16 KiB.")
    keyboard.press("ArrowRight")
    expect(keyboard.focused).to_have_attribute(
        "aria-valuetext", re.compile("^0 bytes – 16 KiB: .*cached")
    )
    keyboard.press("End")
    expect(keyboard.focused).to_have_attribute(
        "aria-valuetext", re.compile("^1 MiB – 1 MiB: not cached")
    )
    keyboard.press("+")
    keyboard.press("Escape")
    expect(keyboard.focused).to_have_attribute("aria-valuetext", "One square is 16 KiB.")


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

    stops = []
    while len(stops) < 20:
        page.keyboard.press("Tab")
        outline = page.evaluate(
            "() => { const { activeElement: at } = document, style = getComputedStyle(at);"
            " return [at.id || at.localName, style.outlineStyle, parseFloat(style.outlineWidth)]; }"
        )
        if outline[0] == "body":  # once round
            break
        stops.append(outline[0])
        assert outline[1:] == ["solid", 3], outline
    assert stops[:2] == ["settings-open", "remote"]
    assert {"url", "open", "library-import", "library-create"} <= set(stops)
    # The counters change a few times a second: nobody could listen to that.
    live = page.locator("[role=status], [role=alert], [aria-live]")
    assert live.evaluate_all("all => all.map((one) => one.id)") == [
        *("status", "error", "notices", "boot-note", "dosbox-error", "files-error"),
        *("findings", "library-error", "ask-error"),
    ]


def test_no_width_scrolls_sideways(page: Page, site: SiteServer, images: ImageServer) -> None:
    panel = PanelPage(page).visit(site.url)
    assert overflowing_widths(page) == []

    panel.turn_on()
    panel.start_opening(f"{images.origin}/{'x' * 300}?{'y' * 300}")
    panel.expect_error("The server refused")
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
    context = chromium.new_context(
        viewport={"width": 1280, "height": 1000}, service_workers="block"
    )
    console.watch(context)
    page = context.new_page()
    page.add_init_script(
        "globalThis.shifts = [];"
        "new PerformanceObserver((list) => shifts.push(...list.getEntries().flatMap((entry) =>"
        " entry.sources.map(({ node }) => [entry.startTime,"
        " `${node?.nodeName} ${node?.id || node?.textContent}`,"
        " Boolean(node?.parentElement?.closest('#bar, #workbench'))]))))"
        ".observe({ type: 'layout-shift', buffered: true });"
    )
    drawn = (
        "() => new Promise((done) => requestAnimationFrame(() =>"
        " requestAnimationFrame(() => done(performance.now()))))"
    )
    panel = PanelPage(page).visit(site.url).turn_on()
    panel.url.fill(images.url("disk.img"))
    panel.expect_status("Ready to open.")
    ready = page.evaluate(drawn)
    panel.open.click()
    panel.expect_status("disk.img is open: 1 MiB.")
    panel.show("Bytes")
    shown = page.evaluate(drawn)  # the workbench has taken the place of the form
    panel.read_range("0", "64 KiB")
    panel.expect_digest(hashlib.sha256(DATA[:65536]).hexdigest())
    page.evaluate(drawn)

    moved = page.evaluate("() => shifts")
    assert [what for at, what, _ in moved if at < ready] == []
    # The list below gets a row for the cache of the image.
    assert [what for at, what, is_in_workbench in moved if at > shown and is_in_workbench] == []
    context.close()


def test_who_wants_no_motion_sees_none(page: Page, site: SiteServer, images: ImageServer) -> None:
    images.behaviour = Behaviour(stall=True)
    page.emulate_media(reduced_motion="reduce")
    panel = PanelPage(page).visit(site.url).turn_on()
    panel.start_opening(images.url("disk.img"))
    panel.expect_status("Opening disk.img…")

    assert page.evaluate("() => document.getAnimations().length") == 0
    page.emulate_media(reduced_motion="no-preference")
    expect(page.locator("#working")).to_have_attribute("data-on", "true")
    assert page.evaluate("() => document.getAnimations().length") > 0
