"""Saves on the demo page: push, the list, a conflict and its three ways on."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Locator, Page, expect

from aero_browser_disk.testing.image_server import ImageServer
from aero_browser_disk.testing.site_server import SiteServer
from aero_browser_disk.testing.synthetic_image import SyntheticImage
from support.saves import SaveService

from .panel_page import PanelPage
from .saves_page import READ, WRITE, answer, open_overlay, press

DISK = SyntheticImage(1 << 20, seed=12)
TOKEN = "a-secret-token"
OTHER_DEVICE = """async ({ url, saves: where }) => {
  const { openDisk, saves } = await import("./aero-disk.mjs");
  await saves({ ...where, allowRemote: true }).pull("work", { overlay: "elsewhere", url });
  const disk = await openDisk({
    url, overlay: "elsewhere", allowRemote: true,
    saves: { ...where, name: "work", device: "the other one" },
  });
  await disk.write(0, new Uint8Array([2]));
  await disk.push();
  await disk.close();
}"""


@pytest.fixture
def images() -> Iterator[ImageServer]:
    with ImageServer({"disk.img": DISK}) as server:
        yield server


@pytest.fixture
def service() -> Iterator[SaveService]:
    with SaveService(token=TOKEN) as running:
        yield running


def open_dialog(page: Page, service: SaveService) -> Locator:
    page.locator("#save-to").click()
    dialog = page.locator("#saves")
    expect(dialog).to_be_visible()
    dialog.get_by_label("Address of the saves").fill(service.url)
    dialog.get_by_label("Access token").fill(TOKEN)
    return dialog


def test_a_disk_is_saved_listed_and_gone_back_to(
    page: Page, site: SiteServer, images: ImageServer, service: SaveService
) -> None:
    open_overlay(page, site.url, images.url("disk.img"))
    dialog = open_dialog(page, service)
    assert service.requests == []
    status = dialog.locator("#saves-status")
    expect(status).to_have_text("Nothing was sent yet.")
    press(dialog, "Save now")
    expect(status).to_contain_text("as generation 1 of “work”")
    press(dialog, "Save now")
    expect(status).to_contain_text("Nothing changed since generation 1 of “work”")
    url = images.url("disk.img")
    headers = {"Authorization": f"Bearer {TOKEN}"}
    page.evaluate(OTHER_DEVICE, {"url": url, "saves": {"url": service.url, "headers": headers}})
    press(dialog, "Show the saves there")
    row = dialog.locator(".saves-there > ul > li")
    expect(row).to_have_count(1)
    expect(row).to_contain_text("the other one")
    expect(row).to_contain_text("Fits this image.")
    row.locator("summary").click()
    earlier = row.locator("details li")
    expect(earlier).to_have_count(1)
    expect(earlier).to_contain_text("Generation 1:")
    press(earlier, "Take into a new overlay")
    answer(page, "Take it", "Name of the new overlay", "before")
    expect(dialog).to_be_hidden()
    PanelPage(page).expect_status(re.compile(" is open: "))
    expect(page.locator("#save-to")).to_be_visible()
    # The address and its secrets are nowhere but on this page.
    kept = page.evaluate("() => JSON.stringify([{ ...localStorage }, location.href])")
    assert TOKEN not in kept
    assert service.url not in kept
    page.locator("#close").click()
    expect(page.locator("#save-to")).to_be_hidden()
    assert page.evaluate(READ, {"url": url, "overlay": "before"}) == 1
    page.close()


def test_a_conflict_names_both_sides_and_has_three_ways_on(
    page: Page, site: SiteServer, images: ImageServer, service: SaveService
) -> None:
    open_overlay(page, site.url, images.url("disk.img"))
    dialog = open_dialog(page, service)
    press(dialog, "Save now")
    expect(dialog.locator("#saves-status")).to_contain_text("as generation 1")
    url = images.url("disk.img")
    headers = {"Authorization": f"Bearer {TOKEN}"}
    page.evaluate(OTHER_DEVICE, {"url": url, "saves": {"url": service.url, "headers": headers}})
    press(dialog, "Close")
    page.locator("#close").click()
    page.evaluate(WRITE, {"url": url, "overlay": "work", "byte": 3})
    page.locator("#overlay").fill("work")
    PanelPage(page).open_image(url)

    dialog = open_dialog(page, service)
    expect(dialog.locator("#saves-status")).to_contain_text("It was sent to “work” on 127.0.0.1:")
    press(dialog, "Save now")
    conflict = dialog.locator(".conflict")
    expect(conflict).to_contain_text("There: generation 2")
    expect(conflict).to_contain_text("by the other one")
    expect(conflict).to_contain_text("Here: based on generation 1")
    press(conflict, "Keep mine as a new save")
    answer(page, "Save", "Name of the save", "mine")
    expect(dialog.locator("#saves-status")).to_contain_text("as generation 1 of “mine”")
    expect(conflict).to_be_empty()

    dialog.get_by_label("Name of the save").fill("work")
    press(dialog, "Save now")
    press(conflict, "Look at theirs")
    answer(page, "Look")
    expect(dialog).to_be_hidden()
    PanelPage(page).expect_status(re.compile("“work” .a save of disk.img. is open: "))
    expect(page.locator("#save-to")).to_be_hidden()  # read-only
    panel = PanelPage(page)
    panel.read_range("0", "1")
    expect(page.get_by_test_id("read-dump")).to_contain_text("02")
    page.locator("#close").click()

    page.locator("#overlay").fill("work")
    panel.open_image(url)
    dialog = open_dialog(page, service)
    press(dialog, "Save now")
    press(conflict, "Take theirs")
    answer(page, "Take it", "Name of the new overlay", "theirs")
    expect(dialog).to_be_hidden()
    panel.expect_status(re.compile(" is open: "))
    page.locator("#close").click()
    expect(page.locator("#save-to")).to_be_hidden()
    assert page.evaluate(READ, {"url": url, "overlay": "theirs"}) == 2
    assert page.evaluate(READ, {"url": url, "overlay": "work"}) == 3
    assert sorted(save.name for save in service.saves.values()) == ["mine", "work"]
    page.close()
