"""Takes pictures of the page in its states, at three sizes and in both themes, to look at them.

    PYTHONPATH=scripts python -m demo_site.states --out FOLDER

A picture is named by state, width and theme: `booting-1280-dark.png`. Needs Chromium and the BIOS
files that `scripts/setup demo` fetches.
"""

from __future__ import annotations

import argparse
import random
import re
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from playwright.sync_api import Page, expect, sync_playwright

from aero_browser_disk.testing.site_server import SiteServer
from building.site import build_site
from demo_site.main import SAMPLES, origins_of
from lib import browsers
from lib.image_service import CATALOG_ROUTE, ImageService
from lib.page_headers import page_headers
from lib.project import CACHE, GRUB_RESCUE_IMAGE
from samples.emulator import write_emulator
from samples.sample_image import make_samples

SIZES = ((360, 740), (1280, 800), (2560, 1440))
THEMES = ("light", "dark")
_PATIENCE_MS = 90_000
_IMPORTED = 3 << 30  # bytes: an import that lasts as long as its pictures take


class Pictures:
    """Takes the pictures of a page, each state in all sizes and themes."""

    def __init__(self, page: Page, out: Path, sizes: Sequence[tuple[int, int]]) -> None:
        self._page = page
        self._out = out
        self._sizes = sizes

    def take(self, state: str, *, whole: bool = False) -> None:
        """Pictures of the first screen, or of the whole page."""
        for width, height in self._sizes:
            self._page.set_viewport_size({"width": width, "height": height})
            for theme in THEMES:
                self._page.emulate_media(color_scheme="dark" if theme == "dark" else "light")
                self._page.evaluate("() => new Promise((done) => requestAnimationFrame(done))")
                self._page.evaluate("() => scrollTo(0, 0)")
                path = self._out / f"{state}-{width}-{theme}.png"
                self._page.screenshot(path=path, full_page=whole)
        width, height = SIZES[1]
        self._page.set_viewport_size({"width": width, "height": height})
        self._page.emulate_media(color_scheme="light")


def take_states(page: Page, pictures: Pictures, site: str, images: Sequence[str]) -> None:
    """Goes through the states: `images` are the addresses of a disk that boots and one of files."""
    grub, files = images
    expect(page.get_by_label("Use remote image")).to_be_enabled(timeout=_PATIENCE_MS)
    expect(page.locator("#start")).to_be_hidden()
    pictures.take("first")
    pictures.take("first-whole", whole=True)

    open_address(page, f"{site}missing.img")
    expect(page.locator("#error")).not_to_be_empty()
    pictures.take("failure")
    page.locator("#find-cause").click()
    expect(page.locator("#findings h3")).to_be_visible()
    pictures.take("failure-cause", whole=True)

    open_address(page, files)
    expect(page.locator("#panel")).to_have_attribute("data-phase", "open")
    pictures.take("open")
    page.get_by_role("tab", name="Files").click()
    page.locator("#browse").click()
    page.locator("#file-table button").first.click()
    expect(page.locator("#crumbs li")).to_have_count(2)
    pictures.take("files")
    for tab in ("Bytes", "Activity", "Details"):
        page.get_by_role("tab", name=tab).click()
        pictures.take(tab.lower())
    page.locator("#close").click()

    open_address(page, grub)
    page.get_by_role("tab", name="Machine").click()
    page.locator("#boot").click()
    page.get_by_role("combobox", name="Boot as").select_option("Disk")  # the image is a CD as well
    pictures.take("question")
    page.get_by_role("dialog").get_by_role("button", name="Boot", exact=True).click()
    expect(page.locator("#machine")).to_contain_text("GNU GRUB")
    pictures.take("booting")
    page.get_by_role("button", name="Save and pause", exact=True).click()
    expect(page.locator(".boot-status")).to_contain_text("saved")
    page.locator("#close").click()
    expect(page.locator("#library-list")).to_contain_text("Machine saved")
    pictures.take("saved-library", whole=True)
    page.goto(f"{site}?image={quote(grub, safe='')}&boot")
    expect(page.locator("#invite")).to_be_visible()
    pictures.take("saved-link")
    open_address(page, grub)
    expect(page.locator("#boot-resume")).to_be_visible()
    pictures.take("saved-machine")
    page.locator("#close").click()


def take_import(page: Page, pictures: Pictures, folder: Path) -> None:
    """An import that is under way, with another one that waits for it."""
    block = random.Random(1).randbytes(16 << 20)  # noqa: S311
    large, small = folder / "windows-98.img", folder / "games.img"
    with large.open("wb") as file:
        for _ in range(_IMPORTED // len(block)):
            file.write(block)
    small.write_bytes(block)
    for path in (large, small):
        with page.expect_file_chooser() as chooser:
            page.get_by_role("button", name="Import a file").click()
        chooser.value.set_files(path)
    expect(page.locator("#library-progress-text")).to_contain_text(re.compile("left"))
    pictures.take("import")


def open_address(page: Page, address: str) -> None:
    """Presses Open, with consent."""
    page.get_by_label("Use remote image").check()
    page.get_by_label("Image URL").fill(address)
    page.get_by_role("button", name="Open", exact=True).click()


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="states", description=__doc__)
    parser.add_argument("--site", type=Path, help="a built site; default: one is built")
    parser.add_argument("--out", type=Path, required=True, help="the folder of the pictures")
    parser.add_argument("--size", action="append", help="as 320x640, in place of the usual three")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    sizes = [
        (int(size.partition("x")[0]), int(size.partition("x")[2])) for size in options.size or ()
    ]
    expect.set_options(timeout=_PATIENCE_MS)
    with tempfile.TemporaryDirectory(dir=CACHE) as made:
        scratch = Path(made)
        site_folder = scratch / "site"
        if options.site:
            shutil.copytree(options.site, site_folder)
        else:
            build_site(site_folder)
        write_emulator(site_folder)
        images = {path.name: path for path in make_samples(SAMPLES)}
        with (
            SiteServer(site_folder, isolated=True, headers=page_headers()) as site,
            ImageService(SAMPLES, "127.0.0.1", origins_of(site)) as service,
            sync_playwright() as playwright,
        ):
            options_of = browsers.launch_options(playwright.chromium)
            context = playwright.chromium.launch_persistent_context(
                scratch / "profile", service_workers="block", **options_of
            )
            context.set_default_timeout(_PATIENCE_MS)
            page = context.pages[0]
            grub = service.image_url(images.pop(GRUB_RESCUE_IMAGE.name))
            files = service.image_url(next(iter(images.values())))
            page.goto(f"{site.url}?catalog={quote(service.url + CATALOG_ROUTE, safe='')}")
            pictures = Pictures(page, options.out, sizes or SIZES)
            take_states(page, pictures, site.url, (grub, files))
            take_import(page, pictures, scratch)
            context.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
