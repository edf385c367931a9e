"""What the tests of saves and of overlays on the demo page share: an open overlay, and answers."""

from __future__ import annotations

from playwright.sync_api import Locator, Page, expect

from .panel_page import PanelPage

WRITE = """async ({ url, overlay, byte, length = 1 }) => {
  const { openDisk } = await import("./aero-disk.mjs");
  const disk = await openDisk({ url, overlay, allowRemote: true });
  await disk.write(0, new Uint8Array(length).fill(byte));
  await disk.close();
}"""
READ = """async ({ url, overlay }) => {
  const { openDisk } = await import("./aero-disk.mjs");
  const disk = await openDisk({ url, overlay, allowRemote: true });
  const [byte] = await disk.read(0, 1);
  await disk.close();
  return byte;
}"""


def open_overlay(page: Page, site_url: str, url: str, length: int = 1) -> PanelPage:
    """Opens an image with the overlay "work", whose first bytes were written."""
    panel = PanelPage(page).visit(site_url)
    page.evaluate(WRITE, {"url": url, "overlay": "work", "byte": 1, "length": length})
    panel.turn_on()
    expect(page.locator("#save-to")).to_be_hidden()
    page.locator("#overlay").fill("work")
    panel.open_image(url)
    return panel


def press(region: Locator, name: str) -> None:
    region.get_by_role("button", name=name, exact=True).click()


def answer(page: Page, agree: str, field: str = "", text: str = "") -> None:
    """Agrees to what is asked over the dialog."""
    question = page.locator("#ask")
    expect(question).to_be_visible()
    if field:
        question.get_by_label(field, exact=True).fill(text)
    press(question, agree)
    expect(question).to_be_hidden()
