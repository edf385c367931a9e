"""An overlay on the demo page whose image has a new version: an image of the old one; the move."""

from __future__ import annotations

import random
import re

from playwright.sync_api import Page, expect

from aero_browser_disk.streaming.digest_list import digests_of
from aero_browser_disk.testing.image_server import ImageServer
from aero_browser_disk.testing.site_server import SiteServer
from support.prepared import prepared_files

from .saves_page import READ, answer, open_overlay, press

CHUNK = 64 << 10
OLD = random.Random(1).randbytes(16 * CHUNK)
# The overlay has all that differs.
NEWER = random.Random(2).randbytes(CHUNK) + OLD[CHUNK:]
LAST = f"""async ({{ url, overlay }}) => {{
  const {{ openDisk }} = await import("./aero-disk.mjs");
  const disk = await openDisk({{ url, overlay, allowRemote: true }});
  const bytes = await disk.read({CHUNK}, 16);
  const {{ notices }} = await disk.stats();
  await disk.close();
  return {{ bytes: [...bytes], notices }};
}}"""


def digest_list(name: str, data: bytes) -> dict[str, str | bytes]:
    """A file that the page is given."""
    document = digests_of([data], CHUNK).encode()
    return {"name": name, "mimeType": "application/json", "buffer": document}


def expect_moved(page: Page, url: str) -> None:
    """The overlay is over the new version, with what was written to it."""
    assert page.evaluate(READ, {"url": url, "overlay": "work"}) == 1
    found = page.evaluate(LAST, {"url": url, "overlay": "work"})
    assert bytes(found["bytes"]) == NEWER[CHUNK : CHUNK + 16]
    assert "older-version" not in found["notices"]


def test_an_overlay_of_an_older_version_is_led_through(page: Page, site: SiteServer) -> None:
    with ImageServer({"disk.img": OLD}) as images:
        url = images.url("disk.img")
        panel = open_overlay(page, site.url, url, CHUNK)
        panel.read_range("0", "1 MiB")  # now all of this version is here
        expect(page.get_by_test_id("read-sha256")).not_to_have_text("–")
        page.locator("#close").click()
        expect(page.locator("#outdated")).to_be_hidden()
        images.image("disk.img").replace(NEWER)
        page.locator("#overlay").fill("work")
        panel.start_opening(url)
        panel.expect_error("The base image has changed")
        page.locator("#outdated").click()
        dialog = page.locator("#saves")
        status = dialog.locator("#saves-status")
        expect(status).to_contain_text("there are no digests of both versions")
        expect(status).to_contain_text("A local image can be made of it")
        press(dialog, "Make a local image")
        answer(page, "Make it", "Name of the image", "rescued")
        expect(status).to_have_text("“rescued” is in the list of disks.")
        press(dialog, "Close")
        expect(panel.disk("rescued")).to_be_visible()

        # With digests of both versions it can be moved.
        page.locator("#outdated").click()
        expect(status).to_contain_text("there are no digests of both versions")
        before = dialog.get_by_label("Digest list of the version before")
        present = dialog.get_by_label("Digest list of the new version")
        before.set_input_files(digest_list("before.json", OLD))
        present.set_input_files(digest_list("new.json", NEWER))
        press(dialog, "Compare")
        expect(status).to_contain_text("It can be moved to the new version")
        press(dialog, "Move it")
        expect(status).to_have_text("It was moved. Open the image with it again.")
        press(dialog, "Close")
        expect_moved(page, url)
        page.close()


def test_an_overlay_of_a_prepared_image_is_moved_while_its_old_version_is_open(
    page: Page, site: SiteServer
) -> None:
    before = prepared_files(OLD, CHUNK)
    with ImageServer(before) as images:
        url = images.url("manifest.json")
        panel = open_overlay(page, site.url, url, CHUNK)
        page.locator("#close").click()
        expect(page.locator("#close")).to_have_attribute("aria-disabled", "true")
        for name, content in prepared_files(NEWER, CHUNK).items():
            if name == "manifest.json":
                images.image(name).replace(content)
            elif name not in before:
                images.add(name, content)
        page.locator("#overlay").fill("work")
        panel.open_image(url)
        expect(page.locator("#notices")).to_contain_text("A newer version of the image is there")
        page.locator("#outdated").click()
        answer(page, "Close it")
        dialog = page.locator("#saves")
        status = dialog.locator("#saves-status")
        expect(status).to_contain_text("It can be moved to the new version")
        press(dialog, "Move it")
        expect(status).to_have_text("It was moved. Open the image with it again.")
        press(dialog, "Close")
        expect_moved(page, url)
        page.locator("#overlay").fill("work")
        panel.open_image(url)
        expect(page.locator("#outdated")).to_be_hidden()
        panel.expect_status(re.compile(" is open: "))
        page.close()
