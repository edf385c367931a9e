"""The machine on the page, its saved state and its link, by keyboard alone."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, Page, expect

from aero_browser_disk.testing.image_server import ImageServer
from aero_browser_disk.testing.site_server import SiteServer
from browser.keyboard import Keyboard
from browser.panel_page import PanelPage
from browser.test_page_machine import bootable, control, expect_state
from samples.emulator import can_boot

HALT = bytes.fromhex("f4 ebfd")

pytestmark = pytest.mark.skipif(
    not can_boot(), reason="Debian's seabios is not here: scripts/setup fetches it"
)


@pytest.mark.parametrize("browser", ["chromium", "firefox"], indirect=True)
def test_a_machine_is_booted_used_shared_saved_and_resumed_by_keyboard(
    page: Page, browser: Browser, boot_site: SiteServer
) -> None:
    with ImageServer({"pc.img": bootable(HALT)}) as images:
        url = images.url("pc.img")
        panel = PanelPage(page).visit(f"{boot_site.url}?image={quote(url, safe='')}&boot")
        keyboard = Keyboard(page)
        keyboard.is_at("Open and boot")
        keyboard.press("Enter")
        expect_state(panel, "running")
        expect(page.locator(".boot-screen")).to_be_focused()
        keyboard.press("Control+Alt+KeyG")  # the machine has the keys until then

        keyboard.tab_to("Mute")
        keyboard.press("Enter")
        expect(control(panel, "Mute")).to_have_attribute("aria-pressed", "true")
        keyboard.tab_to("Type to the machine")
        for name in ("Copy the text on the screen", "Paste text as keys"):
            keyboard.tab_to(name)
        keyboard.tab_to("Save a picture of the screen")
        if browser.browser_type.name == "chromium":  # Playwright hears nothing of Firefox's
            with page.expect_download() as taken:
                keyboard.press("Enter")
            assert taken.value.suggested_filename == "screen.png"
        keyboard.tab_to("Capture the mouse", "Shift+Tab")
        keyboard.tab_to("Use the keyboard", "Shift+Tab")
        keyboard.press("Space")
        expect(page.locator(".boot-screen")).to_be_focused()
        keyboard.press("Control+Alt+KeyG")

        keyboard.tab_to("Machine", "Shift+Tab")
        for name in ("Files", "Bytes", "Activity", "Details"):
            keyboard.press("ArrowRight")
            keyboard.is_at(name)
        keyboard.press("Home")
        keyboard.is_at("Machine")
        keyboard.tab_to("Share", "Shift+Tab")
        keyboard.press("Enter")
        link = page.get_by_role("dialog").get_by_role("textbox", name="Link")
        expect(link).to_have_value(f"{boot_site.url}?image={quote(url, safe='')}&boot")
        keyboard.press("Escape")
        keyboard.is_at("Share")

        keyboard.tab_to("Save and pause")
        keyboard.press("Enter")
        expect(page.locator(".boot-status")).to_contain_text("saved")
        keyboard.tab_to("Close image", "Shift+Tab")
        keyboard.press("Enter")
        keyboard.is_at("Open a disk")
        row = page.locator('#library-list [data-kind="cache"]').filter(has_text=url)
        expect(row).to_contain_text("Machine saved")
        keyboard.tab_to(f"Resume the machine of {url}")
        keyboard.press("Enter")
        keyboard.is_at("Open and boot")
        keyboard.press("Enter")
        expect_state(panel, "running")
        page.close()  # before the server, which it may go on asking
