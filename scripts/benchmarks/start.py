"""How long a page waits: Python's start, and the first byte of a cached image in a new browser."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.sync_api import BrowserContext, BrowserType, Route

from aero_browser_disk.testing.image_server import Behaviour, ImageServer
from aero_browser_disk.testing.site_server import SiteServer
from aero_browser_disk.testing.synthetic_image import SyntheticImage
from benchmarks.results import Measure
from lib import browsers
from lib.project import CACHE

DISK = SyntheticImage(64 << 20, seed=3)
# As in web/guide/hosting.md: a built file never changes under its name.
HEADERS = {"Cache-Control": "public, max-age=3600"}
GOAL_MS, AIM_MS = 700, 500
PYTHON_RATIO = 3
# A browser keeps both cores busy for about two seconds after its start.
SETTLING_S = 2.5

# Both from a page that is already loaded.
FIRST_BYTE = """async ({ module, image }) => {
  const { connect, openDisk } = await import(module);
  const disk = await openDisk({ url: image, allowRemote: true });
  await disk.read(0, 512);
  const { startMs, requests } = await disk.stats();
  const started = await connect().started;
  return { startMs, requests, pythonMs: started.ms, from: started.from };
}"""
PLAIN = """(folder) => new Promise((resolve) => {
  const script = `
    const started = performance.now();
    const { loadPyodide } = await import("${folder}pyodide.mjs");
    await loadPyodide({ indexURL: "${folder}" });
    postMessage(performance.now() - started);
  `;
  const url = URL.createObjectURL(new Blob([script], { type: "text/javascript" }));
  new Worker(url, { type: "module" }).onmessage = ({ data }) => resolve(data);
})"""
KEPT = """async () => {
  const { build } = await import("./build.mjs");
  const root = await navigator.storage.getDirectory();
  const ours = await root.getDirectoryHandle("aero-browser-disk");
  for (;;) {
    const folder = await ours.getDirectoryHandle("quick-start", { create: true });
    for await (const file of folder.values()) {
      if ((await file.getFile()).size === build.snapshot.bytes) return;
    }
  }
}"""


@dataclass(frozen=True, slots=True)
class Start:
    """One visit in a browser process of its own, in milliseconds."""

    first_byte: float
    at_once: float  # the same while the browser itself starts
    python: float
    plain: float  # `loadPyodide` alone, without a snapshot and without this package


class StartBench:
    """Visits a site again and again, each time with a new browser on the same profile."""

    def __init__(self, chromium: BrowserType, profile: Path, site: SiteServer, image: str) -> None:
        self._chromium = chromium
        self._profile = profile
        self._site = site
        self._image = image

    def first_visit(self) -> float:
        """From `openDisk` to the first byte with nothing cached; leaves snapshot and blocks."""
        context = self._browser()
        try:
            seen = self._read(context, SETTLING_S)
            context.pages[0].evaluate(KEPT)
            return float(seen["startMs"])
        finally:
            context.close()

    def later_visit(self) -> Start:
        """A visit that finds everything cached; raises AssertionError if it sent a request."""
        at_once, settled = self._cached_read(0), self._cached_read(SETTLING_S)
        context = self._browser()
        try:
            page = context.pages[0]
            page.goto(f"{self._site.url}manifest.json")
            time.sleep(SETTLING_S)
            plain = float(page.evaluate(PLAIN, f"{self._site.url}pyodide/"))
        finally:
            context.close()
        return Start(settled["startMs"], at_once["startMs"], settled["pythonMs"], plain)

    def _cached_read(self, settling_s: float) -> dict[str, Any]:
        context = self._browser()
        try:
            seen = self._read(context, settling_s)
        finally:
            context.close()
        assert seen["from"] == "kept snapshot", seen
        assert seen["requests"] == 0, seen
        return seen

    def _browser(self) -> BrowserContext:
        options = browsers.launch_options(self._chromium)
        return self._chromium.launch_persistent_context(
            self._profile, **options, service_workers="block"
        )

    def _read(self, context: BrowserContext, settling_s: float) -> dict[str, Any]:
        page = context.pages[0]
        page.route("**/favicon.ico", _nothing)
        page.goto(f"{self._site.url}manifest.json")
        page.unroute_all()
        time.sleep(settling_s)
        urls = {"module": f"{self._site.url}aero-disk.mjs", "image": self._image}
        seen: dict[str, Any] = page.evaluate(FIRST_BYTE, urls)
        return seen


def _nothing(route: Route) -> None:
    route.fulfill(status=204)


def measure_start(chromium: BrowserType, site_folder: Path, repeat: int) -> list[Measure]:
    """The start's measures, medians of `repeat` visits."""
    fresh = Behaviour(cache_control="public, max-age=3600")
    with (
        SiteServer(site_folder, headers=HEADERS) as site,
        ImageServer({"disk.img": DISK}, behaviour=fresh) as images,
        tempfile.TemporaryDirectory(dir=CACHE, prefix="start-") as profile,
    ):
        bench = StartBench(chromium, Path(profile), site, images.url("disk.img"))
        first = bench.first_visit()
        bench.later_visit()  # so that the browser has compiled and cached everything
        starts = [bench.later_visit() for _ in range(repeat)]
    return measures(first, starts)


def measures(first_ms: float, starts: Sequence[Start]) -> list[Measure]:
    """The table's rows."""
    first_byte = statistics.median(start.first_byte for start in starts)
    at_once = statistics.median(start.at_once for start in starts)
    python = statistics.median(start.python for start in starts)
    plain = statistics.median(start.plain for start in starts)
    ratio = plain / python
    return [
        Measure("start, first visit: first byte", first_ms, "ms"),
        Measure("start, later visit: first byte", first_byte, "ms", GOAL_MS, 1),
        Measure("start, later visit: first byte, aim", first_byte, "ms", AIM_MS, 1),
        Measure("start, while the browser starts: first byte", at_once, "ms"),
        Measure("start, later visit: Python", python, "ms", plain, 1 / PYTHON_RATIO),
        Measure("start: loadPyodide over ours", ratio, "times", None, PYTHON_RATIO, at_least=True),
    ]
