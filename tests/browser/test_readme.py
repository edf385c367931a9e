"""The JavaScript of the README and the guide runs on a page, and the page with a machine boots."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.sync_api import Page, expect

from aero_browser_disk.testing.image_server import ImageServer
from aero_browser_disk.testing.site_server import SiteServer
from browser.boot_page import BOOT_TIMEOUT_MS, copy_with_emulator
from lib.project import GRUB_RESCUE_IMAGE
from samples.emulator import can_boot
from support import file_images
from support.readme import EXAMPLE_SAVES, EXAMPLE_URL, README, Block, blocks
from support.saves import SaveService

# tests/browser/test_npm.py bundles what imports the package by its name,
# tests/browser/test_emscripten.py runs what belongs into a worker,
# tests/browser/test_dosbox.py what needs DOSBox.
ELSEWHERE = ('from "aero-browser-disk', 'from "./emscripten.mjs"', 'from "./dosbox.mjs"')
SCRIPTS = [block for block in blocks("js") if not any(name in block.text for name in ELSEWHERE)]

# A raw image does for the sample: tests/browser/test_prepared.py opens prepared ones.
EXAMPLE_MANIFEST = "https://images.example/debian/manifest.json"

# What the reader has: an open disk, where it is, a file, the handle of one, a place for a screen,
# another thread.
GIVEN = """
const { openDisk, attachDisk, connect } = await import("./aero-disk.mjs");
const disk = await openDisk({ url, allowRemote: true });
const file = new File([new Uint8Array(8192)], "some.img");
const folder = await navigator.storage.getDirectory();
const handle = await folder.getFileHandle("some.img", { create: true });
const writing = await handle.createWritable();
await writing.write(file);
await writing.close();
const container = document.createElement("div");
const { port1: worker } = new MessageChannel();
"""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A disk with an ext4 partition and a file in it."""
    folder = tmp_path_factory.mktemp("readme")
    (folder / "tree" / "etc").mkdir(parents=True)
    (folder / "tree" / "etc" / "fstab").write_text("proc /proc proc defaults 0 0\n")
    volume = file_images.make_ext(folder / "ext4", folder / "tree", "ext4", size=8 << 20)
    script = "label: dos\nstart=2048, size=16384, type=83\n"
    image = file_images.partition(folder / "disk.img", script, 10 << 20, {2048: volume})
    with ImageServer({"win.img": image}) as server:
        yield server.url("win.img")


def as_function(text: str) -> str:
    """A block as what Playwright runs: modules are imported as they are inside a function."""
    imported = re.sub(
        r'^import (\{.*\}) from ("\S+");', r"const \1 = await import(\2);", text, flags=re.MULTILINE
    )
    # The page's own policy forbids code made of text, and the protocol of the browser does not.
    return f"async (url) => {{ {GIVEN} {{ {imported} }} await disk.close(); }}"


@pytest.fixture(scope="module")
def saves() -> Iterator[str]:
    with SaveService() as service:
        yield service.url


@pytest.mark.parametrize("block", SCRIPTS, ids=str)
def test_javascript_runs_as_it_stands(
    block: Block, url: str, saves: str, page: Page, site: SiteServer
) -> None:
    page.goto(site.url)
    text = block.text.replace(EXAMPLE_URL, url).replace(EXAMPLE_MANIFEST, url)
    text = text.replace(EXAMPLE_SAVES, saves)
    page.evaluate(as_function(text), url)


@pytest.mark.timeout(600)
@pytest.mark.skipif(
    not (can_boot() and GRUB_RESCUE_IMAGE.exists()),
    reason="Debian's seabios and grub-rescue-pc are not here: scripts/setup fetches them",
)
def test_the_page_with_a_machine_boots(site_folder: Path, tmp_path: Path, page: Page) -> None:
    copy_with_emulator(site_folder, tmp_path / "site")
    whole = next(x.text for x in blocks("html") if x.page == README)
    (tmp_path / "site" / "machine.html").write_text(whole)
    assert len(whole.splitlines()) <= 30
    with (
        ImageServer({"rescue.img": GRUB_RESCUE_IMAGE}) as images,
        SiteServer(tmp_path / "site", isolated=True) as site,
    ):
        page.goto(f"{site.url}machine.html?image={quote(images.url('rescue.img'), safe='')}")
        page.get_by_label("Boot from another server").check()
        expect(page.locator("#screen")).to_contain_text("GNU GRUB", timeout=BOOT_TIMEOUT_MS)
        expect(page.locator("#report")).to_be_empty()
        page.close()
