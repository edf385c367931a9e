"""Python is started ahead of the first disk: once, from anywhere, and without a network."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, Route, expect

from aero_browser_disk.testing.image_server import ImageServer
from aero_browser_disk.testing.site_server import SiteServer
from aero_browser_disk.testing.synthetic_image import SyntheticImage

DISK = SyntheticImage(2**20, seed=12)
# What a start needs, which no page imports by itself.
ONCE = ("/worker.mjs", "/pyodide.mjs", "/pyodide.asm.mjs", "/pyodide.asm.wasm", ".snapshot.zst")

READ = """async ({ module, image, pyodideUrl }) => {
  const { openDisk } = await import(module);
  const disk = await openDisk({ url: image, allowRemote: true, pyodideUrl });
  const bytes = Array.from(await disk.read(1000, 16));
  await disk.close();
  return bytes;
}"""


@pytest.fixture(scope="module")
def images() -> Iterator[ImageServer]:
    with ImageServer({"disk.img": DISK}) as server:
        yield server


@pytest.fixture
def page(fresh_context: BrowserContext) -> Page:
    """A page of a browser that has never seen the site."""
    page = fresh_context.new_page()
    page.route("**/favicon.ico", lambda route: route.fulfill(status=204))
    return page


def fetched(*servers: SiteServer) -> list[str]:
    """What was asked for of the files that a start needs once, in alphabetical order."""
    paths = [line.split()[1] for server in servers for line in server.requests]
    return sorted(name for path in paths for name in ONCE if path.endswith(name))


def test_nothing_is_fetched_twice_and_no_image_is_asked_for(
    page: Page, site_folder: Path, images: ImageServer
) -> None:
    """With Pyodide on another origin, a strict policy, and a server that lets nothing be cached."""
    anyone = {"Access-Control-Allow-Origin": "*", "Cross-Origin-Resource-Policy": "cross-origin"}
    with SiteServer(site_folder, headers={"Cache-Control": "no-store"} | anyone) as elsewhere:
        policy = (
            f"default-src 'none'; script-src 'self' {elsewhere.origin} 'wasm-unsafe-eval'; "
            f"worker-src 'self'; connect-src 'self' {elsewhere.origin} {images.url('')}"
        )
        headers = {"Cache-Control": "no-store", "Content-Security-Policy": policy}
        with SiteServer(site_folder, headers=headers) as site:
            page.goto(f"{site.url}manifest.json")
            values = {
                "module": f"{site.url}aero-disk.mjs",
                "pyodideUrl": f"{elsewhere.url}pyodide/",
                "image": images.url("disk.img"),
            }
            images.forget()
            started = page.evaluate(
                """async ({ module, pyodideUrl }) => {
                  const { connect, preload } = await import(module);
                  for (let press = 0; press < 3; press++) preload({ pyodideUrl });
                  return (await connect().started).from;
                }""",
                values,
            )
            assert started == "snapshot"
            assert fetched(site, elsewhere) == sorted(ONCE)
            assert images.requests == []

            assert bytes(page.evaluate(READ, values)) == DISK.read(1000, 16)
            assert fetched(site, elsewhere) == sorted(ONCE)


def test_without_a_network_it_says_nothing_and_opening_tries_again(
    page: Page, site_folder: Path, images: ImageServer
) -> None:
    with SiteServer(site_folder) as site:
        page.goto(f"{site.url}manifest.json")
        values = {"module": f"{site.url}aero-disk.mjs", "image": images.url("disk.img")}
        page.evaluate("async ({ module }) => void (await import(module))", values)
        site.stop()
        failure = page.evaluate(
            """async ({ module, image }) => {
              const { openDisk, preload } = await import(module);
              preload();
              const opening = openDisk({ url: image, allowRemote: true });
              return opening.then(() => null, ({ name }) => name);
            }""",
            values,
        )
        assert failure == "WorkerError"
        site.start()
        assert bytes(page.evaluate(READ, values)) == DISK.read(1000, 16)


def test_a_file_that_was_missing_is_asked_for_again(
    page: Page, site: SiteServer, images: ImageServer
) -> None:
    page.goto(f"{site.url}manifest.json")
    values = {"module": f"{site.url}aero-disk.mjs", "image": images.url("disk.img")}
    page.context.route("**/pyodide.asm.mjs", lambda route: route.fulfill(status=503))
    failure = page.evaluate(
        """async ({ module, image }) => {
          const { openDisk } = await import(module);
          return openDisk({ url: image, allowRemote: true }).then(() => null, ({ name }) => name);
        }""",
        values,
    )
    assert failure == "StartError"
    page.context.unroute_all()
    assert bytes(page.evaluate(READ, values)) == DISK.read(1000, 16)


ELEMENT = """({ module, image }) => new Promise((resolve) => {
  globalThis.progress = [];
  globalThis.element = document.createElement("aero-disk");
  element.setAttribute("src", image);
  element.setAttribute("remote-consent", "");
  element.addEventListener("progress", ({ loaded, total }) => progress.push([loaded, total]));
  document.body.replaceChildren(element);
  import(module).then(resolve);
})"""


def test_the_element_starts_python_when_the_user_is_about_to_agree(
    page: Page, site: SiteServer, images: ImageServer
) -> None:
    page.goto(f"{site.url}manifest.json")
    page.evaluate(ELEMENT, {"module": f"{site.url}element.mjs", "image": images.url("disk.img")})
    button = page.get_by_role("button", name="Load the disk")
    expect(button).to_be_visible()
    site.forget()
    images.forget()

    held: list[Route] = []
    clicked = False
    page.context.route(
        "**/quick-start/*",
        lambda route: route.continue_() if clicked else held.append(route),
    )
    with page.context.expect_event("request", lambda request: "quick-start" in request.url):
        button.focus()
    assert images.requests == []

    page.evaluate(
        """() => {
          const opened = new Promise((done) => element.addEventListener("open", done));
          globalThis.size = opened.then(() => element.disk.size);
        }"""
    )
    button.click()
    clicked = True
    for route in held:
        route.continue_()
    assert page.evaluate("() => size") == DISK.size
    assert fetched(site) == sorted(ONCE)
    loaded, total = page.evaluate("() => progress.at(-1)")
    assert loaded == total > 0
    page.evaluate("() => element.close()")
