"""The guide in a browser: it is found by words, by keyboard, in both themes and on a phone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from aero_browser_disk.testing.site_server import SiteServer
from browser.accessibility import overflowing_widths, violations
from building.guide import write_guide
from lib.page_headers import page_headers


@pytest.fixture(scope="module")
def guide(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the guide, served as the site is."""
    folder = tmp_path_factory.mktemp("site")
    write_guide(folder)
    with SiteServer(folder, isolated=True, headers=page_headers()) as server:
        yield f"{server.url}guide/"


def test_a_word_is_found_and_leads_to_its_section(page: Page, guide: str) -> None:
    page.goto(f"{guide}decisions/validators.html")
    page.keyboard.press("/")
    page.keyboard.type("copy-on-wri")
    page.get_by_label("Search the guide").fill("durable overl")
    # The first result of these words, not of those that were typed before.
    first = page.get_by_role("search").get_by_role("link").first
    expect(first).to_contain_text("Overlays")
    expect(first).to_have_attribute("href", f"{guide}local-images.html#overlays")
    first.press("Enter")
    expect(page).to_have_url(f"{guide}local-images.html#overlays")
    expect(page.get_by_role("heading", name="Overlays", exact=False).last).to_be_in_viewport()


def test_what_is_not_there_is_not_found(page: Page, guide: str) -> None:
    page.goto(f"{guide}index.html")
    page.get_by_label("Search the guide").fill("zxqwv")
    expect(page.get_by_role("status")).to_have_text("0 results")


@pytest.mark.parametrize("name", ["index", "hosting", "image-service", "measurements"])
def test_pages_are_accessible_and_fit(name: str, page: Page, guide: str) -> None:
    page.goto(f"{guide}{name}.html")
    assert violations(page) == []
    assert overflowing_widths(page) == []
