"""Nothing leaves the browser without consent."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from playwright.sync_api import Page, expect

from aero_browser_disk.testing.image_server import Behaviour, ImageServer
from aero_browser_disk.testing.site_server import SiteServer
from browser.panel_page import PanelPage


@pytest.fixture
def images() -> Iterator[ImageServer]:
    with ImageServer({"disk.img": bytes(range(256)) * 4096}) as server:
        yield server


def test_remote_images_are_off_and_the_warning_stands_beside_the_switch(
    page: Page, site: SiteServer
) -> None:
    panel = PanelPage(page).visit(site.url)

    expect(panel.remote).not_to_be_checked()
    expect(panel.open).to_be_disabled()
    panel.expect_status("Remote images are off.")
    expect(panel.remote).to_have_accessible_description(
        re.compile("untrusted.*sees your IP address, what you read, and when.*licensed to use")
    )


def test_an_address_alone_asks_nothing_of_its_host(
    page: Page, site: SiteServer, images: ImageServer
) -> None:
    panel = PanelPage(page).visit(site.url)
    panel.url.fill(images.url("disk.img"))
    panel.url.press("Enter")
    panel.open.click(force=True)
    panel.turn_on()
    panel.expect_status("Ready to open.")
    panel.remote.uncheck()
    panel.url.press("Enter")

    panel.expect_status("Remote images are off.")
    assert images.requests == []


def test_open_pressed_right_after_the_switch_goes_by_the_switch(
    page: Page, site: SiteServer, images: ImageServer
) -> None:
    panel = PanelPage(page).visit(site.url)
    panel.url.fill(images.url("disk.img"))
    panel.turn_on()
    panel.expect_status("Ready to open.")
    switch_and_open = (
        "remote => { remote.click(); document.getElementById('open-form').requestSubmit(); }"
    )

    panel.remote.evaluate(switch_and_open)
    panel.expect_status("Remote images are off.")
    expect(panel.error).to_be_empty()
    assert images.requests == []

    panel.remote.evaluate(switch_and_open)
    panel.expect_status("disk.img is open: 1 MiB.")


def test_an_image_in_the_page_address_fills_the_field_and_no_more(
    page: Page, site: SiteServer, images: ImageServer
) -> None:
    panel = PanelPage(page).visit(f"{site.url}?image={quote(images.url('disk.img'), safe='')}")

    expect(panel.url).to_have_value(images.url("disk.img"))
    expect(panel.remote).not_to_be_checked()
    panel.expect_status("Remote images are off.")
    assert images.requests == []

    panel.turn_on()
    assert images.requests == []
    panel.open.click()
    panel.expect_status("disk.img is open: 1 MiB.")


def test_markup_in_an_address_stays_text(page: Page, site: SiteServer, images: ImageServer) -> None:
    markup = f"{images.origin}/<img src=x onerror=alert(1)>"
    panel = PanelPage(page).visit(f"{site.url}?image={quote(markup, safe='')}").turn_on()
    panel.open.click()

    panel.expect_error("The server refused", "%3Cimg%20src=x%20onerror=alert(1)%3E")
    expect(panel.url).to_have_value(markup)
    expect(page.locator("img[src='x']")).to_have_count(0)


def test_turning_it_off_closes_the_image(page: Page, site: SiteServer, images: ImageServer) -> None:
    panel = PanelPage(page).visit(site.url).turn_on()
    panel.open_image(images.url("disk.img"))
    images.forget()

    panel.remote.uncheck()

    panel.expect_status("Remote images are off.")
    expect(panel.read).to_be_hidden()
    expect(panel.open).to_be_disabled()
    assert images.requests == []


def test_turning_it_off_gives_up_an_opening_that_hangs(
    page: Page, site: SiteServer, images: ImageServer
) -> None:
    images.behaviour = Behaviour(stall=True)
    panel = PanelPage(page).visit(site.url).turn_on()
    panel.start_opening(images.url("disk.img"))
    panel.expect_status("Opening disk.img…")
    images.wait_for(lambda server: server.in_flight == 1)

    panel.remote.uncheck()

    panel.expect_status("Remote images are off.")
    images.wait_for(lambda server: server.in_flight == 0)


def test_it_is_off_again_at_the_next_visit(
    page: Page, site: SiteServer, images: ImageServer
) -> None:
    panel = PanelPage(page).visit(site.url).turn_on()
    panel.open_image(images.url("disk.img"))
    images.forget()

    panel.reload()

    expect(panel.remote).not_to_be_checked()
    expect(panel.url).to_have_value(images.url("disk.img"))
    panel.expect_status("Remote images are off.")
    assert images.requests == []


def test_the_page_itself_talks_to_no_one_else(page: Page, site: SiteServer) -> None:
    asked: list[str] = []
    page.context.on("request", lambda request: asked.append(request.url))
    PanelPage(page).visit(site.url)

    assert asked
    assert [url for url in asked if not url.startswith((site.url, "data:", "blob:"))] == []


def visit_with_sample(page: Page, site: SiteServer, images: ImageServer, name: str) -> PanelPage:
    """The page, told of a service with one image, which is called so."""
    listed = {"images": [{"id": "one", "name": name, "size_bytes": 2**20}]}
    images.add("v1/images", json.dumps(listed).encode())
    images.add("disks/one/bytes", bytes(2**20))
    catalog = quote(images.url("v1/images"), safe="")
    return PanelPage(page).visit(f"{site.url}?catalog={catalog}")


def test_a_service_is_asked_for_its_samples_only_when_the_user_wants_to_see_them(
    page: Page, site: SiteServer, images: ImageServer
) -> None:
    panel = visit_with_sample(page, site, images, "<b>One</b>")
    expect(
        page.get_by_text("that server then sees your IP address, what you read, and when")
    ).to_be_visible()
    assert images.requests == []

    panel.button("Show the samples").click()
    expect(panel.remote).to_be_checked()
    expect(panel.button("Boot <b>One</b>")).to_be_visible()
    assert {request.path for request in images.requests} == {"/v1/images"}
    panel.button("<b>One</b>").click()

    panel.expect_status("one is open: 1 MiB.")
    expect(panel.url).to_have_value(images.url("disks/one/bytes"))


def test_a_sample_is_one_press_away(page: Page, site: SiteServer, images: ImageServer) -> None:
    panel = visit_with_sample(page, site, images, "One")
    assert images.requests == []

    panel.button("Open a sample").click()

    panel.expect_status("one is open: 1 MiB.")
    expect(panel.remote).to_be_checked()
