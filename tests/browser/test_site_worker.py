"""The service worker: isolation without headers, the site without the network, clean updates."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from aero_browser_disk.testing.image_server import ImageServer
from aero_browser_disk.testing.site_server import SiteServer
from aero_browser_disk.testing.synthetic_image import SyntheticImage
from browser.panel_page import STEP_TIMEOUT_MS
from building.site_manifest import write_manifest
from lib.project import WEB_LIB

DISK = SyntheticImage(2**20, seed=14)
PAGE = """<!doctype html><title>{title}</title>
<script type="module">
  import {{ installSiteWorker }} from "./offline.mjs";
  import {{ word }} from "./word.mjs";
  globalThis.word = word;
  installSiteWorker().then((can) => (document.body.dataset.worker = String(can)));
</script><body></body>"""
# The names of the caches that hold a whole build, and the paths of what they hold.
KEPT = """async () => {
  const kept = {};
  for (const name of await caches.keys()) {
    const requests = await (await caches.open(name)).keys();
    kept[name.split(" ").at(-1)] = requests.map(({ url }) => new URL(url).pathname).sort();
  }
  return kept;
}"""
WHOLE = """async (build) => {
  for (;;) {
    const names = await caches.keys();
    if (names.length !== 1 || !names[0].endsWith(build)) continue;
    if (await (await caches.open(names[0])).match(new URL("manifest.json", location.href))) return;
  }
}"""


def make_site(folder: Path, word: str) -> str:
    """A little site with the service worker; returns its build."""
    folder.mkdir(exist_ok=True)
    for name in ("offline.mjs", "site-worker.mjs"):
        (folder / name).write_bytes((WEB_LIB / name).read_bytes())
    (folder / "index.html").write_text(PAGE.format(title=word))
    (folder / "word.mjs").write_text(f"export const word = {word!r};\n")
    (folder / "word.mjs.map").write_text("{}")
    return write_manifest(folder)


@pytest.fixture
def own_context(browser: Browser, console) -> Iterator[BrowserContext]:
    made = browser.new_context(service_workers="allow")
    made.set_default_timeout(STEP_TIMEOUT_MS)
    made.route("**/favicon.ico", lambda route: route.fulfill(status=204))
    yield made
    made.close()


def visit(page: Page, url: str) -> str:
    """The word of the site, once the page is isolated."""
    page.goto(url)
    page.wait_for_function("() => crossOriginIsolated && globalThis.word")
    word: str = page.evaluate("globalThis.word")
    return word


@pytest.mark.parametrize("browser", ["chromium", "firefox"], indirect=True)
def test_a_site_is_isolated_kept_and_replaced_as_a_whole(
    own_context: BrowserContext, tmp_path: Path
) -> None:
    first = make_site(tmp_path, "first")
    (tmp_path / "disk.img").write_bytes(bytes(4096))
    page = own_context.new_page()
    with SiteServer(tmp_path, isolated=False) as site:
        url, port = site.url, site.port
        assert visit(page, url) == "first"
        page.evaluate(WHOLE, first)
        page.evaluate("fetch('disk.img').then((response) => response.arrayBuffer())")
        (kept,) = page.evaluate(KEPT).values()
        assert "/disk.img" not in kept
    assert visit(page, f"{url}?image=x") == "first"  # the server is gone

    (tmp_path / "disk.img").unlink()
    second = make_site(tmp_path, "second")
    assert second != first
    with SiteServer(tmp_path, isolated=False, port=port):
        assert visit(page, url) == "second"
        page.evaluate(WHOLE, second)
    assert visit(page, url) == "second"
    paths = ["/index.html", "/manifest.json", "/offline.mjs", "/site-worker.mjs", "/word.mjs"]
    assert page.evaluate(KEPT) == {second: paths}


def test_a_build_that_is_not_whole_does_not_replace_one_that_is(
    own_context: BrowserContext, tmp_path: Path
) -> None:
    first = make_site(tmp_path, "first")
    page = own_context.new_page()
    with SiteServer(tmp_path, isolated=False) as site:
        url, port = site.url, site.port
        visit(page, url)
        page.evaluate(WHOLE, first)
    second = make_site(tmp_path, "second")
    (tmp_path / "word.mjs").write_text("export const word = 'neither';\n")
    with SiteServer(tmp_path, isolated=False, port=port) as site:
        assert visit(page, url) == "neither"
        # Once for the page, and once for the build, of which it is the last file.
        while sum(line == "GET /word.mjs" for line in site.requests) < 2:
            page.evaluate("1")
    assert visit(page, url) == "first"
    assert second not in page.evaluate(KEPT) or "/manifest.json" not in page.evaluate(KEPT)[second]


READ = """async ({ image }) => {
  const { connect, openDisk } = await import("./aero-disk.mjs");
  const disk = await openDisk({ url: image, allowRemote: true });
  return { bytes: Array.from(await disk.read(0, 8)), started: await connect().started };
}"""


def test_the_built_site_works_without_the_network_and_keeps_no_byte_of_an_image(
    own_context: BrowserContext, site_folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(site_folder, tmp_path, dirs_exist_ok=True)
    index = PAGE.replace('{{ word }} from "./word.mjs"', '{{ build as word }} from "./build.mjs"')
    (tmp_path / "index.html").write_text(index.format(title="app"))
    build = write_manifest(tmp_path)
    page = own_context.new_page()
    with ImageServer({"disk.img": DISK}) as images:
        image = images.url("disk.img")
        with SiteServer(tmp_path, isolated=False) as site:
            visit(page, site.url)
            page.evaluate(WHOLE, build)
        visit(page, site.url)
        seen = page.evaluate(READ, {"image": image})
        assert bytes(seen["bytes"]) == DISK.read(0, 8)
        assert seen["started"]["from"] == "snapshot"
        (kept,) = page.evaluate(KEPT).values()
        assert not [path for path in kept if path.endswith((".img", ".br", ".d.mts"))]


@pytest.mark.parametrize("browser", ["chromium", "firefox"], indirect=True)
def test_the_example_of_a_whole_page_works_as_it_stands(
    own_context: BrowserContext, site_folder: Path
) -> None:
    source = (site_folder / "example.html").read_text()
    assert len(source.splitlines()) < 30
    page = own_context.new_page()
    with (
        ImageServer({"disk.img": bytes(510) + b"\x55\xaa" + bytes(2**20 - 512)}) as images,
        SiteServer(site_folder, isolated=False) as site,
    ):
        page.goto(f"{site.url}example.html?image={quote(images.url('disk.img'), safe='')}")
        page.wait_for_function("() => crossOriginIsolated")
        page.get_by_label("Read a disk image from another host").check()
        report = page.locator("#report")
        expect(report).to_have_text(
            re.compile(r"^1048576 bytes, bootable, first sector after \d+ ms, [1-9]\d* bytes kept$")
        )
        page.get_by_label("Read a disk image from another host").uncheck()
        expect(report).to_have_text(re.compile("^RemoteImagesDisabledError: "))
