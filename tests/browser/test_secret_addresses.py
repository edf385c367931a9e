"""What is secret in an address is used, never shown again and never kept."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import quote, urlsplit

import pytest
from playwright.sync_api import Page, expect

from aero_browser_disk.testing.image_server import Behaviour, ImageServer
from aero_browser_disk.testing.site_server import SiteServer
from browser.panel_page import PanelPage

SECRETS = ("PASSWORD", "TOKEN", "FRAGMENT")
STORED = """async () => {
  const found = [JSON.stringify(localStorage), JSON.stringify(sessionStorage), document.cookie];
  found.push(JSON.stringify(await indexedDB.databases()), JSON.stringify(await caches.keys()));
  found.push(JSON.stringify(history.state));
  const walk = async (folder) => {
    for await (const [name, handle] of folder.entries()) {
      if (name === "quick-start") continue;  // Python as it was built, before there was a secret
      found.push(name);
      if (handle.kind === "directory") await walk(handle);
      else found.push(await (await handle.getFile()).text());
    }
  };
  await walk(await navigator.storage.getDirectory());
  return found.join("\\n");
}"""
SHOWN = """() => [document.documentElement.outerHTML,
  ...[...document.querySelectorAll("input")].map((field) => field.value)].join("\\n")"""


@pytest.fixture
def images() -> Iterator[ImageServer]:
    with ImageServer({"disk.img": bytes(range(256)) * 4096}) as server:
        yield server


@pytest.fixture
def secret_url(images: ImageServer) -> str:
    parts = urlsplit(images.url("disk.img"))
    return f"http://me:PASSWORD@{parts.netloc}/disk.img?token=TOKEN#FRAGMENT"


@pytest.fixture
def shown_url(images: ImageServer) -> str:
    return f"http://…@{urlsplit(images.url('disk.img')).netloc}/disk.img?…#…"


def secrets_in(text: str) -> list[str]:
    return [secret for secret in SECRETS if secret in text]


def test_a_secret_address_is_used_and_shown_redacted_once_opened(
    page: Page, site: SiteServer, images: ImageServer, secret_url: str, shown_url: str
) -> None:
    panel = PanelPage(page).visit(site.url).turn_on()
    panel.url.fill(secret_url)
    expect(panel.url).to_have_accessible_description(re.compile("It is not remembered"))
    panel.open.click()
    panel.expect_status("disk.img is open: 1 MiB.")

    expect(panel.url).to_have_value(shown_url)
    assert secrets_in(page.evaluate(SHOWN)) == []
    asked = images.image_requests("disk.img")
    assert {request.query for request in asked} == {"token=TOKEN"}
    assert all(request.headers["authorization"].startswith("Basic ") for request in asked)

    panel.read_range("0", "512")
    panel.expect_status("Read 512 bytes of disk.img.")
    assert secrets_in(page.evaluate(SHOWN)) == []


def test_nothing_of_it_is_stored_and_nothing_is_there_after_a_reload(
    page: Page, site: SiteServer, secret_url: str
) -> None:
    panel = PanelPage(page).visit(site.url).turn_on()
    panel.open_image(secret_url)
    panel.read_range("0", "1 MiB")
    panel.expect_status("Read 1 MiB of disk.img.")
    panel.close.click()
    panel.expect_status("Ready to open.")

    assert secrets_in(page.evaluate(STORED)) == []
    panel.reload()
    expect(panel.url).to_have_value("")
    assert secrets_in(page.evaluate(STORED) + page.evaluate(SHOWN)) == []


def test_it_can_be_opened_again_in_the_same_visit(
    page: Page, site: SiteServer, images: ImageServer, secret_url: str, shown_url: str
) -> None:
    panel = PanelPage(page).visit(site.url).turn_on()
    panel.open_image(secret_url)
    panel.close.click()
    panel.expect_status("Ready to open.")
    images.forget()

    expect(panel.url).to_have_value(shown_url)
    panel.open.click()

    panel.expect_status("disk.img is open: 1 MiB.")
    assert {request.query for request in images.image_requests("disk.img")} == {"token=TOKEN"}


def test_an_error_tells_nothing_secret(
    page: Page, site: SiteServer, images: ImageServer, secret_url: str
) -> None:
    images.behaviour = Behaviour(status=403)
    panel = PanelPage(page).visit(site.url).turn_on()
    panel.start_opening(secret_url)

    panel.expect_error("The server refused", "status 403", "/disk.img?…")

    assert secrets_in(panel.error.inner_text()) == []
    assert secrets_in(page.evaluate(STORED)) == []
    expect(panel.url).to_have_value(secret_url)  # so that it can be corrected


def test_a_secret_in_the_address_of_the_page_is_taken_out_of_it(
    page: Page, site: SiteServer, secret_url: str
) -> None:
    panel = PanelPage(page).visit(f"{site.url}?image={quote(secret_url, safe='')}")

    expect(panel.url).to_have_value(secret_url)
    expect(page).to_have_url(site.url)


def test_a_plain_address_is_remembered_only_once_it_was_opened(
    page: Page, site: SiteServer, images: ImageServer
) -> None:
    panel = PanelPage(page).visit(site.url).turn_on()
    panel.start_opening(images.url("missing.img"))
    panel.expect_error("The server refused")
    panel.reload()
    expect(panel.url).to_have_value("")

    panel.turn_on()
    panel.open_image(images.url("disk.img"))
    panel.reload()
    expect(panel.url).to_have_value(images.url("disk.img"))
