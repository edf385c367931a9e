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

HIDE = """async ({ url, saves: where }) => {
  const { openDisk } = await import("./aero-disk.mjs");
  let told;
  const result = new Promise((resolve) => { told = resolve; });
  const disk = await openDisk({
    url, allowRemote: true, overlay: "hidden",
    saves: { ...where, everyS: 3600, onPush: told },
  });
  const show = (state) => {
    Object.defineProperty(document, "visibilityState", { value: state, configurable: true });
    document.dispatchEvent(new Event("visibilitychange"));
  };
  await disk.write(0, new Uint8Array(4096).fill(1));
  show("visible");
  show("hidden");
  const { pushed, error } = await result;
  await disk.close();
  return { generation: pushed?.generation, error: error && String(error) };
}"""
"""A page cannot really be hidden here: it is told that it is, as the browser would."""
CONFLICT = """async ({ url, saves: where }) => {
  const { openDisk, saves } = await import("./aero-disk.mjs");
  const there = saves({ ...where, allowRemote: true });
  const open = (overlay, more) => openDisk({
    url, allowRemote: true, overlay, saves: { ...where, name: "shared", ...more },
  });
  const first = async (disk) => (await disk.read(0, 1))[0];
  const mine = await open("mine");
  await mine.write(0, new Uint8Array([1]));
  await mine.push();
  await there.pull("shared", { overlay: "second device", url });
  const other = await open("second device", { device: "the other" });
  await other.write(0, new Uint8Array([2]));
  await other.push();
  await other.close();
  await mine.write(0, new Uint8Array([3]));
  const conflict = await mine.push().then(() => null, (error) => error);
  const found = { error: conflict.name, device: conflict.theirsDevice, mine: await first(mine) };
  await mine.close();
  // Look at theirs, where it is; keep mine as another save; take theirs.
  const look = await openDisk({ url, allowRemote: true, save: "shared", saves: where });
  found.look = [await first(look), look.readOnly];
  await look.close();
  const kept = await open("mine", { name: "mine" });
  found.kept = (await kept.push()).generation;
  await kept.close();
  await there.pull("shared", { overlay: "theirs", url });
  const theirs = await openDisk({ url, allowRemote: true, overlay: "theirs" });
  found.theirs = await first(theirs);
  await theirs.close();
  found.saves = (await there.list()).map(({ name, generation }) => `${name} ${generation}`).sort();
  return found;
}"""
SECRET = """async ({ url, saves: where }) => {
  const { openDisk, saves } = await import("./aero-disk.mjs");
  const aes = { name: "AES-GCM", length: 256 };
  const key = await crypto.subtle.generateKey(aes, false, ["encrypt", "decrypt"]);
  const text = new TextEncoder().encode("nobody else may read this. ".repeat(100));
  const found = [];
  const secrets = { passphrase: { passphrase: "correct horse" }, key: { key } };
  for (const [name, secret] of Object.entries(secrets)) {
    const safe = { ...where, ...secret };
    const disk = await openDisk({ url, allowRemote: true, overlay: name, saves: safe });
    await disk.write(0, text);
    await disk.push();
    await disk.close();
    const there = saves({ ...safe, allowRemote: true });
    await there.pull(name, { overlay: `${name} copy`, url });
    const copy = await openDisk({ url, allowRemote: true, overlay: `${name} copy` });
    const same = (await copy.read(0, text.length)).every((byte, at) => byte === text[at]);
    await copy.close();
    const wrong = saves({ ...where, allowRemote: true, passphrase: "wrong" });
    const refused = await wrong.pull(name, { overlay: "no", url }).catch((error) => error.name);
    found.push([same, refused]);
  }
  return found;
}"""

RENEW = """async ({ url, saves: where }) => {
  const { openDisk, saves } = await import("./aero-disk.mjs");
  let renewals = 0;
  const renew = async () => {
    renewals += 1;
    return { url: where.url, headers: where.headers };
  };
  const old = { url: where.url, headers: { Authorization: "Bearer expired" }, renew };
  const disk = await openDisk({ url, allowRemote: true, overlay: "renewed", saves: old });
  await disk.write(0, new Uint8Array([7]));
  const { generation } = await disk.push();
  await disk.close();
  await saves({ ...old, allowRemote: true }).list();
  const look = await openDisk({ url, allowRemote: true, save: "renewed", saves: old });
  const [byte] = await look.read(0, 1);
  await look.close();
  return { generation, byte, renewals };
}"""


@pytest.fixture
def server() -> Iterator[dict[str, object]]:
    with ImageServer({"disk.img": DISK}) as images, SaveService(token="secret") as service:
        headers = {"Authorization": "Bearer secret"}
        yield {"url": images.url("disk.img"), "saves": {"url": service.url, "headers": headers}}
        stored = [chunk for save in service.saves.values() for chunk in save.chunks.values()]
        assert not any(b"nobody else" in chunk for chunk in stored)


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


def test_a_hidden_page_pushes(server: dict[str, object], page: Page, site: SiteServer) -> None:
    page.goto(site.url)
    assert page.evaluate(HIDE, server) == {"generation": 1, "error": None}
    page.close()


def test_after_a_conflict_there_are_three_ways_on(
    server: dict[str, object], page: Page, site: SiteServer
) -> None:
    page.goto(site.url)
    found = page.evaluate(CONFLICT, server)
    page.close()
    assert (found["error"], found["device"]) == ("SaveConflictError", "the other")
    assert (found["mine"], found["look"], found["theirs"]) == (3, [2, True], 2)
    assert found["kept"] == 1
    assert found["saves"] == ["mine 1", "shared 2"]


@pytest.mark.parametrize("browser", ["chromium", "firefox"], indirect=True)
def test_a_save_is_encrypted_in_the_browser(
    server: dict[str, object], page: Page, site: SiteServer
) -> None:
    page.goto(site.url)
    assert page.evaluate(SECRET, server) == [[True, "SaveKeyError"]] * 2
    page.close()


def test_access_to_saves_is_renewed_by_the_page(
    server: dict[str, object], page: Page, site: SiteServer
) -> None:
    page.goto(site.url)
    assert page.evaluate(RENEW, server) == {"generation": 1, "byte": 7, "renewals": 3}
    page.close()
