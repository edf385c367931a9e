"""`<aero-disk>`: consent, a machine, twice on a page, and what is wrong with its files."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from aero_browser_disk.testing.image_server import ImageServer
from aero_browser_disk.testing.site_server import SiteServer
from browser.accessibility import violations
from browser.boot_page import BOOT_TIMEOUT_MS, copy_with_emulator
from browser.conftest import Console
from lib.page_headers import page_headers
from lib.project import BIOS, GRUB_RESCUE_IMAGE
from samples.emulator import can_boot
from support.readme import EXAMPLE_URL, blocks

MENU = "GNU GRUB"
PAGE = """<!doctype html><html lang="en"><title>Two machines</title><link rel="icon" href="data:,">
<meta name="viewport" content="width=device-width">
<main><h1>Two machines</h1>
<aero-disk id="one" src="{url}" boot remote-consent memory="64" overlay="one"></aero-disk>
<aero-disk id="two" src="{url}" remote-consent memory="64" {more}></aero-disk></main>
<script type="module" src="element.mjs"></script>
"""

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif(
        not (can_boot() and GRUB_RESCUE_IMAGE.exists()),
        reason="Debian's seabios and grub-rescue-pc are not here: scripts/setup fetches them",
    ),
]


@pytest.fixture(scope="module")
def folder(site_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("element") / "site"
    copy_with_emulator(site_folder, folder)
    shutil.copyfile(BIOS.parent / "vgabios.bin", folder / "v86" / "vgabios.bin")
    return folder


@pytest.fixture(scope="module")
def elements(folder: Path) -> Iterator[SiteServer]:
    with SiteServer(folder, headers=page_headers()) as server:
        yield server


@pytest.fixture(scope="module")
def images() -> Iterator[ImageServer]:
    with ImageServer({"rescue.img": GRUB_RESCUE_IMAGE}) as server:
        yield server


def show(page: Page, elements: SiteServer, folder: Path, url: str, more: str = "") -> None:
    (folder / "two.html").write_text(PAGE.format(url=url, more=more))
    page.goto(f"{elements.url}two.html")


def screen(element: Locator) -> Locator:
    return element.locator(".boot-screen")


def state(element: Locator) -> Locator:
    return element.locator(".boot")


def press(element: Locator, name: str) -> None:
    element.get_by_role("button", name=name, exact=True).click()


@pytest.mark.parametrize("browser", ["chromium", "firefox"], indirect=True)
def test_two_machines_on_a_page_each_with_its_consent(
    page: Page, elements: SiteServer, folder: Path, images: ImageServer
) -> None:
    images.forget()
    page.set_viewport_size({"width": 360, "height": 740})
    show(page, elements, folder, images.url("rescue.img"))
    one, two = page.locator("#one"), page.locator("#two")
    page.evaluate(
        """() => {
          globalThis.seen = [];
          for (const type of ["open", "state", "activity", "close", "error"]) {
            one.addEventListener(type, () => seen.includes(type) || seen.push(type));
          }
        }"""
    )
    for element in (one, two):
        expect(element.get_by_role("group")).to_contain_text(images.url("").rstrip("/"))
    assert violations(page) == []
    assert images.requests == [], "nothing leaves the browser without consent"

    press(one, "Load the disk")
    expect(screen(one)).to_contain_text(MENU, timeout=BOOT_TIMEOUT_MS)
    expect(two.get_by_role("button", name="Load the disk")).to_be_visible()
    expect(one.get_by_role("img", name="Map of the disk")).to_be_visible()
    expect(one.locator(".facts")).to_contain_text("5.1 MB")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    press(one, "Pause")
    expect(state(one)).to_have_attribute("data-state", "paused")
    assert violations(page) == []
    press(one, "Resume")
    expect(state(one)).not_to_have_attribute("data-state", "paused")

    press(one, "Use the keyboard")
    page.keyboard.press("c", delay=60)
    expect(screen(one)).to_contain_text("grub>", timeout=BOOT_TIMEOUT_MS)
    press(one, "Full screen")
    page.wait_for_function(
        "() => one.shadowRoot.fullscreenElement?.classList.contains('boot-screen')"
    )
    page.evaluate("document.exitFullscreen()")
    press(one, "Save and pause")
    expect(state(one)).to_contain_text("is saved")
    press(one, "Switch off")
    press(one, "Resume")
    expect(screen(one)).to_contain_text("grub>", timeout=BOOT_TIMEOUT_MS)
    press(one, "Ctrl+Alt+Del")
    expect(screen(one)).to_contain_text(MENU, timeout=BOOT_TIMEOUT_MS)
    assert page.evaluate("seen") == ["open", "state", "activity"]

    press(two, "Load the disk")
    expect(two.get_by_role("button", name="Boot", exact=True)).to_be_visible()
    page.evaluate("() => { globalThis.kept = one.disk; one.remove(); }")
    page.wait_for_function("() => seen.includes('close')")
    assert page.evaluate("kept.read(0, 512).catch((error) => error.name)") == "DiskClosedError"
    assert page.evaluate("two.disk.read(0, 512).then((bytes) => bytes[511])") == 0xAA
    page.close()


def test_the_element_of_the_guide_boots(
    page: Page, elements: SiteServer, folder: Path, images: ImageServer
) -> None:
    (text,) = [block.text for block in blocks("html") if block.page.name == "emulators.md"]
    url = images.url("rescue.img")
    (folder / "guide.html").write_text(text.replace(EXAMPLE_URL, url))
    page.goto(f"{elements.url}guide.html")
    element = page.locator("aero-disk")
    press(element, "Load the disk")
    expect(screen(element)).to_contain_text(MENU, timeout=BOOT_TIMEOUT_MS)
    page.close()


def test_a_wrong_bios_is_an_error_on_the_page(
    page: Page, elements: SiteServer, folder: Path, images: ImageServer, console: Console
) -> None:
    console.allow("404")
    show(page, elements, folder, images.url("rescue.img"), 'boot vga-bios-url="v86/vgabios.bin"')
    two = page.locator("#two")
    page.evaluate("() => void two.addEventListener('error', (event) => (globalThis.heard = event))")
    press(two, "Load the disk")
    expect(two.get_by_role("alert")).to_contain_text("vgabios-stdvga.bin of SeaBIOS")
    page.wait_for_function("() => globalThis.heard?.error.name === 'EmulatorFileError'")
    page.evaluate("two.setAttribute('vga-bios-url', 'v86/nothing.bin')")
    page.evaluate("() => void two.open()")
    expect(two.get_by_role("alert")).to_contain_text("nothing.bin did not load")
    page.evaluate("two.remove()")


def test_a_disk_that_does_not_open_says_why_and_is_tried_again(
    page: Page, elements: SiteServer, folder: Path, images: ImageServer
) -> None:
    show(page, elements, folder, images.url("rescue.img"))
    two = page.locator("#two")
    page.evaluate("two.setAttribute('src', two.getAttribute('src') + '.missing')")
    press(two, "Load the disk")
    expect(two.get_by_role("alert")).to_contain_text("404")
    page.evaluate("two.removeAttribute('remote-consent')")
    page.evaluate("two.setAttribute('src', one.getAttribute('src'))")
    expect(two.get_by_role("alert")).to_contain_text("consent")
    page.evaluate("two.setAttribute('remote-consent', 'given')")
    press(two, "Try again")
    expect(two.get_by_role("button", name="Boot", exact=True)).to_be_visible()
    page.evaluate("two.remove()")
