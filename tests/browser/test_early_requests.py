"""A first visit asks for an image while Python starts, and nothing twice."""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import BrowserContext, Page, Route

from aero_browser_disk.testing.image_server import Behaviour, ImageServer
from aero_browser_disk.testing.site_server import SiteServer
from browser.conftest import Console
from support.prepared import prepared_files

BOOT = [3, 2, *range(30, 40), 0, 1, *range(4, 12)]
CONTENT = random.Random(9).randbytes(3 * 2**18)
FILES = prepared_files(CONTENT, 2**16, BOOT)
DOCUMENT = json.loads(FILES["manifest.json"])["boot"]["sha256"]
PARTS = [part["sha256"] for part in json.loads(FILES[f"chunks/{DOCUMENT[:2]}/{DOCUMENT}"])["parts"]]
EARLY = sorted(["manifest.json", *(f"chunks/{name[:2]}/{name}" for name in [DOCUMENT, *PARTS])])

OPEN = """({ module, url }) => {
  globalThis.opening = import(module).then(({ openDisk }) => openDisk({ url, allowRemote: true }));
  opening.catch(() => {});
}"""
READ = """async () => {
  const disk = await opening;
  const all = new Uint8Array(await crypto.subtle.digest("SHA-256", await disk.read(0, disk.size)));
  const { requests } = await disk.stats();
  await disk.close();
  return { all: Array.from(all, (byte) => byte.toString(16).padStart(2, "0")).join(""), requests };
}"""


@pytest.fixture
def server() -> Iterator[ImageServer]:
    with ImageServer(FILES) as started:
        started.add("disk.img", CONTENT)
        yield started


class HeldStart:
    """Python's WebAssembly, which comes or fails once it is released."""

    def __init__(self, page: Page) -> None:
        self._routes: list[Route] = []
        self._respond: Callable[[Route], None] = self._routes.append
        page.context.route("**/pyodide.asm.wasm", lambda route: self._respond(route))  # noqa: PLW0108

    def release(self) -> None:
        self._respond = Route.continue_
        for route in self._routes:
            route.continue_()

    def fail(self) -> None:
        self._respond = lambda route: route.fulfill(status=503)
        for route in self._routes:
            route.fulfill(status=503)


def paths_of(server: ImageServer) -> list[str]:
    return sorted(request.image or "" for request in server.requests)


def begin(page: Page, site: SiteServer, url: str) -> None:
    page.goto(f"{site.url}manifest.json")
    page.evaluate(OPEN, {"module": f"{site.url}aero-disk.mjs", "url": url})


def check(page: Page) -> int:
    """Reads the whole disk; returns how many requests Python counts."""
    found = page.evaluate(READ)
    assert found["all"] == hashlib.sha256(CONTENT).hexdigest()
    return int(found["requests"])


@pytest.mark.parametrize("browser", ["chromium", "firefox"], indirect=True)
def test_manifest_and_bundle_come_before_python(
    context: BrowserContext, site: SiteServer, server: ImageServer
) -> None:
    page = context.new_page()
    python = HeldStart(page)
    begin(page, site, server.url("manifest.json"))
    server.wait_for(lambda server: paths_of(server) == EARLY)
    python.release()
    assert check(page) == len(server.requests)
    assert max(Counter(paths_of(server)).values()) == 1

    server.forget()
    begin(page, site, server.url("manifest.json"))  # the cache is there
    assert check(page) == 1
    assert paths_of(server) == ["manifest.json"]


def test_the_first_block_of_a_raw_image_comes_before_python(
    page: Page, site: SiteServer, server: ImageServer
) -> None:
    python = HeldStart(page)
    begin(page, site, server.url("disk.img"))
    server.wait_for(lambda server: len(server.requests) == 2)
    assert server.requests[1].headers["range"] == "bytes=0-16383"
    python.release()
    assert check(page) == len(server.requests)
    asked = [(request.method, request.headers.get("range")) for request in server.requests]
    assert max(Counter(asked).values()) == 1


def test_what_is_under_way_ends_with_an_opening_that_fails(
    page: Page, site: SiteServer, server: ImageServer, console: Console
) -> None:
    console.allow("503|wasm")
    server.image("manifest.json").behaviour = Behaviour(stall=True)
    python = HeldStart(page)
    begin(page, site, server.url("manifest.json"))
    server.wait_for(lambda server: server.in_flight == 1)
    python.fail()
    assert page.evaluate("() => opening.catch(({ name }) => name)") == "StartError"
    server.wait_for(lambda server: server.in_flight == 0)
    assert paths_of(server) == ["manifest.json"]
