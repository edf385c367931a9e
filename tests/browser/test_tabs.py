"""Two tabs with one image: both read exactly, and neither harms the cache."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import pytest
from playwright.sync_api import BrowserContext, expect

from aero_browser_disk.testing.image_server import Behaviour, ImageServer
from aero_browser_disk.testing.site_server import SiteServer
from aero_browser_disk.testing.synthetic_image import SyntheticImage
from browser.panel_page import PanelPage

DISK = SyntheticImage(64 * 2**20, seed=6)
NOBODY_HAS_A_CACHE = """async () => {
  const { held } = await navigator.locks.query();
  return held.every(({ name }) => !name.startsWith("aero-browser-disk/cache/"));
}"""


@pytest.fixture
def images() -> Iterator[ImageServer]:
    fresh = Behaviour(cache_control="public, max-age=300")
    with ImageServer({"disk.img": DISK}, behaviour=fresh) as server:
        yield server


def read_is_exact(panel: PanelPage, offset: int, length: int) -> None:
    panel.read_range(str(offset), str(length))
    panel.expect_digest(hashlib.sha256(DISK.read(offset, length)).hexdigest())


def first_tab(context: BrowserContext, site: SiteServer, images: ImageServer) -> PanelPage:
    """A tab with the disk open and its first MiB in the cache."""
    panel = PanelPage(context.new_page()).visit(site.url).turn_on()
    panel.open_image(images.url("disk.img"))
    read_is_exact(panel, 0, 2**20)
    # Something of what was read ahead too, so that reading it all again asks for nothing more.
    read_is_exact(panel, 2**20, 2**17)
    panel.expect_idle()  # what the requests brought survives the tab now
    return panel


@pytest.mark.parametrize("browser", ["chromium", "firefox"], indirect=True)
def test_a_second_tab_works_and_the_first_keeps_its_cache(
    context: BrowserContext, site: SiteServer, images: ImageServer
) -> None:
    first = first_tab(context, site, images)

    second = PanelPage(context.new_page()).visit(site.url).turn_on()
    second.open_image(images.url("disk.img"))
    expect(second.notice("shared-cache")).to_contain_text("reads through it")
    images.forget()
    read_is_exact(second, 0, 2**20)
    # what the first tab has comes from there; reading ahead goes on to the server
    assert [r for r in images.requests if r.byte_range and r.byte_range[0] < 2**20] == []
    read_is_exact(second, 5 * 2**20, 2**20)
    read_is_exact(first, 3 * 2**20, 2**20)
    first.expect_idle()
    second.page.close()

    images.forget()
    first.reload().turn_on()
    first.open.click()
    first.expect_status("disk.img is open: 64 MiB.")
    read_is_exact(first, 0, 2**20)
    read_is_exact(first, 3 * 2**20, 2**20)
    assert images.requests == []


def test_the_cache_is_taken_over_once_the_first_tab_is_gone(
    context: BrowserContext, site: SiteServer, images: ImageServer
) -> None:
    first = first_tab(context, site, images)
    second = PanelPage(context.new_page()).visit(site.url).turn_on()
    first.page.close()
    second.page.wait_for_function(NOBODY_HAS_A_CACHE)
    images.forget()

    second.open_image(images.url("disk.img"))
    read_is_exact(second, 0, 2**20)

    expect(second.notice("shared-cache")).to_have_count(0)
    assert images.requests == []


@pytest.mark.parametrize("browser", ["chromium", "firefox"], indirect=True)
def test_an_open_tab_takes_the_cache_over(
    context: BrowserContext, site: SiteServer, images: ImageServer
) -> None:
    first = first_tab(context, site, images)
    second = PanelPage(context.new_page()).visit(site.url).turn_on()
    second.open_image(images.url("disk.img"))
    expect(second.notice("shared-cache")).to_have_count(1)
    first.page.close()
    images.forget()

    # A read that waits for the first tab when that goes away is sent to the server.
    expect(second.notice("shared-cache")).to_have_count(0)
    read_is_exact(second, 0, 2**20)
    read_is_exact(second, 8 * 2**20, 2**20)
    assert [r for r in images.requests if r.byte_range and r.byte_range[0] < 2**20] == []
