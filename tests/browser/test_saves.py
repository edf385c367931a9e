"""What a guest wrote in one browser is there in another, by way of a server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import BrowserContext, Page

from aero_browser_disk.testing.image_server import ImageServer
from aero_browser_disk.testing.site_server import SiteServer
from aero_browser_disk.testing.synthetic_image import SyntheticImage
from support.saves import SaveService

DISK = SyntheticImage(4 << 20, seed=11)

PUSH = """async ({ url, saves: where }) => {
  const { openDisk } = await import("./aero-disk.mjs");
  const results = [];
  const disk = await openDisk({
    url, allowRemote: true, overlay: "work",
    saves: { ...where, everyS: 3600, onPush: (result) => results.push(result) },
  });
  await disk.write(1000, new TextEncoder().encode("written here"));
  await disk.write(200_000, new Uint8Array(300_000).fill(7));
  const first = await disk.push();
  await disk.write(200_000, new Uint8Array(100).fill(8));
  const second = await disk.push();
  await disk.close();
  return { first, second, errors: results.filter(({ error }) => error).map(String) };
}"""
PULL = """async ({ url, saves: where }) => {
  const { openDisk, saves } = await import("./aero-disk.mjs");
  const there = saves({ ...where, allowRemote: true });
  const listed = await there.list();
  const entry = await there.pull("work", { overlay: "mine", url });
  const disk = await openDisk({ url, allowRemote: true, overlay: "mine" });
  const text = new TextDecoder().decode(await disk.read(1000, 12));
  const bytes = await disk.read(199_999, 300_002);
  await disk.close();
  return { listed, entry, text, edges: [bytes[1], bytes[100], bytes[101], bytes[300_000]] };
}"""


@pytest.fixture
def server() -> Iterator[dict[str, object]]:
    with ImageServer({"disk.img": DISK}) as images, SaveService(token="secret") as service:
        headers = {"Authorization": "Bearer secret"}
        yield {"url": images.url("disk.img"), "saves": {"url": service.url, "headers": headers}}


@pytest.mark.parametrize("browser", ["chromium", "firefox"], indirect=True)
def test_what_was_written_here_is_there(
    server: dict[str, object],
    page: Page,
    fresh_context: BrowserContext,
    site: SiteServer,
) -> None:
    page.goto(site.url)
    pushed = page.evaluate(PUSH, server)
    page.close()
    first, second = pushed["first"], pushed["second"]
    assert (first["generation"], second["generation"]) == (1, 2)
    assert 0 < second["changedBytes"] <= 4096
    assert pushed["errors"] == []
    there = fresh_context.new_page()
    there.goto(site.url)
    pulled = there.evaluate(PULL, server)
    there.close()
    assert [save["name"] for save in pulled["listed"]] == ["work"]
    assert " on " in pulled["listed"][0]["device"]
    assert (pulled["entry"]["name"], pulled["text"]) == ("mine", "written here")
    assert pulled["edges"] == [8, 8, 7, 7]
