"""Makes the README's screenshot and its animation: the real page boots an image beside its map.

Needs Chromium, the BIOS files that `scripts/setup demo` fetches, and ffmpeg for the animation.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Page, expect, sync_playwright

from aero_browser_disk.testing.site_server import SiteServer
from building.site import build_site
from demo_site.main import SAMPLES, origins_of
from lib import browsers
from lib.image_service import ImageService
from lib.page_headers import page_headers
from lib.project import GRUB_RESCUE_IMAGE, WEB
from samples.boot_profiles import offer_boot_profile
from samples.boot_traces import GRUB_TRACE
from samples.emulator import write_emulator
from samples.sample_image import make_samples

PICTURES = WEB / "guide" / "pictures"
SCREENSHOT, ANIMATION = PICTURES / "page.png", PICTURES / "page.webp"
LARGEST = 500_000  # bytes of either
_SIZE = {"width": 1280, "height": 860}
_FRAMES_EVERY_S = 0.25
_FRAMES_A_SECOND = 5
_LINGER_FRAMES = 10
_BOOT_TIMEOUT_S = 180
_PATIENCE_MS = 120_000


def boot(page: Page, folder: Path) -> None:
    """Opens the image in the address and boots it; keeps a picture of every moment in `folder`."""
    page.get_by_label("Use remote image").check(timeout=_PATIENCE_MS)
    page.get_by_role("button", name="Open", exact=True).click()
    button = page.get_by_role("button", name="Boot it")
    expect(button).to_be_enabled(timeout=_PATIENCE_MS)
    button.scroll_into_view_if_needed()
    numbers = iter(range(10_000))

    def take() -> None:
        page.screenshot(path=folder / f"{next(numbers):04}.png")

    take()
    button.click()
    machine = page.locator("#machine")
    deadline = time.monotonic() + _BOOT_TIMEOUT_S
    while "GNU GRUB" not in machine.inner_text() and time.monotonic() < deadline:
        take()
        time.sleep(_FRAMES_EVERY_S)
    expect(machine).to_contain_text("GNU GRUB")
    for _ in range(_LINGER_FRAMES):
        take()
        time.sleep(_FRAMES_EVERY_S)


def animate(folder: Path) -> None:
    """Writes the animation from the pictures in `folder`, those that repeat left out."""
    command = ["ffmpeg", "-loglevel", "error", "-y", "-framerate", str(_FRAMES_A_SECOND)]
    command += ["-i", str(folder / "%04d.png"), "-vf", "mpdecimate=max=8,scale=800:-1"]
    command += ["-loop", "0", "-quality", "70", "-fps_mode", "vfr", str(ANIMATION)]
    subprocess.run(command, check=True)


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
            offer_boot_profile(service, image, GRUB_TRACE)
            browser = browsers.launch(playwright, "chromium")
            page = browser.new_page(viewport=_SIZE, color_scheme="light")
            page.goto(f"{site.url}?image={service.image_url(image)}")
            boot(page, frames)
            browser.close()
        last = max(frames.iterdir())
        SCREENSHOT.write_bytes(last.read_bytes())
        animate(frames)
    for picture in (SCREENSHOT, ANIMATION):
        size = picture.stat().st_size
        print(f"made {picture.name}, {size:,} bytes", file=sys.stderr)
        if size > LARGEST:
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
