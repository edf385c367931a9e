"""The map, the timeline, and what can be saved of a session."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from aero_browser_disk.testing.image_server import Behaviour, ImageServer
from aero_browser_disk.testing.site_server import SiteServer
from aero_browser_disk.testing.synthetic_image import SyntheticImage
from browser.panel_page import PanelPage

MIB = 1 << 20
DISK = SyntheticImage(64 * MIB, seed=12)
# Returns once so many pixels of the map have the colour of a cell that is cached.
HELD_PIXELS = """async (wanted) => {
  const canvas = document.getElementById("map");
  const colour = getComputedStyle(canvas).getPropertyValue("--cell-stored").trim();
  const [r, g, b] = colour.match(/[0-9a-f]{2}/gi).map((hex) => parseInt(hex, 16));
  for (let count = 0; count < wanted; await new Promise(requestAnimationFrame)) {
    const { width, height } = canvas;
    const copy = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
    copy.drawImage(canvas, 0, 0);
    const { data } = copy.getImageData(0, 0, width, height);
    count = 0;
    for (let at = 0; at < data.length; at += 4)
      count += data[at] === r && data[at + 1] === g && data[at + 2] === b;
  }
}"""


@pytest.fixture
def images() -> Iterator[ImageServer]:
    with ImageServer({"disk.img": DISK}) as server:
        yield server


@pytest.fixture
def panel(page: Page, site: SiteServer, images: ImageServer) -> PanelPage:
    opened = PanelPage(page).visit(site.url).turn_on()
    opened.open_image(images.url("disk.img"))
    return opened


def test_the_map_fills_with_what_is_read_and_says_what_a_square_is(
    panel: PanelPage, page: Page
) -> None:
    panel.read_range("8 MiB", "8 MiB")
    panel.expect_status("Read 8 MiB of disk.img.")
    square = panel.map
    square.focus()
    expect(square).to_have_attribute("aria-valuetext", re.compile("One square is"))
    page.evaluate(HELD_PIXELS, 1000)

    square.press("Home")
    expect(square).to_have_attribute("aria-valuetext", re.compile("^0 bytes – .* cached"))
    square.press("End")
    expect(square).to_have_attribute("aria-valuetext", re.compile("– 64 MiB: not cached"))
    square.press("+")
    square.press("Home")
    expect(square).to_have_attribute("aria-valuetext", re.compile("^48 MiB – .*: not cached"))
    panel.button("Whole disk").click()
    square.press("Home")
    expect(square).to_have_attribute("aria-valuetext", re.compile("^0 bytes – "))


def test_the_map_shows_what_is_under_way_and_is_read_by_pointer(
    panel: PanelPage, page: Page, images: ImageServer
) -> None:
    images.behaviour = Behaviour(stall_after=1000)
    panel.read_range("63 MiB", "1 MiB")
    panel.expect_status("Reading disk.img…")
    panel.map.focus()
    panel.map.press("End")
    expect(panel.map).to_have_attribute("aria-valuetext", re.compile("– 64 MiB: being fetched"))

    box = panel.map.bounding_box()
    assert box
    page.mouse.move(box["x"] + 3, box["y"] + 3)
    expect(page.locator("#map-readout")).to_contain_text("0 bytes – ")
    panel.close.click()
    panel.expect_status("Ready to open.")
    expect(panel.map).to_be_hidden()


def test_the_timeline_has_the_rates_and_the_trace_every_event(panel: PanelPage, page: Page) -> None:
    panel.map.scroll_into_view_if_needed()
    expect(page.locator("#map-readout")).to_contain_text("One square is")
    panel.read_range("1 MiB", "1 MiB")
    panel.expect_status("Read 1 MiB of disk.img.")
    expect(page.locator("#tracks li").nth(2).locator(".track-rate")).to_have_text(
        re.compile(r"^[1-9].* [KM]iB/s$")
    )

    panel.show("Activity")
    with page.expect_download() as saved:
        panel.button("Save the trace").click()
    trace = json.loads(saved.value.path().read_text(encoding="utf-8"))

    assert trace["format"] == "aero-disk-trace"
    assert trace["image"]["size"] == DISK.size
    reads = [(offset, length) for _, kind, offset, length in trace["events"] if kind == "miss"]
    assert (MIB, MIB) in reads
    arrived = sum(length for _, kind, _, length in trace["events"] if kind == "arrival")
    assert arrived >= MIB


def test_the_boot_profile_is_saved_as_a_file_that_opens_with_the_image(
    panel: PanelPage, page: Page
) -> None:
    panel.read_range("1 MiB", "256 KiB")
    panel.expect_status("Read 256 KiB of disk.img.")

    panel.show("Activity")
    with page.expect_download() as saved:
        panel.button("Save the boot profile").click()

    profile = json.loads(saved.value.path().read_text(encoding="utf-8"))
    assert profile["size"] == DISK.size
    first, count = profile["runs"][:2]
    assert (first, count) == (MIB // profile["block_size"], MIB // 4 // profile["block_size"])


def test_the_whole_image_is_downloaded_and_paused(panel: PanelPage, images: ImageServer) -> None:
    images.behaviour = Behaviour(bandwidth_bytes_per_s=2 * MIB)
    panel.show("Details")
    panel.button("Download the whole image").click()
    panel.show("Bytes")  # it goes on, and can be paused, in every view
    keeping = panel.page.locator("#keeping")
    expect(keeping).to_contain_text(re.compile(r"Downloading the whole image: .+/s, .+ left"))
    keeping.get_by_role("button", name="Pause").click()
    expect(keeping).to_be_hidden()
    panel.show("Details")
    images.behaviour = Behaviour()
    panel.button("Download the whole image").click()

    expect(panel.button("Fully downloaded")).to_be_visible()
    expect(panel.page.get_by_text("64 MiB in 4,096 blocks")).to_be_visible()
