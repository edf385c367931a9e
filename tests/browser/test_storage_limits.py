"""Browsers and windows with little storage, or none: reading goes on, and the panel says so."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from aero_browser_disk.testing.image_server import Behaviour, ImageServer
from aero_browser_disk.testing.site_server import SiteServer
from aero_browser_disk.testing.synthetic_image import SyntheticImage
from browser.panel_page import PanelPage
from browser.quota import leave_space, usage

DISK = SyntheticImage(256 * 2**20, seed=5)
# What a private window of Firefox or Safari does, and what an older browser lacks.
PRIVATE_WINDOW = (
    "StorageManager.prototype.getDirectory ="
    " async () => { throw new DOMException('not in a private window', 'SecurityError'); };\n"
)
OLDER_BROWSER = "delete FileSystemFileHandle.prototype.createSyncAccessHandle;\n"


@pytest.fixture
def images() -> Iterator[ImageServer]:
    fresh = Behaviour(cache_control="public, max-age=300")
    with ImageServer({"disk.img": DISK}, behaviour=fresh) as server:
        yield server


def digest(offset: int, length: int) -> str:
    return hashlib.sha256(DISK.read(offset, length)).hexdigest()


@pytest.fixture
def limited_site(
    request: pytest.FixtureRequest, site_folder: Path, tmp_path: Path
) -> Iterator[SiteServer]:
    """The site with a worker that first takes away what the parameter says."""
    for path in site_folder.iterdir():
        if path.name != "worker.mjs":
            (tmp_path / path.name).symlink_to(path, target_is_directory=path.is_dir())
    worker = (site_folder / "worker.mjs").read_text(encoding="utf-8")
    (tmp_path / "worker.mjs").write_text(request.param + worker, encoding="utf-8")
    with SiteServer(tmp_path) as server:
        yield server


@pytest.mark.parametrize(
    "limited_site",
    [pytest.param(PRIVATE_WINDOW, id="private"), pytest.param(OLDER_BROWSER, id="older")],
    indirect=True,
)
def test_without_lasting_storage_it_works_from_memory(
    page: Page, limited_site: SiteServer, images: ImageServer
) -> None:
    panel = PanelPage(page).visit(limited_site.url).turn_on()
    panel.open_image(images.url("disk.img"))

    expect(panel.notice("memory-cache")).to_contain_text("stay in memory")
    panel.show("Details")
    expect(page.get_by_text("In memory until this page is closed.")).to_be_visible()
    panel.read_range("1 MiB", "1 MiB")
    panel.expect_digest(digest(2**20, 2**20))
    images.forget()
    panel.read_range("0x100001", "1000")
    panel.expect_digest(digest(0x100001, 1000))
    assert images.requests == []


def test_with_no_room_left_reading_goes_on(
    page: Page, site: SiteServer, images: ImageServer
) -> None:
    panel = PanelPage(page).visit(site.url).turn_on()
    quota = leave_space(page, 4 * 2**20)
    panel.open_image(images.url("disk.img"))

    for offset in (0, 8 * 2**20, 16 * 2**20):
        panel.read_range(str(offset), "8 MiB")
        panel.expect_digest(digest(offset, 8 * 2**20))
        panel.expect_status("Read 8 MiB of disk.img.")

    panel.read_range("0", "8 MiB")
    panel.expect_digest(digest(0, 8 * 2**20))
    assert usage(page) <= quota


def test_storage_that_fills_up_while_reading_is_said(
    page: Page, site: SiteServer, images: ImageServer
) -> None:
    panel = PanelPage(page).visit(site.url).turn_on()
    panel.open_image(images.url("disk.img"))
    leave_space(page, 2 * 2**20)

    panel.read_range("0", "8 MiB")
    panel.expect_digest(digest(0, 8 * 2**20))

    expect(panel.notice("storage-full")).to_contain_text("Reading continues")
    panel.read_range("8 MiB", "8 MiB")
    panel.expect_digest(digest(8 * 2**20, 8 * 2**20))
