"""DOSBox on the page: beside the machine that boots, and without it what to do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from aero_browser_disk.testing.image_server import ImageServer
from aero_browser_disk.testing.site_server import SiteServer
from browser.boot_page import BOOT_TIMEOUT_MS, copy_with_emulator
from browser.conftest import Console
from browser.panel_page import PanelPage
from browser.test_dosbox import ENDS_BY_THROWING
from lib.page_headers import page_headers
from samples.emulator import can_boot, write_dosbox
from support import dos_images

# What DOSBox prints last before it takes keys: a line is printed when it is complete.
STARTED = "Z:\\>c:"

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif(
        not can_boot(), reason="Debian's seabios is not here: scripts/setup fetches it"
    ),
]


@pytest.fixture(scope="module")
def emulators(site_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SiteServer]:
    """The site with v86 and DOSBox."""
    folder = tmp_path_factory.mktemp("page-dosbox") / "site"
    copy_with_emulator(site_folder, folder)
    write_dosbox(folder)
    with SiteServer(folder, isolated=True, headers=page_headers()) as server:
        yield server


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ImageServer]:
    with dos_images.served(tmp_path_factory.mktemp("dos")) as server:
        yield server


def open_page(page: Page, site: SiteServer, url: str, overlay: str) -> PanelPage:
    panel = PanelPage(page).visit(site.url).turn_on()
    page.locator("#overlay").fill(overlay)
    panel.open_image(url)
    return panel


def dosbox(panel: PanelPage) -> Locator:
    """DOSBox, while it is on the page."""
    return panel.page.locator("#dosbox-machine .dosbox-machine")


def press(panel: PanelPage, name: str) -> None:
    """Presses one of the buttons of DOSBox."""
    bar = panel.page.get_by_role("group", name="DOSBox")
    bar.get_by_role("button", name=name, exact=True).click()


def expect_printed(panel: PanelPage, text: str) -> None:
    log = dosbox(panel).get_by_role("log")
    expect(log).to_contain_text(text, timeout=BOOT_TIMEOUT_MS)


def type_line(panel: PanelPage, text: str) -> None:
    """Types on DOSBox's keyboard, which has the focus, as fast as a PC of its time reads it."""
    panel.page.keyboard.type(text, delay=60)
    panel.page.keyboard.press("Enter", delay=60)


def test_a_disk_without_boot_code_runs_in_dosbox(
    page: Page, emulators: SiteServer, images: ImageServer
) -> None:
    panel = open_page(page, emulators, images.url("disk.img"), "dos")
    expect(panel.button("Boot this disk")).to_be_visible()
    panel.button("Boot this disk").click()
    expect(page.locator("#boot-note")).to_contain_text("no boot code")
    machine = page.locator("#machine .boot")
    expect(machine).to_have_attribute("data-state", "running", timeout=BOOT_TIMEOUT_MS)

    # The disk is in one machine at a time.
    question = page.get_by_role("dialog")
    panel.button("Run in DOSBox").click()
    expect(question).to_contain_text("Run disk.img in DOSBox?")
    question.get_by_role("button", name="Switch off and run").click()
    expect_printed(panel, STARTED)
    expect(machine).to_have_count(0)
    expect(panel.button("Boot this disk")).to_be_hidden()
    assert page.evaluate("!dispatchEvent(new Event('beforeunload', { cancelable: true }))")

    press(panel, "Use the keyboard")
    type_line(panel, "hello")
    expect_printed(panel, "the program ran")
    type_line(panel, "copy data.txt new.txt")
    expect_printed(panel, "1 File(s) copied")
    colours = """canvas => new Set(new Uint32Array(
      canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data.buffer)).size"""
    assert dosbox(panel).locator("canvas").evaluate(colours) > 1
    press(panel, "Pause")
    expect(dosbox(panel)).to_have_attribute("data-state", "paused")
    press(panel, "Resume")
    page.keyboard.press("Tab")
    press(panel, "Switch off")
    question.get_by_role("button", name="Switch off", exact=True).click()
    expect(dosbox(panel)).to_have_count(0)
    expect(panel.button("Boot this disk")).to_be_visible()

    panel.show("Files")
    panel.button("Browse files").click()
    files = page.locator("#file-table")
    files.get_by_role("button", name="Partition 1").click()
    expect(files).to_contain_text("NEW.TXT")
    page.close()


def test_a_fat32_disk_runs_in_dosbox_x_and_is_closed_with_the_image(
    page: Page, emulators: SiteServer, images: ImageServer, console: Console
) -> None:
    console.allow(ENDS_BY_THROWING)
    panel = open_page(page, emulators, images.url("fat32.img"), "dos")
    panel.button("Run in DOSBox").click()
    expect_printed(panel, STARTED)
    press(panel, "Use the keyboard")
    type_line(panel, "hello")
    expect_printed(panel, "the program ran")
    panel.close.click()
    question = page.get_by_role("dialog")
    expect(question).to_contain_text("Close fat32.img?")
    question.get_by_role("button", name="Switch off and close").click()
    expect(dosbox(panel)).to_have_count(0)
    expect(panel.button("Open")).to_be_visible()
    page.close()


def test_the_page_says_what_is_missing(
    page: Page, emulators: SiteServer, images: ImageServer, console: Console
) -> None:
    console.allow("404|MIME type")
    panel = open_page(page, emulators, images.url("disk.img"), "")
    failure = page.locator("#dosbox-error")
    panel.button("Run in DOSBox").click()
    expect(failure).to_contain_text("overlay")
    panel.close.click()
    page.locator("#overlay").fill("dos")
    panel.open_image(images.url("disk.img"))
    page.evaluate("document.querySelector('#dosbox').dataset.emulators = 'elsewhere/'")
    panel.button("Run in DOSBox").click()
    expect(failure).to_contain_text(f"{emulators.url}elsewhere/emulators.js did not load")
    expect(failure).to_contain_text("npm’s package “emulators”")
    expect(panel.button("Run in DOSBox")).to_be_visible()
    page.close()
