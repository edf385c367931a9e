"""A first visit with everything behind the shaped link: its traffic and its duration."""

from __future__ import annotations

import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.sync_api import BrowserContext, BrowserType, Page, Playwright, Route

from aero_browser_disk.testing.image_server import Behaviour, ImageServer
from aero_browser_disk.testing.site_server import SiteServer
from benchmarks.results import Measure
from benchmarks.server import SHAPED
from benchmarks.shaped_link import ShapedLink
from benchmarks.start import DISK, FIRST_BYTE, HEADERS, KEPT, SETTLING_S
from building.site import build_site
from lib import browsers
from lib.project import CACHE

GOALS_S = {"chromium": 1.8, "firefox": 2.5}
GOAL_MB = 6.4
SITE = CACHE / "bench" / "small-site"


@dataclass(frozen=True, slots=True)
class Visit:
    """One visit: milliseconds from `openDisk` to the first byte, and the traffic on the link."""

    ms: float
    bytes: int
    requests: int


class VisitBench:
    """Visits a site behind the link, with a new profile or one that has visited it before."""

    def __init__(self, kind: BrowserType, site_folder: Path) -> None:
        self._kind = kind
        self._site_folder = site_folder

    def visits(self) -> tuple[Visit, Visit, Visit]:
        """The first visit of a new profile, a second in the same process, one in a new process."""
        vouching = Behaviour(cache_control="public, max-age=3600")
        with (
            SiteServer(self._site_folder, headers=HEADERS) as site,
            ImageServer({"disk.img": DISK}, behaviour=vouching) as images,
            ShapedLink(SHAPED) as link,
            tempfile.TemporaryDirectory(dir=CACHE, prefix="visit-") as profile,
        ):
            site_url = f"http://127.0.0.1:{link.to(site.port)}/"
            image_url = f"http://127.0.0.1:{link.to(images.port)}/disk.img"

            def visit(page: Page) -> Visit:
                page.route("**/favicon.ico", no_content)
                page.goto(f"{site_url}manifest.json")
                page.unroute_all()  # with routes, Playwright turns the HTTP cache off
                time.sleep(SETTLING_S)  # a browser is busy just after its start
                site.forget()
                images.forget()
                before = link.received_bytes
                places = {"module": f"{site_url}aero-disk.mjs", "image": image_url}
                seen: dict[str, Any] = page.evaluate(FIRST_BYTE, places)
                crossed = link.received_bytes - before
                requests = len(site.requests) + len(images.requests)
                return Visit(float(seen["startMs"]), crossed, requests)

            with self._browser(Path(profile)) as context:
                first = visit(context.pages[0])
                context.pages[0].evaluate(KEPT)
                second = visit(context.pages[0])
            with self._browser(Path(profile)) as context:
                return first, second, visit(context.pages[0])

    @contextmanager
    def _browser(self, profile: Path) -> Iterator[BrowserContext]:
        options = browsers.launch_options(self._kind)
        context = self._kind.launch_persistent_context(profile, **options)
        context.set_default_timeout(60_000)
        try:
            yield context
        finally:
            context.close()


def no_content(route: Route) -> None:
    """Responds to a request for an icon."""
    route.fulfill(status=204)


def small_site() -> Path:
    """The site as `scripts/build` makes it, without the guide and the reference."""
    build_site(SITE, small=True)
    return SITE


def without_compressed_files(site: Path, out: Path) -> Path:
    """The site on a server that sends nothing compressed."""
    shutil.copytree(site, out, ignore=shutil.ignore_patterns("*.br", "*.gz"))
    return out


def measure_visits(playwright: Playwright, repeat: int) -> list[Measure]:
    """Visits in Chromium and Firefox; the first with and without brotli on the server."""
    site = small_site()
    measures = []
    for kind in (playwright.chromium, playwright.firefox):
        found = [VisitBench(kind, site).visits() for _ in range(repeat)]
        first, second, later = ([visits[place] for visits in found] for place in range(3))
        measures += rows(f"visit, {kind.name}, first", first, GOALS_S[kind.name], GOAL_MB)
        measures += rows(f"visit, {kind.name}, second", second)
        measures += rows(f"visit, {kind.name}, new process", later)
    with tempfile.TemporaryDirectory(dir=CACHE, prefix="visit-") as folder:
        plain = without_compressed_files(site, Path(folder, "plain"))
        for kind in (playwright.chromium, playwright.firefox):
            first = [VisitBench(kind, plain).visits()[0]]
            measures += rows(f"visit, {kind.name}, first, nothing compressed by the server", first)
    return measures


def rows(
    name: str, visits: list[Visit], goal_s: float | None = None, goal_mb: float | None = None
) -> list[Measure]:
    """The table's rows of one kind of visit: medians."""
    seconds = statistics.median(visit.ms for visit in visits) / 1000
    crossed = statistics.median(visit.bytes for visit in visits) / 1e6
    requests = statistics.median(visit.requests for visit in visits)
    return [
        Measure(f"{name}: first byte", seconds, "s", goal_s, 1 if goal_s else None),
        Measure(f"{name}: bytes", crossed, "MB", goal_mb, 1 if goal_mb else None),
        Measure(f"{name}: requests", requests, ""),
    ]
