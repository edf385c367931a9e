"""A first visit that boots from a prepared image: Python, the boot bundle and all that a boot reads
come over one shaped link."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from playwright.sync_api import Playwright

from aero_browser_disk.testing.site_server import SiteServer
from benchmarks.boot_images import WITH_BOOT, BootImages
from benchmarks.results import MB, Measure
from benchmarks.runs import say
from benchmarks.server import SHAPED
from benchmarks.shaped_link import ShapedLink
from benchmarks.start import HEADERS, SETTLING_S
from benchmarks.visit import no_content
from lib import browsers
from lib.nginx_server import StaticNginx
from lib.project import CACHE

# As in `replay` of the bench's clients: one read after the other.
BOOT = """async ({ module, url, reads }) => {
  const { openDisk } = await import(module);
  const begun = performance.now();
  const disk = await openDisk({ url, allowRemote: true });
  await disk.read(0, 512);
  const { startMs } = await disk.stats();
  for (const [offset, length] of reads) await disk.read(offset, length);
  return { startMs, ms: performance.now() - begun };
}"""


def first_visits(
    playwright: Playwright, site_folder: Path, images: BootImages, nginx: StaticNginx, repeat: int
) -> list[Measure]:
    """Seconds from `openDisk` to the first byte and to the end of the boot, in new profiles.

    They stand against what the link takes for all bytes of Python and of the bundle.
    """
    seen, crossed = [], 0
    for _ in range(repeat):
        say("    first visit, boot bundle", end=" ")
        found, crossed = _visit(playwright, site_folder, images.workload.reads, nginx)
        seen.append(found)
        say(f"{found['ms'] / 1000:.2f} s, {crossed / MB:.1f} MB")
    seconds = statistics.median(visit["ms"] for visit in seen) / 1000
    first = statistics.median(visit["startMs"] for visit in seen) / 1000
    name = "first visit with a boot bundle"
    return [
        Measure(f"{name}: first byte", first, "s"),
        Measure(f"{name}: time", seconds, "s", SHAPED.bound_s(crossed)),
        Measure(f"{name}: bytes", crossed / MB, "MB"),
    ]


def _visit(
    playwright: Playwright, site_folder: Path, reads: Sequence[Sequence[float]], nginx: StaticNginx
) -> tuple[dict[str, Any], int]:
    kind = playwright.chromium
    with (
        SiteServer(site_folder, headers=HEADERS) as site,
        ShapedLink(SHAPED) as link,
        tempfile.TemporaryDirectory(dir=CACHE, prefix="visit-") as profile,
    ):
        site_url = f"http://127.0.0.1:{link.to(site.port)}/"
        image_url = f"http://127.0.0.1:{link.to(nginx.port)}/{WITH_BOOT}"
        context = kind.launch_persistent_context(profile, **browsers.launch_options(kind))
        try:
            page = context.pages[0]
            page.route("**/favicon.ico", no_content)
            page.goto(f"{site_url}manifest.json")
            page.unroute_all()  # with routes, Playwright turns the HTTP cache off
            time.sleep(SETTLING_S)  # a browser is busy just after its start
            before = link.received_bytes
            ranges = [(offset, length) for offset, length, _ in reads]
            values = {"module": f"{site_url}aero-disk.mjs", "url": image_url, "reads": ranges}
            found: dict[str, Any] = page.evaluate(BOOT, values)
            return found, link.received_bytes - before
        finally:
            context.close()
