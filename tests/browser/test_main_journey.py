"""The main job: an image from another origin, read exactly, kept, and read again after a reload."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from aero_browser_disk.open_disk import DEFAULT_BLOCK_SIZE
from aero_browser_disk.testing.image_server import Behaviour, ImageServer
from aero_browser_disk.testing.site_server import SiteServer
from aero_browser_disk.testing.synthetic_image import SyntheticImage
from aero_browser_disk.units import format_bytes, format_count, format_percent
from browser.panel_page import PanelPage

DISK = SyntheticImage(5 * 2**30, seed=2)
RANGES = [("0", "64 KiB"), ("0x12345", "3 MiB"), ("5368708608", "512"), ("1,000,003", "1")]
MEANT = [(0, 65536), (0x12345, 3 * 2**20), (5368708608, 512), (1000003, 1)]


@pytest.fixture
def images() -> Iterator[ImageServer]:
    fresh = Behaviour(cache_control="public, max-age=300, no-transform")
    with ImageServer({"disk.img": DISK}, behaviour=fresh) as server:
        yield server


def read_all(panel: PanelPage) -> None:
    for (offset, length), (start, count) in zip(RANGES, MEANT, strict=True):
        panel.read_range(offset, length)
        panel.expect_digest(hashlib.sha256(DISK.read(start, count)).hexdigest())


@pytest.mark.parametrize("browser", ["chromium", "firefox"], indirect=True)
def test_an_image_is_read_exactly_and_again_after_a_reload_without_a_request(
    page: Page, site: SiteServer, images: ImageServer
) -> None:
    panel = PanelPage(page).visit(site.url).turn_on()
    panel.open_image(images.url("disk.img"))
    panel.expect_status("disk.img is open: 5 GiB.")
    read_all(panel)
    panel.expect_idle()
    downloaded = sum(request.bytes_sent for request in images.requests)
    assert sum(count for _, count in MEANT) <= downloaded <= 5 * 2**20
    images.forget()

    panel.reload()
    expect(panel.remote).not_to_be_checked()
    expect(panel.url).to_have_value(images.url("disk.img"))
    panel.turn_on()
    panel.open.click()
    panel.expect_status("disk.img is open: 5 GiB.")
    read_all(panel)

    assert images.requests == []
    expect(panel.row("Requests")).to_have_text("0")
    expect(panel.row("Hit rate")).to_have_text(re.compile(r"^100 %"))


def test_the_panel_shows_the_counts_that_the_server_has(
    page: Page, site: SiteServer, images: ImageServer
) -> None:
    panel = PanelPage(page).visit(site.url).turn_on()
    panel.open_image(images.url("disk.img"))
    panel.read_range("1 MiB", "1 MiB")
    panel.expect_status("Read 1 MiB of disk.img.")
    panel.expect_idle()

    expect(panel.row("Requests")).to_have_text(str(len(images.requests)))
    downloaded = sum(request.bytes_sent for request in images.requests)
    share = format_percent(downloaded, 5 * 2**30)
    size, blocks = format_bytes(downloaded), format_count(downloaded // DEFAULT_BLOCK_SIZE, "block")
    expect(panel.row("Downloaded")).to_have_text(f"{size} {blocks}")
    expect(page.get_by_text(f"{size} in {blocks}", exact=True)).to_be_visible()
    meter = page.get_by_role("meter", name="Cache")
    expect(meter).to_have_js_property("value", downloaded)
    expect(meter).to_have_accessible_description(
        re.compile(f"^{share} of the image .* % of the limit of ")
    )
    expect(panel.row("Size")).to_have_text("5 GiB 5,368,709,120 bytes")
    expect(panel.row("Access")).to_have_text("read-only")


def test_the_dump_shows_the_first_512_bytes(
    page: Page, site: SiteServer, images: ImageServer
) -> None:
    panel = PanelPage(page).visit(site.url).turn_on()
    panel.open_image(images.url("disk.img"))
    panel.read_range("4 GiB", "64 KiB")
    panel.expect_status("Read 64 KiB of disk.img.")

    expect(panel.dump).not_to_be_empty()
    lines = panel.dump.inner_text().splitlines()
    shown = bytes.fromhex("".join(line[len("100000000  ") :][:47] for line in lines))
    assert [line.split()[0] for line in lines[:2]] == ["100000000", "100000010"]
    assert shown == DISK.read(2**32, 512)


def test_clearing_the_cache_downloads_again(
    page: Page, site: SiteServer, images: ImageServer
) -> None:
    panel = PanelPage(page).visit(site.url).turn_on()
    panel.open_image(images.url("disk.img"))
    panel.read_range("0", "1 MiB")
    panel.expect_status("Read 1 MiB of disk.img.")
    panel.expect_idle()
    images.forget()

    panel.show("Details")
    panel.clear.click()
    panel.expect_status("The cache of this image was cleared.")
    expect(page.get_by_text("0 bytes in 0 blocks")).to_be_visible()
    panel.read_range("0", "1 MiB")
    panel.expect_digest(hashlib.sha256(DISK.read(0, 2**20)).hexdigest())

    panel.expect_status("Read 1 MiB of disk.img.")
    assert sum(request.bytes_sent for request in images.requests) >= 2**20


def test_a_closed_image_leaves_the_panel_as_it_was(
    page: Page, site: SiteServer, images: ImageServer
) -> None:
    panel = PanelPage(page).visit(site.url).turn_on()
    panel.open_image(images.url("disk.img"))
    panel.read_range("0", "512")
    panel.expect_digest(hashlib.sha256(DISK.read(0, 512)).hexdigest())

    panel.close.click()

    panel.expect_status("Ready to open.")
    expect(panel.digest).to_have_text("–")
    expect(panel.dump).to_be_empty()
    expect(panel.row("Downloaded")).to_have_text("–")
    expect(panel.read).to_be_hidden()
    panel.open_image(images.url("disk.img"))
