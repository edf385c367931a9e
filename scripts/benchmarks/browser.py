"""Chromium with a profile on disk, which loads the bench's site and runs one client at a time."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import BrowserType, Page, Playwright, sync_playwright

from aero_browser_disk.testing.site_server import SiteServer
from building.site import build_site
from lib import browsers
from lib.project import BENCH_PEERS, BENCH_WHEELS, CACHE, NODE_MODULES, SCRIPTS
from samples.emulator import can_boot, write_dosbox, write_emulator

CALL_TIMEOUT_MS = 600_000
SITE = CACHE / "bench" / "site"


def build_bench_site(out: Path) -> None:
    """The site as it is built for users, with the bench's clients under `bench/`."""
    build_site(out)
    bench = out / "bench"
    shutil.copytree(SCRIPTS / "benchmarks" / "site", bench)
    (bench / "v86").mkdir()
    for name in ("libv86.mjs", "v86.wasm"):
        shutil.copyfile(NODE_MODULES / "v86" / "build" / name, bench / "v86" / name)
    (wheel,) = BENCH_WHEELS.glob("fsspec-*.whl")
    shutil.copyfile(wheel, bench / wheel.name)
    (bench / "fsspec.json").write_text(json.dumps({"wheel": wheel.name}))
    write_dosbox(out)
    if can_boot():
        write_emulator(out)
    for name in ("middleware", "source", "source-http"):
        built = BENCH_PEERS / "node_modules" / "@chunkd" / name / "build" / "src"
        shutil.copytree(built, bench / "chunkd" / name)
    for module in (bench / "chunkd").rglob("*.js"):
        # Workers have no import map, so package names become paths.
        depth = len(module.relative_to(bench / "chunkd").parts) - 1
        path = "../" * depth + "source/index.js"
        module.write_text(module.read_text().replace("'@chunkd/source'", f"'{path}'"))


class BenchPage:
    """The page, and the client that runs in its worker."""

    def __init__(self, page: Page, site_url: str, playwright: Playwright) -> None:
        self._page = page
        self._url = f"{site_url}bench/index.html"
        self.site_url = site_url
        self.playwright = playwright

    @property
    def chromium(self) -> BrowserType:
        """Playwright's type of this browser, which can start another one."""
        return self.playwright.chromium

    @property
    def page(self) -> Page:
        """The page itself, for measurements without a client."""
        return self._page

    def start(self, client: str) -> None:
        """Reloads the page and starts a client, which replaces the previous one."""
        self._page.goto(self._url)
        self._page.wait_for_function("globalThis.isReady")
        self._page.evaluate("name => globalThis.start(name)", client)

    def call(self, operation: str, **values: object) -> Any:
        """Runs an operation of the client; raises Playwright's Error when it fails."""
        call = "([operation, values]) => globalThis.call(operation, values)"
        return self._page.evaluate(call, [operation, values])

    def reload(self) -> None:
        """Reloads the page, without a client."""
        self._page.goto(self._url)

    def run(self, module: str, function: str, **values: object) -> Any:
        """Calls a function of one of the bench's modules in the page itself."""
        call = "async ([module, name, values]) => (await import(module))[name](values)"
        return self._page.evaluate(call, [f"./{module}", function, values])

    def memory(self) -> int:
        """The memory of the page and its workers in bytes, after a garbage collection."""
        measured = self._page.evaluate("() => performance.measureUserAgentSpecificMemory()")
        return int(measured["bytes"])

    def end(self) -> None:
        """Ends the client."""
        self._page.evaluate("() => globalThis.end()")

    @property
    def browser(self) -> str:
        """The browser's name and version."""
        found = self._page.context.browser
        return f"Chromium {found.version}" if found else "Chromium"


@contextmanager
def bench_page() -> Iterator[BenchPage]:
    """Builds the site, serves it isolated, and opens it in a profile of its own."""
    build_bench_site(SITE)
    with (
        SiteServer(SITE, isolated=True) as site,
        tempfile.TemporaryDirectory(dir=CACHE / "bench", prefix="profile-") as profile,
        sync_playwright() as playwright,
    ):
        # An incognito context, Playwright's default, has OPFS in memory behind slow calls.
        options = browsers.launch_options(playwright.chromium)
        context = playwright.chromium.launch_persistent_context(profile, **options)
        context.set_default_timeout(CALL_TIMEOUT_MS)
        try:
            yield BenchPage(context.pages[0], site.url, playwright)
        finally:
            context.close()
