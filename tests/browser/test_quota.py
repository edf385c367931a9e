"""A quota that comes and goes while a disk is open: reading goes on, and the cache comes back."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page

from aero_browser_disk.testing.image_server import Behaviour, ImageServer
from aero_browser_disk.testing.site_server import SiteServer
from aero_browser_disk.testing.synthetic_image import SyntheticImage
from browser.quota import leave_space

MIB = 1 << 20
BLOCK = 64 << 10
DISK = SyntheticImage(64 * MIB, seed=9)

OPEN = """async ([base, url, blockSize]) => {
  const { openDisk } = await import(`${base}aero-disk.mjs`);
  globalThis.disk = await openDisk({ url, blockSize, allowRemote: true, readAhead: false });
}"""
# One block after the other, and the digest of them all.
DIGEST = """async ([offset, length, step]) => {
  const all = new Uint8Array(length);
  for (let at = 0; at < length; at += step) all.set(await disk.read(offset + at, step), at);
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", all));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}"""


@pytest.fixture
def images() -> Iterator[ImageServer]:
    fresh = Behaviour(cache_control="public, max-age=300")
    with ImageServer({"disk.img": DISK}, behaviour=fresh) as server:
        yield server


def read_is_exact(page: Page, offset: int, length: int) -> None:
    expected = hashlib.sha256(DISK.read(offset, length)).hexdigest()
    assert page.evaluate(DIGEST, [offset, length, BLOCK]) == expected


def test_the_cache_shrinks_with_the_quota_and_grows_again(
    page: Page, site: SiteServer, images: ImageServer
) -> None:
    def stats() -> dict:
        return page.evaluate("disk.stats()")

    page.goto(f"{site.url}wheels/index.json")  # of the site, and with nothing of its own
    page.evaluate(OPEN, [site.url, images.url("disk.img"), BLOCK])
    read_is_exact(page, 0, 2 * MIB)
    assert stats()["cachedBytes"] == 2 * MIB

    leave_space(page, -MIB)
    read_is_exact(page, 8 * MIB, 2 * MIB)
    read_is_exact(page, 0, MIB)
    full = stats()
    assert "storage-full" in full["notices"]
    assert "storage-failed" not in full["notices"]
    assert full["cachedBytes"] <= 2 * MIB

    leave_space(page, None)
    read_is_exact(page, 16 * MIB, 6 * MIB)
    again = stats()
    assert "storage-full" not in again["notices"]
    assert again["cachedBytes"] > 2 * MIB
    images.forget()
    read_is_exact(page, 21 * MIB, MIB)
    assert images.requests == []
