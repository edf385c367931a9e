"""Chromium with its profile on a device that others fill while a disk is written: what was accepted
is flushed, and is there in the next browser."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page

from aero_browser_disk.testing.site_server import SiteServer
from support.small_device import filled_device, small_device

MIB = 1 << 20

OPEN = """async ([size, isNew]) => {
  const { openDisk, library } = await import("../aero-disk.mjs");
  if (isNew) await library.create("vm", { size });
  globalThis.disk = await openDisk({ image: "vm", overlay: "work" });
}"""
# Every other block of 4 KiB, so that nothing lies together; each says its number.
CONTENT = """
globalThis.content = (number) => new Uint8Array(new Uint32Array(1024).fill(number + 1).buffer);
globalThis.offset = (number) => number * 8192;
"""
# Writes one block after the other until there is no room; returns how many were accepted.
WRITE = """async ([from, to]) => {
  for (let number = from; number < to; number++) {
    try {
      await disk.write(offset(number), content(number));
    } catch (error) {
      if (error.name !== "StorageFullError") throw error;
      return number;
    }
  }
  return to;
}"""
WRONG = """async ([count]) => {
  const wrong = [];
  for (let number = 0; number < count; number++) {
    const found = await disk.read(offset(number), 4096);
    if (!found.every((byte, index) => byte === content(number)[index])) wrong.push(number);
  }
  return wrong;
}"""


def open_page(context: BrowserContext, site: SiteServer, *, is_new: bool) -> Page:
    page = context.new_page()
    page.route("**/favicon.ico", lambda route: route.fulfill(status=204))
    page.goto(f"{site.url}wheels/index.json")  # of the site, and with nothing of its own
    page.evaluate(CONTENT)
    page.evaluate(OPEN, [64 * MIB, is_new])
    return page


@pytest.mark.timeout(180)
def test_what_a_browser_accepted_is_flushed_on_a_full_device(
    open_profile, site: SiteServer, tmp_path: Path
) -> None:
    with small_device(tmp_path, "ext4", 512 * MIB) as device:
        context = open_profile("device")
        page = open_page(context, site, is_new=True)
        accepted = page.evaluate(WRITE, [0, 150])
        assert accepted == 150
        with filled_device(device):
            page.evaluate("disk.flush()")
            accepted = page.evaluate(WRITE, [accepted, 8000])
            assert accepted < 8000, "there was no end of room"
            page.evaluate("disk.flush()")
            for number in (0, 77, accepted - 1):
                assert page.evaluate(WRITE, [number, number + 1]) == number + 1
            page.evaluate("disk.close()")
        page.close()
        context.close()
        context = open_profile("device")
        page = open_page(context, site, is_new=False)
        assert page.evaluate(WRONG, [accepted]) == []
        context.close()
