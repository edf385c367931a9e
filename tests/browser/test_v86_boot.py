"""A real machine boots a streamed image: v86 in Chromium, the image from the real service."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from aero_browser_disk.testing.site_server import SiteServer
from browser.boot_page import BootPage, copy_with_emulator
from emulator import can_boot
from image_service import ImageService
from project import GRUB_RESCUE_IMAGE

HOST = "127.0.0.1"
MENU = "GNU GRUB"
PROMPT = "grub>"

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif(
        not (can_boot() and GRUB_RESCUE_IMAGE.exists()),
        reason="Debian's seabios and grub-rescue-pc are not here: scripts/setup fetches them",
    ),
]


@pytest.fixture(scope="module")
def boot_site(site_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SiteServer]:
    folder = tmp_path_factory.mktemp("boot") / "site"
    copy_with_emulator(site_folder, folder)
    with SiteServer(folder, isolated=True) as server:
        yield server


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """The rescue disk in a folder of its own."""
    (tmp_path / "images").mkdir()
    return Path(shutil.copyfile(GRUB_RESCUE_IMAGE, tmp_path / "images" / "rescue.img"))


def test_the_machine_stops_while_the_host_is_away_and_then_boots_to_the_menu(
    boot_site: SiteServer, image: Path, page: Page
) -> None:
    machine = BootPage(page)
    with ImageService(image.parent, HOST, [boot_site.origin]) as service:
        url = service.image_url(image)
        machine.make(boot_site.url, url)
        machine.evaluate("""() => {
          let reads = 0;
          boot.addEventListener("activity", () => { if (++reads === 12) boot.pause(); });
        }""")
        machine.press("Boot")
        machine.expect_state("paused")
    assert MENU not in machine.text

    machine.press("Resume")
    machine.expect_state("failed")
    expect(machine.failure).to_be_visible()
    expect(machine.failure).to_contain_text("The disk could not be read")
    assert not machine.evaluate("boot.machine.is_running()")
    machine.press("Try again")
    expect(machine.failure).to_be_visible()
    machine.expect_state("failed")

    with ImageService(image.parent, HOST, [boot_site.origin], port=port_of(url)):
        machine.press("Try again")
        machine.expect_text(MENU)
        machine.expect_state("running")
        expect(machine.failure).to_be_hidden()
        assert machine.evaluate("disk.stats().then((stats) => stats.bytesRead)") > 800_000


def test_a_saved_machine_goes_on_after_a_reload_with_its_own_disk_only(
    boot_site: SiteServer, image: Path, context: BrowserContext
) -> None:
    machine = BootPage(context.new_page())
    with ImageService(image.parent, HOST, [boot_site.origin]) as service:
        url = service.image_url(image)
        machine.make(boot_site.url, url, name="rescue")
        expect(machine.button("Resume")).to_be_hidden()
        machine.press("Boot")
        machine.expect_text(MENU)
        machine.page.locator(".boot-screen").focus()
        machine.page.keyboard.press("c", delay=60)
        machine.expect_text(PROMPT)
        machine.type("echo before")
        machine.press("Save and pause")
        machine.expect_state("paused")
        expect(machine.page.locator(".boot-status")).to_contain_text("saved")

        machine.make(boot_site.url, url, name="rescue")
        machine.press("Resume")
        machine.expect_state("running")
        machine.expect_text("echo before")
        machine.type("ls (hd0)")
        machine.expect_text("Device hd0")
        machine.press("Switch off")
        machine.expect_state("off")

        other = image.with_name("other.img")
        other.write_bytes(image.read_bytes() + bytes(512))
        machine.make(boot_site.url, service.image_url(other), name="rescue")
        machine.press("Resume")
        expect(machine.failure).to_contain_text("belongs to another disk")
        machine.expect_state("off")


def port_of(url: str) -> int:
    return int(url.split("/")[2].rpartition(":")[2])
