"""Makes the README's screenshot and its animation: the real page boots an image next to its map.

Needs Chromium, the BIOS files that `scripts/setup demo` fetches, and ffmpeg for the animation.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import FloatRect, Page, ViewportSize, expect, sync_playwright

from aero_browser_disk.testing.site_server import SiteServer
from building.site import build_site
from demo_site.main import SAMPLES, origins_of
from lib import browsers
from lib.image_service import ImageService
from lib.page_headers import page_headers
from lib.project import GRUB_RESCUE_IMAGE, WEB
from samples.emulator import write_emulator
from samples.sample_image import make_samples

PICTURES = WEB / "guide" / "pictures"
SCREENSHOT, ANIMATION = PICTURES / "page.png", PICTURES / "page.webp"
LARGEST = 500_000  # bytes of either
_SIZE: ViewportSize = {"width": 1280, "height": 800}
_SCREENSHOT_WIDTH, _ANIMATION_WIDTH = 1400, 900
_FRAMES_EVERY_S = 0.25
_FRAMES_A_SECOND = 5
_LINGER_FRAMES = 12
_BOOT_TIMEOUT_S = 180
_PATIENCE_MS = 120_000


def boot(page: Page, folder: Path) -> None:
    """Opens the image in the address and boots it; saves a picture of each step in `folder`."""
    page.get_by_label("Use remote image").check(timeout=_PATIENCE_MS)
    page.get_by_role("button", name="Open", exact=True).click()
    button = page.get_by_role("button", name="Boot this disk")
    expect(button).to_be_enabled(timeout=_PATIENCE_MS)
    clip = map_and_machine(page)
    numbers = iter(range(10_000))

    def take() -> None:
        page.screenshot(path=folder / f"{next(numbers):04}.png", clip=clip)

    take()
    button.click()
    page.get_by_role("combobox", name="Boot as").select_option("Disk")  # the image is a CD as well
    page.get_by_role("dialog").get_by_role("button", name="Boot", exact=True).click()
    machine = page.locator("#machine")
    deadline = time.monotonic() + _BOOT_TIMEOUT_S
    while "GNU GRUB" not in machine.inner_text() and time.monotonic() < deadline:
        take()
        time.sleep(_FRAMES_EVERY_S)
    expect(machine).to_contain_text("GNU GRUB")
    for _ in range(_LINGER_FRAMES):
        take()
        time.sleep(_FRAMES_EVERY_S)


def map_and_machine(page: Page) -> FloatRect:
    """The page's first screen from the bar on: the machine, and next to it the map."""
    bar = page.locator("#bar").bounding_box()
    assert bar is not None
    return {**bar, "height": _SIZE["height"] - bar["y"]}


def encode(source: Path, target: Path, width: int, *options: str) -> None:
    """Writes a picture, or a sequence of them, in another size."""
    command = ["ffmpeg", "-loglevel", "error", "-y", "-framerate", str(_FRAMES_A_SECOND)]
    command += ["-i", str(source), "-vf", f"mpdecimate=max=8,scale={width}:-1", *options]
    subprocess.run([*command, str(target)], check=True)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="pictures", description=__doc__)
    parser.add_argument("--site", type=Path, help="a built site; default: one is built")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        site_folder = Path(scratch, "site")
        if options.site:
            subprocess.run(["cp", "-r", options.site, site_folder], check=True)
        else:
            build_site(site_folder)
        write_emulator(site_folder)
        frames = Path(scratch, "frames")
        frames.mkdir()
        make_samples(SAMPLES)
        image = SAMPLES / GRUB_RESCUE_IMAGE.name
        with (
            SiteServer(site_folder, isolated=True, headers=page_headers()) as site,
            ImageService(SAMPLES, "127.0.0.1", origins_of(site)) as service,
            sync_playwright() as playwright,
        ):
            browser = browsers.launch(playwright, "chromium")
            page = browser.new_page(viewport=_SIZE, color_scheme="light")
            page.goto(f"{site.url}?image={service.image_url(image)}")
            boot(page, frames)
            page.screenshot(path=Path(scratch, "page.png"))
            browser.close()
        encode(Path(scratch, "page.png"), SCREENSHOT, _SCREENSHOT_WIDTH)
        repeat = ("-loop", "0", "-quality", "75", "-fps_mode", "vfr")
        encode(frames / "%04d.png", ANIMATION, _ANIMATION_WIDTH, *repeat)
    for picture in (SCREENSHOT, ANIMATION):
        size = picture.stat().st_size
        print(f"made {picture.name}, {size:,} bytes", file=sys.stderr)
        if size > LARGEST:
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
